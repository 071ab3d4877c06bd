// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "tool/json_lines.hpp"

#include <algorithm>

#include "tool/errors.hpp"

namespace tool {

using nlohmann::json;

namespace {

/// What takes a value apart calls itself for each level.
constexpr int most_levels = 200;

/// Where the string that begins at `at` is closed, or the end.
std::size_t closing_quote(std::string_view text, std::size_t at) {
  for (++at; at < text.size() && text[at] != '"'; ++at) at += text[at] == '\\';
  return std::min(at, text.size());
}

/// Brackets inside each other, at most, outside strings. O(n).
int depth(std::string_view line) {
  int now = 0;
  int most = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (c == '"') {
      i = closing_quote(line, i);
    } else if (c == '[' || c == '{') {
      most = std::max(most, ++now);
    } else if (c == ']' || c == '}') {
      --now;
    }
  }
  return most;
}

/// Where a value or a name ends that begins at `at`: at a comma, a colon or a bracket of the object
/// that it is in.
std::size_t end_of(std::string_view text, std::size_t at) {
  int level = 0;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '"') {
      at = closing_quote(text, at);
    } else if (c == '[' || c == '{') {
      ++level;
    } else if (level > 0) {
      level -= c == ']' || c == '}';
    } else if (c == ',' || c == ':' || c == '}' || c == ']') {
      return at;
    }
  }
  return std::min(at, text.size());
}

/// What is wrong with a line of JSON, without the parser's own prefix.
std::string parser_message(const std::exception& e) {
  const std::string_view text = e.what();
  const auto end = text.find("] ");
  return printable(end == std::string_view::npos ? text : text.substr(end + 2));
}

}  // namespace

std::string place(const std::string& path, std::size_t line) {
  return shown_name(path) + ":" + std::to_string(line);
}

std::vector<json_member> members_of(std::string_view object) {
  std::vector<json_member> members;
  std::size_t at = object.find('{');
  while (at != std::string_view::npos && ++at < object.size()) {
    const std::size_t colon = end_of(object, at);
    if (colon >= object.size() || object[colon] != ':') break;  // the end of an empty object
    const std::size_t end = end_of(object, colon + 1);
    const auto key = stripped(object.substr(at, colon - at));
    members.push_back({json::parse(key).get<std::string>(), key,
                       stripped(object.substr(colon + 1, end - colon - 1))});
    at = end < object.size() && object[end] == ',' ? end : std::string_view::npos;
  }
  return members;
}

json parse_object(std::string_view line, const std::string& where, const std::string& example,
                  const std::string& advice) {
  if (depth(line) > most_levels) {
    fail(where, "expected a JSON object such as " + example + ", found one with more than " +
                    std::to_string(most_levels) + " brackets inside each other");
  }
  json object;
  try {
    object = json::parse(line);
  } catch (const json::exception& e) {
    fail(where,
         "expected a JSON object on this line, found no valid JSON: " + parser_message(e) + advice);
  }
  if (!object.is_object()) {
    fail(where, "expected a JSON object such as " + example + ", found " + object.type_name());
  }
  // The parser keeps one of two fields of a name, and does not say so.
  const auto members = members_of(line);
  if (members.size() != object.size()) {
    std::vector<std::string> names;
    for (const auto& m : members) names.push_back(m.name);
    std::ranges::sort(names);
    const auto twice = std::ranges::adjacent_find(names);
    fail(where, "expected every field once, found \"" +
                    (twice == names.end() ? std::string("?") : *twice) + "\" twice");
  }
  return object;
}

const std::string& text_field(const json& object, const char* name, const std::string& where) {
  const json& value = object.at(name);
  if (!value.is_string()) {
    fail(where,
         std::string("expected \"") + name + "\" to be a string, found " + value.type_name());
  }
  return value.get_ref<const std::string&>();
}

}  // namespace tool
