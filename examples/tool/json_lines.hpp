// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Lines of a file, each with its place, and the JSON objects on them.

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "tool/input.hpp"
#include "tool/text.hpp"

namespace tool {

/// `file:line`, for messages; "-" is standard input.
[[nodiscard]] std::string place(const std::string& path, std::size_t line);

/// Calls f(line, number) for every line, without its line break.
template <class F>
void for_each_line(std::string_view text, F&& f) {
  for (std::size_t number = 1; !text.empty(); ++number) {
    const auto end = text.find('\n');
    f(text.substr(0, end), number);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
}

/// Calls f(text, where) for every line of `path` that is not blank, without white space around it.
/// Raises input_error for one that is too long.
template <class F>
void for_each_record(line_source& lines, const std::string& path, F&& f) {
  for (input_line line; lines.next(line);) {
    const std::string where = place(path, line.number);
    line.check_length(where);
    const std::string_view text = stripped(line.text);
    if (!text.empty()) f(text, where);
  }
}

/// A field of an object, as its bytes stand there.
struct json_member {
  std::string name;
  std::string_view key;  ///< with its quotation marks
  std::string_view value;
};

/// The fields of an object that is valid JSON, in their order. What passes through as its bytes
/// keeps every digit, escape and blank.
[[nodiscard]] std::vector<json_member> members_of(std::string_view object);

/// The object on a line. Raises input_error that names `where`, what an object looks like
/// (`example`), and, behind a line that is no JSON, `advice`; also for brackets more than 200
/// levels deep and for a field that is there twice.
[[nodiscard]] nlohmann::json parse_object(std::string_view line, const std::string& where,
                                          const std::string& example,
                                          const std::string& advice = "");

/// A field that is a string; it must be there. Raises input_error for another type.
[[nodiscard]] const std::string& text_field(const nlohmann::json& object, const char* name,
                                            const std::string& where);

}  // namespace tool
