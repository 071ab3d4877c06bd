// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// From a question and its reference answer to the tokens that the two streams begin with. A model
// with a chat format has its own way: then write the function yourself. Any callable
// (const Record&) -> rewrite_prompt will do.

#include <algorithm>
#include <concepts>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <idiolect/core/error.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/hinted/verifiers/answer.hpp>
#include <idiolect/model/tokenizer.hpp>

namespace idiolect {

/// What a data set has of a record.
struct question_answer {
  std::string question;
  std::string answer;  ///< the reference, worked out
};

/// What the streams of a record begin with, in tokens; a begin token included where the model wants
/// one.
struct rewrite_prompt {
  std::vector<token_id> student;  ///< the question
  std::vector<token_id> teacher;  ///< the question with the hint; empty: no hinted tries
  /// See decode_job: an analysis that the teacher writes first.
  std::string analysis_marker = {};
  index_t analysis_budget = 512;
  /// The reference answer as it would follow `student`, with an end token if the score of the
  /// reference is to count it. Only used to score it.
  std::vector<token_id> reference = {};
  /// How many tokens of `student` stand before it; negative: all. Fewer where question and answer
  /// are one text whose tokens reach across the border: the reference then begins in the question.
  index_t reference_begins = -1;

  /// What the reference follows.
  [[nodiscard]] std::span<const token_id> before_reference() const {
    const std::span<const token_id> all = student;
    const auto n = static_cast<std::size_t>(reference_begins);
    return reference_begins < 0 ? all : all.first((std::min)(n, all.size()));
  }
};

/// Requirements, for a const prompter `p` and a record `r`: `p(r)` is its rewrite_prompt, and
/// depends on the record alone.
template <class P, class Record>
concept prompter = requires(const P& p, const Record& r) {
  { p(r) } -> std::convertible_to<rewrite_prompt>;
};

/// What the teacher is told.
enum class hint_content {
  solution,  ///< the reference as it is
  answer     ///< only what follows the answer's delimiter: CoT completion
};

/// Templates of the two prompts. `{question}` and `{hint}` are replaced wherever they stand; other
/// braces are text.
struct prompt_templates {
  std::string student = "{question}\n";
  std::string teacher = "A correct solution, for reference:\n{hint}\n\n{question}\n";
  /// If not empty: the teacher prompt asks for an analysis that ends with these bytes.
  std::string analysis_marker = {};

  /// Templates that have the teacher work out first how the reference solves the question.
  [[nodiscard]] static prompt_templates with_analysis() {
    prompt_templates t;
    t.teacher =
        "{question}\n\nA correct solution, for reference:\n{hint}\n\n"
        "First explain how it works. Then write the line \"# CoT\", and below it solve the "
        "question "
        "in your own words.\n\n";
    t.analysis_marker = "# CoT\n";
    return t;
  }

  /// Raises shape_error for a template without its question or hint, or a student that sees the
  /// hint.
  void validate() const {
    const auto has = [](const std::string& text, const char* what) {
      return text.find(what) != std::string::npos;
    };
    require(has(student, "{question}"), "prompt_templates::student", "has no {question}");
    require(!has(student, "{hint}"), "prompt_templates::student",
            "has a {hint}: the student must not see it");
    require(has(teacher, "{question}"), "prompt_templates::teacher", "has no {question}");
    require(has(teacher, "{hint}"), "prompt_templates::teacher", "has no {hint}");
  }
};

/// `text` with its placeholders replaced; what is put in is not looked at again. O(n).
[[nodiscard]] inline std::string fill_template(std::string_view text, std::string_view question,
                                               std::string_view hint) {
  std::string filled;
  while (!text.empty()) {
    if (text.starts_with("{question}")) {
      filled += question;
      text.remove_prefix(10);
    } else if (text.starts_with("{hint}")) {
      filled += hint;
      text.remove_prefix(6);
    } else {
      const auto next = (std::min)(text.find('{', 1), text.size());
      filled += text.substr(0, next);
      text.remove_prefix(next);
    }
  }
  return filled;
}

/// Options of a template_prompter.
struct prompter_options {
  prompt_templates templates = {};
  hint_content hint = hint_content::solution;
  std::string delimiter = {};     ///< where the bare answer stands; without one the hint is whole
  token_id end_token = -1;        ///< closes the reference that is scored; negative: nothing does
  index_t analysis_budget = 512;  ///< tokens
};

/// Options of a chat_prompter: the same, with templates that need no line breaks around a turn.
struct chat_prompter_options {
  prompt_templates templates = {
      .student = "{question}",
      .teacher = "{question}\n\nA correct solution, for reference:\n{hint}"};
  hint_content hint = hint_content::solution;
  std::string delimiter = {};
  token_id end_token = -1;
  index_t analysis_budget = 512;
  std::string system = {};  ///< what the system's turn says; empty: there is none
};

/// A record that prompts can be made of.
template <class Record>
concept question_and_answer = requires(const Record& r) {
  { r.question } -> std::convertible_to<std::string_view>;
  { r.answer } -> std::convertible_to<std::string_view>;
};

namespace detail {

/// The prompts of a record. `encode(user, answer)` gives the tokens of a filled template, and of
/// what follows it.
template <question_and_answer Record, class Options, class Encode>
[[nodiscard]] rewrite_prompt prompts_of(const Record& r, const Options& o, Encode&& encode) {
  const std::string_view answer = r.answer;
  const auto hint =
      o.hint == hint_content::answer ? answer_after(answer, o.delimiter).value_or(answer) : answer;
  const std::string question = fill_template(o.templates.student, r.question, {});
  rewrite_prompt p;
  p.student = encode(question, std::string_view{});
  p.teacher = encode(fill_template(o.templates.teacher, r.question, hint), std::string_view{});
  p.analysis_marker = o.templates.analysis_marker;
  p.analysis_budget = o.analysis_budget;
  // The text is put together once, and its tokens are those of the whole: where one of them reaches
  // across the border, or a chat template writes the answer's turn in another way, the question's
  // own tokens are not how it begins. What is scored begins where the two part.
  const std::vector<token_id> whole = encode(question, answer);
  const auto both = std::ranges::mismatch(p.student, whole);
  const auto shared = both.in1 - p.student.begin();
  if (shared == 0) return p;  // nothing to score it after
  p.reference.assign(both.in2, whole.end());
  if (both.in1 != p.student.end()) p.reference_begins = static_cast<index_t>(shared);
  if (o.end_token >= 0) p.reference.push_back(o.end_token);
  return p;
}

}  // namespace detail

/// Prompts by templates, for records with a `question` and an `answer`.
template <tokenizer Tokenizer>
class template_prompter {
 public:
  /// `t` must outlive the prompter. Raises shape_error for templates that cannot work.
  explicit template_prompter(const Tokenizer& t, prompter_options o = {})
      : tokenizer_(&t), options_(std::move(o)) {
    options_.templates.validate();
  }

  template <question_and_answer Record>
  [[nodiscard]] rewrite_prompt operator()(const Record& r) const {
    return detail::prompts_of(r, options_, [&](std::string text, std::string_view answer) {
      text += answer;
      std::vector<token_id> tokens;
      tokenizer_->encode(text, tokens);
      return tokens;
    });
  }

 private:
  const Tokenizer* tokenizer_;
  prompter_options options_;
};

/// The same as turns of a conversation in the model's own template: the system's, if there is one,
/// the user's, which a template fills, and the beginning of the assistant's. What stands in a
/// record is text, whatever special token it looks like.
template <chat_tokenizer Tokenizer>
class chat_prompter {
 public:
  /// `t` must outlive the prompter. Raises shape_error for templates that cannot work.
  explicit chat_prompter(const Tokenizer& t, chat_prompter_options o = {})
      : tokenizer_(&t), options_(std::move(o)) {
    options_.templates.validate();
  }

  template <question_and_answer Record>
  [[nodiscard]] rewrite_prompt operator()(const Record& r) const {
    return detail::prompts_of(r, options_, [&](std::string user, std::string_view answer) {
      std::vector<chat_turn> turns;
      if (!options_.system.empty()) turns.push_back({"system", options_.system});
      turns.push_back({"user", std::move(user)});
      if (!answer.empty()) turns.push_back({"assistant", std::string(answer)});
      std::vector<token_id> tokens;
      tokenizer_->encode_chat(turns, tokens);
      return tokens;
    });
  }

 private:
  const Tokenizer* tokenizer_;
  chat_prompter_options options_;
};

}  // namespace idiolect
