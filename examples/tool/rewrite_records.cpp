// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "tool/rewrite_records.hpp"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string_view>

#include "tool/errors.hpp"
#include "tool/input.hpp"
#include "tool/json_lines.hpp"
#include "tool/sequences.hpp"
#include "tool/text.hpp"

namespace tool {

namespace {

using json = nlohmann::json;

/// The first of two names that the record has, as text that is not empty.
std::string text_of(const json& object, const char* name, const char* other,
                    const std::string& where) {
  const char* const found = object.contains(name) ? name : other;
  if (!object.contains(found)) {
    fail(where,
         "expected \"question\" and \"answer\" (or \"prompt\" and \"completion\"), found no \"" +
             std::string(name) + "\"");
  }
  std::string text = text_field(object, found, where);
  if (stripped(text).empty())
    fail(where, std::string("expected a text in \"") + found + "\", found an empty one");
  return text;
}

void check_length(const std::vector<token_id>& prompt, const char* what, index_t context,
                  const std::string& where) {
  if (static_cast<index_t>(prompt.size()) < context) return;
  fail(where, std::string("the ") + what + " has " + std::to_string(prompt.size()) +
                  " tokens and leaves no room for an answer in the model's context of " +
                  std::to_string(context));
}

/// Fields that the tool reads or writes itself; all others pass through.
bool is_known(std::string_view name) {
  constexpr std::string_view known[] = {"id",
                                        "question",
                                        "answer",
                                        "prompt",
                                        "completion",
                                        "reference",
                                        "how",
                                        "line",
                                        "stop",
                                        "finish",
                                        "rollouts",
                                        "tries",
                                        "cll",
                                        "tokens",
                                        "reference_cll",
                                        "lambda",
                                        "phi",
                                        "student_from",
                                        "log_prob",
                                        "text",
                                        "prompt_tokens",
                                        "where",
                                        "teacher_log_prob"};
  return std::ranges::find(known, name) != std::end(known);
}

source_record parse(std::string_view line, const std::string& where, const loaded_model& m,
                    const prompting& how) {
  const json object = parse_object(line, where, R"({"question": "...", "answer": "..."})");
  source_record r;
  r.question = text_of(object, "question", "prompt", where);
  r.answer = text_of(object, "answer", "completion", where);
  r.question.resize(r.question.find_last_not_of("\r\n") + 1);
  // Where pieces are characters, texts spell their end.
  if (m.llama2c != nullptr && !m.llama2c->tokenizer.has_byte_pieces()) {
    const std::string end = m.spelled(m.end);
    if (r.answer.ends_with(end)) r.answer.resize(r.answer.size() - end.size());
  }
  for (const json_member& field : members_of(line)) {
    if (field.name == "id") r.id = field.value;
    if (is_known(field.name)) continue;
    r.others.append(",").append(field.key).append(":").append(field.value);
  }

  const std::string_view answer = r.answer;
  const auto hint = how.hint == idiolect::hint_content::answer
                        ? idiolect::answer_after(answer, how.delimiter).value_or(answer)
                        : answer;
  record text;
  text.where = where;
  text.prompt = idiolect::fill_template(how.templates.student, r.question, {});
  text.text = r.answer;
  const sequence both = encode(m, text, true);
  const auto border = both.tokens.begin() + both.first_scored;
  r.prompt.student.assign(both.tokens.begin(), border);
  r.prompt.reference.assign(border, both.tokens.end());
  const index_t context = m.context_size;
  check_length(r.prompt.student, "question", context, where);
  if (how.hinted) {
    text.prompt = idiolect::fill_template(how.templates.teacher, r.question, hint);
    r.prompt.teacher = encode_prompt(m, text);
    check_length(r.prompt.teacher, "question with its hint", context, where);
    r.prompt.analysis_marker = how.templates.analysis_marker;
    r.prompt.analysis_budget = how.analysis_budget;
  }
  return r;
}

}  // namespace

source_file read_source(const std::string& path, const loaded_model& m, const prompting& how) {
  source_file file;
  line_source lines(path, "questions and answers as JSON Lines");
  for (input_line line; lines.next(line);) {
    const std::string_view text = stripped(line.text);
    if (text.empty()) continue;
    try {
      const std::string where = place(path, line.number);
      line.check_length(where);
      file.records.push_back(parse(text, where, m, how));
      file.records.back().line = line.number;
    } catch (const input_error& e) {
      file.bad.emplace_back(e.what());
    }
  }
  file.fingerprint = lines.fingerprint().name();
  return file;
}

}  // namespace tool
