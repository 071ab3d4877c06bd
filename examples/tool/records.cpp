// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "tool/records.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <string_view>

#include "tool/errors.hpp"
#include "tool/files.hpp"
#include "tool/input.hpp"
#include "tool/json_lines.hpp"
#include "tool/text.hpp"

namespace tool {

namespace {

using json = nlohmann::json;

/// One line of a file and its place.
struct numbered_line {
  std::string_view text;
  std::string where;
};

/// Whether `text` has line breaks of Windows' kind, and no other: an editor's, and none of the
/// text.
bool has_windows_breaks(std::string_view text) {
  bool any = false;
  for (auto at = text.find('\n'); at != std::string_view::npos; at = text.find('\n', at + 1)) {
    if (at == 0 || text[at - 1] != '\r') return false;
    any = true;
  }
  return any;
}

void use_plain_breaks(std::string& text) {
  if (!has_windows_breaks(text)) return;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n') continue;
    text[kept++] = text[i];
  }
  text.resize(kept);
}

json object_on(const numbered_line& line) {
  return parse_object(line.text, line.where, R"({"text": "..."})",
                      " (plain text is read with --format text)");
}

/// Parts of a text between separators, or between blank lines, with the lines they begin at.
std::vector<record> split_text(std::string_view text, const std::string& path, const reading& how) {
  std::vector<record> parts;
  std::size_t line = 1;
  const auto add = [&](std::string_view part) {
    const std::string_view kept = how.strip ? stripped(part) : part;
    if (!kept.empty() && !stripped(kept).empty()) {
      const auto before = static_cast<std::size_t>(kept.data() - part.data());
      const auto breaks = std::ranges::count(part.substr(0, before), '\n');
      record r;
      r.where = place(path, line + static_cast<std::size_t>(breaks));
      r.text = std::string(kept);
      parts.push_back(std::move(r));
    }
  };
  if (*how.split == "blank") {
    std::size_t begin = 0;  // of the paragraph
    std::size_t at = 0;     // of the line
    for_each_line(text, [&](std::string_view row, std::size_t number) {
      if (stripped(row).empty()) {
        add(text.substr(begin, at - begin));
        begin = at + row.size() + 1;
        line = number + 1;
      }
      at += row.size() + 1;
    });
    if (begin < text.size()) add(text.substr(begin));
    return parts;
  }
  for (;;) {
    const auto end = text.find(*how.split);
    const std::string_view part = text.substr(0, end);
    add(part);
    if (end == std::string_view::npos) return parts;
    const std::size_t used = end + how.split->size();
    line += static_cast<std::size_t>(std::ranges::count(text.substr(0, used), '\n'));
    text.remove_prefix(used);
  }
}

std::vector<token_id> token_field(const json& value, const std::string& where) {
  if (!value.is_array()) {
    fail(where, std::string("expected \"tokens\" to be an array of token ids, found ") +
                    value.type_name());
  }
  std::vector<token_id> tokens;
  tokens.reserve(value.size());
  for (const json& element : value) {
    const bool fits = element.is_number_integer() && element >= 0 &&
                      element <= std::numeric_limits<token_id>::max();
    if (!fits) {
      fail(where, "expected token ids (integers from 0) in \"tokens\", found " +
                      element.dump(-1, ' ', false, json::error_handler_t::replace).substr(0, 40) +
                      " at position " + std::to_string(tokens.size()));
    }
    tokens.push_back(element.get<token_id>());
  }
  if (tokens.size() < 2) {
    fail(where, "expected 2 token ids or more in \"tokens\" (the first is only context), found " +
                    std::to_string(tokens.size()));
  }
  return tokens;
}

record parse_record(const numbered_line& line, const reading& how) {
  const json object = object_on(line);
  const std::string& where = line.where;
  record r;
  r.where = where;
  if (const auto weight = object.find("weight"); weight != object.end()) {
    if (!weight->is_number() || !std::isfinite(weight->get<double>())) {
      fail(where, std::string("expected \"weight\" to be a finite number, found ") +
                      (weight->is_number() ? "one that is not" : weight->type_name()));
    }
    r.weight = weight->get<double>();
  }
  const auto stopped_by = [&](const char* field, const char* end) {
    const auto found = object.find(field);
    return found != object.end() && found->is_string() && *found != end;
  };
  r.cut = stopped_by("finish", "end") || stopped_by("stop", "end_of_sequence");
  const auto pair = [&](const char* given, const char* scored, const char* joint) {
    if (!object.contains(given) && !object.contains(scored)) return false;
    for (const char* name : {given, scored}) {
      if (!object.contains(name)) {
        fail(where, std::string("expected \"") + given + "\" and \"" + scored +
                        "\" together, found no \"" + name + "\"");
      }
    }
    r.prompt = text_field(object, given, where) + how.join.value_or(joint);
    r.text = text_field(object, scored, where);
    if (how.whole) r.text.insert(0, std::exchange(r.prompt, {}));
    return true;
  };
  if (object.contains("tokens")) {
    r.tokens = token_field(object.at("tokens"), where);
    if (const auto given = object.find("prompt_tokens"); given != object.end()) {
      const auto most = static_cast<index_t>(r.tokens.size()) - 1;
      if (!given->is_number_integer() || *given < 0 || *given > most) {
        fail(where, "expected \"prompt_tokens\" to be an integer from 0 to " +
                        std::to_string(most) + " (one token at least is scored), found " +
                        given->dump(-1, ' ', false, json::error_handler_t::replace).substr(0, 40));
      }
      if (!how.whole) r.prompt_tokens = std::max<index_t>(1, given->get<index_t>());
    }
    return r;
  }
  if (!pair("prompt", "completion", "") && !pair("question", "answer", "\n")) {
    if (!object.contains("text")) {
      fail(where,
           "expected \"text\", \"prompt\" and \"completion\", \"question\" and \"answer\", "
           "or \"tokens\"; found none of them");
    }
    r.text = text_field(object, "text", where);
  }
  if (r.text.empty()) fail(where, "expected a text, found an empty one: nothing to score or train");
  return r;
}

record parse_prompt(const numbered_line& line, const reading& how) {
  const json object = object_on(line);
  record r;
  r.where = line.where;
  if (object.contains("prompt")) {
    r.prompt = text_field(object, "prompt", line.where) + how.join.value_or("");
  } else if (object.contains("question")) {
    r.prompt = text_field(object, "question", line.where) + how.join.value_or("\n");
  } else {
    fail(line.where, "expected \"prompt\" or \"question\", found neither");
  }
  return r;
}

template <class Parse>
std::vector<record> parse_lines(const std::string& path, const std::string& what,
                                const reading& how, bool& empty, Parse&& parse) {
  std::vector<record> records;
  line_source lines(path, what);
  for_each_record(lines, path, [&](std::string_view text, const std::string& where) {
    records.push_back(parse({text, where}, how));
  });
  empty = lines.fingerprint().bytes == 0;
  return records;
}

/// What is taken apart as one.
void check_size(const record& r) {
  if (r.text.size() <= longest_record) return;
  fail(r.where, "expected a text of at most " + std::to_string(longest_record) +
                    " bytes, found one of " + std::to_string(r.text.size()) +
                    ": cut it into several (--split)");
}

}  // namespace

bool is_jsonl(const std::string& path, const reading& how) {
  if (how.kind != reading::format::automatic) return how.kind == reading::format::jsonl;
  for (const std::string_view ending : {".jsonl", ".ndjson", ".json"}) {
    if (path.ends_with(ending)) return true;
  }
  return false;
}

std::vector<record> read_records(const std::string& path, const reading& how) {
  constexpr const char* what = "a text or JSON Lines";
  std::vector<record> records;
  bool empty = false;
  if (is_jsonl(path, how)) {
    records = parse_lines(path, what, how, empty, parse_record);
  } else {
    const std::string bytes = read_file(path, what);
    std::string content(without_mark(bytes, path));
    if (how.strip) use_plain_breaks(content);
    empty = content.empty();
    if (how.split) {
      records = split_text(content, path, how);
    } else if (!empty) {
      record whole;
      whole.where = place(path, 1);
      whole.text = std::move(content);
      records.push_back(std::move(whole));
    }
    for (const record& r : records) check_size(r);
  }
  if (records.empty()) {
    fail(path, empty ? "expected a text, found an empty file"
                     : "expected a text, found nothing but white space and separators");
  }
  return records;
}

std::vector<record> read_prompts(const std::string& path, const reading& how) {
  constexpr const char* what = "prompts";
  std::vector<record> records;
  bool empty = false;
  if (is_jsonl(path, how)) {
    records = parse_lines(path, what, how, empty, parse_prompt);
  } else {
    line_source lines(path, what);
    for (input_line line; lines.next(line);) {
      record r;
      r.where = place(path, line.number);
      line.check_length(r.where);
      // What editors leave at the end of a line; a form feed alone ends a page.
      const auto end = line.text.find_last_not_of("\r\f");
      if (end == std::string_view::npos) continue;
      r.prompt = std::string(line.text.substr(0, end + 1)) + how.join.value_or("");
      records.push_back(std::move(r));
    }
  }
  if (records.empty()) {
    fail(path, std::string("expected prompts, one a line, or JSON Lines; found ") +
                   (empty ? "an empty file" : "none"));
  }
  return records;
}

}  // namespace tool
