// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// What can go wrong in the tool, and the exit code that tells a script so. A message names the
// place, what was expected there, what was found and, where it is not plain, what to do.

#include <stdexcept>
#include <string>

#include <idiolect/core/error.hpp>

#include "files/shown.hpp"

namespace tool {

inline constexpr int exit_ok = 0;
inline constexpr int exit_failure = 1;  ///< input that cannot be used, a result that is not written
inline constexpr int exit_usage = 2;    ///< options that make no sense

/// A file or a model that cannot be used: exit_failure. A message may hold any bytes of data or of
/// names; what it shows is safe for a terminal, and no zero byte cuts it.
struct input_error : std::runtime_error {
  explicit input_error(const std::string& message)
      : std::runtime_error(files::printable(message)) {}
};

/// Options that make no sense, alone or together: exit_usage.
struct usage_error : std::runtime_error {
  explicit usage_error(const std::string& message)
      : std::runtime_error(files::printable(message)) {}
};

/// Raises input_error with `place: message`; a place is `file` or `file:line`.
[[noreturn]] inline void fail(const std::string& place, const std::string& message) {
  throw input_error(place + ": " + message);
}

/// Raises usage_error unless `condition` holds.
inline void require_usage(bool condition, const std::string& message) {
  if (!condition) throw usage_error(message);
}

/// What an error of the library says, without the library's name and the word `file` in front.
[[nodiscard]] inline std::string message_of(const idiolect::error& e) {
  std::string text = e.what();
  for (const std::string prefix : {"idiolect: ", "file: "}) {
    if (text.starts_with(prefix)) text.erase(0, prefix.size());
  }
  return text;
}

/// The same without the library's name for what is wrong: for those that say it in their own words.
[[nodiscard]] inline std::string reason_of(const idiolect::error& e) {
  const std::string text = message_of(e);
  const std::string name = e.argument() + ": ";
  return text.starts_with(name) ? text.substr(name.size()) : text;
}

}  // namespace tool
