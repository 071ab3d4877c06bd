// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "tool/json_lines.hpp"

#include <algorithm>

#include "tool/errors.hpp"
#include "tool/text.hpp"

namespace tool {

using nlohmann::json;

namespace {

/// What takes a value apart calls itself for each level.
constexpr int most_levels = 200;

/// Brackets inside each other, at most, outside strings. O(n).
int depth(std::string_view line) {
  int now = 0;
  int most = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (quoted) {
      if (c == '\\') {
        ++i;
      } else {
        quoted = c != '"';
      }
    } else if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      most = std::max(most, ++now);
    } else if (c == ']' || c == '}') {
      --now;
    }
  }
  return most;
}

/// What is wrong with a line of JSON, without the parser's own prefix.
std::string parser_message(const std::exception& e) {
  const std::string_view text = e.what();
  const auto end = text.find("] ");
  return printable(end == std::string_view::npos ? text : text.substr(end + 2));
}

}  // namespace

std::string place(const std::string& path, std::size_t line) {
  return (path == "-" ? "standard input" : path) + ":" + std::to_string(line);
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
