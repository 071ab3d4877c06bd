// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "tool/rewrite_records.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string_view>

#include "tool/errors.hpp"
#include "tool/files.hpp"
#include "tool/sequences.hpp"
#include "tool/text.hpp"

namespace tool {

namespace {

using json = nlohmann::json;

std::string parser_message(const std::exception& e) {
  const std::string_view text = e.what();
  const auto end = text.find("] ");
  return printable(end == std::string_view::npos ? text : text.substr(end + 2));
}

json parse_object(std::string_view line, const std::string& where) {
  json object;
  try {
    object = json::parse(line);
  } catch (const json::exception& e) {
    fail(where, "expected a JSON object, found no valid JSON: " + parser_message(e));
  }
  if (!object.is_object()) {
    fail(where, std::string("expected a JSON object such as {\"question\": \"...\", \"answer\": "
                            "\"...\"}, found ") +
                    object.type_name());
  }
  return object;
}

/// The first of two names that the record has, as text that is not empty.
std::string text_field(const json& object, const char* name, const char* other,
                       const std::string& where) {
  auto found = object.find(name);
  if (found == object.end()) found = object.find(name = other);
  if (found == object.end()) {
    fail(where,
         "expected \"question\" and \"answer\" (or \"prompt\" and \"completion\"), found no \"" +
             std::string(other[0] == 'p' ? "question" : "answer") + "\"");
  }
  if (!found->is_string()) {
    fail(where,
         std::string("expected \"") + name + "\" to be a string, found " + found->type_name());
  }
  auto text = found->get<std::string>();
  if (stripped(text).empty())
    fail(where, std::string("expected a text in \"") + name + "\", found an empty one");
  return text;
}

void check_length(const std::vector<token_id>& prompt, const char* what, index_t context,
                  const std::string& where) {
  if (static_cast<index_t>(prompt.size()) < context) return;
  fail(where, std::string("the ") + what + " has " + std::to_string(prompt.size()) +
                  " tokens and leaves no room for an answer in the model's context of " +
                  std::to_string(context));
}

source_record parse(std::string_view line, const std::string& where, const loaded_model& m,
                    const prompting& how) {
  const json object = parse_object(line, where);
  source_record r;
  r.question = text_field(object, "question", "prompt", where);
  r.answer = text_field(object, "answer", "completion", where);
  r.question.resize(r.question.find_last_not_of("\r\n") + 1);
  const std::string& end = m.tokenizer.pieces()[static_cast<std::size_t>(m.end)].bytes;
  if (!m.tokenizer.has_byte_pieces() && r.answer.ends_with(end)) {
    r.answer.resize(r.answer.size() - end.size());
  }
  if (const auto id = object.find("id"); id != object.end()) {
    r.id = id->dump(-1, ' ', false, json::error_handler_t::replace);
  }

  const std::string_view answer = r.answer;
  const auto hint = how.hint == idiolect::hint_content::answer
                        ? idiolect::answer_after(answer, how.delimiter).value_or(answer)
                        : answer;
  const encoding tokens = m.how_to_encode(true);
  record text;
  text.where = where;
  text.prompt = idiolect::fill_template(how.templates.student, r.question, {});
  text.text = r.answer;
  const sequence both = encode(m.tokenizer, text, tokens);
  const auto border = both.tokens.begin() + both.first_scored;
  r.prompt.student.assign(both.tokens.begin(), border);
  r.prompt.reference.assign(border, both.tokens.end());
  const index_t context = m.weights.shape().context_size;
  check_length(r.prompt.student, "question", context, where);
  if (how.hinted) {
    text.prompt = idiolect::fill_template(how.templates.teacher, r.question, hint);
    r.prompt.teacher = encode_prompt(m.tokenizer, text, tokens);
    check_length(r.prompt.teacher, "question with its hint", context, where);
    r.prompt.analysis_marker = how.templates.analysis_marker;
    r.prompt.analysis_budget = how.analysis_budget;
  }
  return r;
}

}  // namespace

source_file read_source(const std::string& path, const loaded_model& m, const prompting& how) {
  const std::string content = read_file(path, "questions and answers as JSON Lines");
  source_file file;
  file.fingerprint = fingerprint(content);
  std::string_view rest = content;
  for (std::size_t number = 1; !rest.empty(); ++number) {
    const auto end = std::min(rest.find('\n'), rest.size());
    const auto line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (stripped(line).empty()) continue;
    const std::string where =
        (path == "-" ? "standard input" : path) + ":" + std::to_string(number);
    try {
      file.records.push_back(parse(line, where, m, how));
      file.records.back().line = number;
    } catch (const input_error& e) {
      file.bad.emplace_back(e.what());
    }
  }
  return file;
}

std::string fingerprint(const std::string& bytes) {
  std::uint64_t hash = 14695981039346656037u;
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  char text[64];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return std::to_string(bytes.size()) + " bytes, " + text;
}

}  // namespace tool
