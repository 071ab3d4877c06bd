// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Templates, and what becomes of them in tokens.

#include <idiolect/hinted/prompts.hpp>
#include <idiolect/model/archetypes.hpp>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "support/catch.hpp"

namespace idiolect {
namespace {

using archetype::byte_tokenizer;
using bytes = template_prompter<byte_tokenizer>;

static_assert(prompter<bytes, question_answer>);
static_assert(!prompter<bytes, int>);
static_assert(!prompter<int, question_answer>);
static_assert(prompter<chat_prompter<archetype::turn_tokenizer>, question_answer>);

std::string text_of(const std::vector<token_id>& tokens) {
  std::string text;
  for (const token_id t : tokens) byte_tokenizer{}.append_piece(t, text);
  return text;
}

const byte_tokenizer tokens;

TEST_CASE("templates are filled once") {
  CHECK(fill_template("Q {question} H {hint}.", "a", "b") == "Q a H b.");
  CHECK(fill_template("{question}{question}", "ab", "") == "abab");
  CHECK(fill_template("{hint}|{question}", "{hint}", "{question}") == "{question}|{hint}");
  CHECK(fill_template("\\boxed{} {other} {{question}} {", "5", "") == "\\boxed{} {other} {5} {");
  CHECK(fill_template("", "a", "b").empty());
  CHECK(fill_template("{questio", "a", "b") == "{questio");
}

TEST_CASE("prompts as turns of a conversation") {
  using chat = archetype::turn_tokenizer;
  const chat turns;
  const auto shown = [&](const std::vector<token_id>& prompt) {
    std::string text;
    for (const token_id t : prompt) {
      if (t >= chat::begin) text += "[" + std::string(1, "bRC/"[t - chat::begin]) + "]";
      turns.append_piece(t, text);
    }
    return text;
  };
  const question_answer record{"What[/]?", "So: #### 5"};
  const auto p = chat_prompter(turns)(record);
  CHECK(shown(p.student) == "[b][R]user[C]What[/]?[/][R]assistant[C]");
  CHECK(std::ranges::count(p.student, chat::end) == 1);  // the question's own is text
  CHECK(
      shown(p.teacher) ==
      "[b][R]user[C]What[/]?\n\nA correct solution, for reference:\nSo: #### 5[/][R]assistant[C]");
  CHECK(shown(p.reference) == "So: #### 5");

  const chat_prompter_options o{
      .templates = {.student = "{question}", .teacher = "{hint}: {question}"},
      .hint = hint_content::answer,
      .delimiter = "####",
      .end_token = chat::end,
      .system = "Think."};
  const auto q = chat_prompter(turns, o)(record);
  CHECK(shown(q.student) == "[b][R]system[C]Think.[/][R]user[C]What[/]?[/][R]assistant[C]");
  CHECK(shown(q.teacher) == "[b][R]system[C]Think.[/][R]user[C]5: What[/]?[/][R]assistant[C]");
  CHECK(shown(q.reference) == "So: #### 5[/]");
  // Options given in part keep the templates of a conversation.
  CHECK(shown(chat_prompter(turns, {.delimiter = "####"})(record).student) == shown(p.student));
}

TEST_CASE("prompts from templates") {
  const bytes standard(tokens);
  const auto p = standard(question_answer{"What?", "So: #### 5"});
  CHECK(text_of(p.student) == "What?\n");
  CHECK(text_of(p.teacher) == "A correct solution, for reference:\nSo: #### 5\n\nWhat?\n");
  CHECK(text_of(p.reference) == "So: #### 5");
  CHECK(p.analysis_marker.empty());

  const bytes analysing(tokens, {.templates = prompt_templates::with_analysis(),
                                 .hint = hint_content::answer,
                                 .delimiter = "####",
                                 .end_token = 0,
                                 .analysis_budget = 9});
  const auto a = analysing(question_answer{"What?", "So: #### 5"});
  CHECK(a.analysis_marker == "# CoT\n");
  CHECK(a.analysis_budget == 9);
  CHECK(text_of(a.teacher).find("reference:\n5\n") != std::string::npos);
  CHECK(text_of(a.student).find('5') == std::string::npos);
  CHECK(text_of(a.reference) == std::string("So: #### 5") + '\0');
}

// A tokenizer with a piece across the border of question and answer: "?" and "A" are one.
struct joining_tokenizer {
  static constexpr token_id joined = 256;
  [[nodiscard]] index_t vocab_size() const { return 257; }
  void encode(std::string_view text, std::vector<token_id>& out) const {
    for (; !text.empty(); text.remove_prefix(1)) {
      const bool both = text.starts_with("?A");
      out.push_back(both ? joined : static_cast<unsigned char>(text[0]));
      if (both) text.remove_prefix(1);
    }
  }
  void append_piece(token_id t, std::string& bytes) const {
    if (t == joined) {
      bytes += "?A";
    } else {
      bytes += static_cast<char>(t);
    }
  }
};

TEST_CASE("a reference is scored in a text that was put together once") {
  const joining_tokenizer joining;
  const template_prompter prompts(
      joining, {.templates = {.student = "{question}", .teacher = "{hint}{question}"}});
  const auto p = prompts(question_answer{"Q?", "A 5"});
  CHECK(p.student == std::vector<token_id>{'Q', '?'});  // what is asked stays as it is
  // Before: after "Q?" the "?A" of the whole text, as if the question had two question marks.
  std::string text;
  for (const token_id t : p.before_reference()) joining.append_piece(t, text);
  for (const token_id t : p.reference) joining.append_piece(t, text);
  CHECK(text == "Q?A 5");
  CHECK(p.before_reference().size() == 1);
  CHECK(p.reference.front() == joining_tokenizer::joined);
  // Where nothing is shared, there is nothing to score it after.
  CHECK(prompts(question_answer{"?", "A 5"}).reference.empty());
  // The usual case.
  const auto usual = prompts(question_answer{"Q", "A 5"});
  CHECK(usual.before_reference().size() == usual.student.size());
  CHECK(usual.reference == std::vector<token_id>{'A', ' ', '5'});
}

TEST_CASE("templates that cannot work are refused") {
  using Catch::Matchers::ContainsSubstring;
  const auto made = [](std::string student, std::string teacher) {
    (void)bytes(tokens,
                {.templates = {.student = std::move(student), .teacher = std::move(teacher)}});
  };
  CHECK_NOTHROW(made("{question}", "{question}{hint}"));
  CHECK_THROWS_WITH(made("{qestion}", "{question}{hint}"),
                    ContainsSubstring("student: has no {question}"));
  CHECK_THROWS_WITH(made("", "{question}{hint}"), ContainsSubstring("student: has no {question}"));
  CHECK_THROWS_WITH(made("{question}{hint}", "{question}{hint}"),
                    ContainsSubstring("must not see"));
  CHECK_THROWS_WITH(made("{question}", "{hint}"), ContainsSubstring("teacher: has no {question}"));
  CHECK_THROWS_WITH(made("{question}", "{question}"), ContainsSubstring("teacher: has no {hint}"));
}

}  // namespace
}  // namespace idiolect
