// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "tool/rewrite_records.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string_view>

#include "tool/errors.hpp"
#include "tool/files.hpp"
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

/// FNV-1a over bytes that come in blocks.
struct hashed {
  std::uint64_t hash = 14695981039346656037u;
  std::size_t bytes = 0;

  void add(std::string_view block) {
    for (const char c : block) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
    bytes += block.size();
  }
  [[nodiscard]] std::string name() const {
    char text[64];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
    return std::to_string(bytes) + " bytes, " + text;
  }
};

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
  if (const auto id = object.find("id"); id != object.end()) {
    r.id = id->dump(-1, ' ', false, json::error_handler_t::replace);
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
  const std::string content = read_file(path, "questions and answers as JSON Lines");
  source_file file;
  file.fingerprint = fingerprint(content);
  std::string_view lines = content;
  if (lines.starts_with("\xEF\xBB\xBF")) lines.remove_prefix(3);  // an editor's mark
  for_each_line(lines, [&](std::string_view line, std::size_t number) {
    if (stripped(line).empty()) return;
    try {
      file.records.push_back(parse(line, place(path, number), m, how));
      file.records.back().line = number;
    } catch (const input_error& e) {
      file.bad.emplace_back(e.what());
    }
  });
  return file;
}

std::string fingerprint(const std::string& bytes) {
  hashed h;
  h.add(bytes);
  return h.name();
}

std::string fingerprint_of_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::vector<char> block(std::size_t{1} << 20);
  hashed h;
  while (in) {
    in.read(block.data(), static_cast<std::streamsize>(block.size()));
    h.add({block.data(), static_cast<std::size_t>(in.gcount())});
  }
  if (!in.eof()) fail(path, "cannot be read to its end");
  return h.name();
}

}  // namespace tool
