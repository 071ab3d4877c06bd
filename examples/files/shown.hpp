// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Bytes of somebody else as a person may see them: the one place through which data, names of files
// and messages reach a terminal.

#include <cstddef>
#include <cstdio>
#include <string>
#include <string_view>

namespace files {

namespace detail {

/// Length of the UTF-8 character at the front, or 0 if there is none.
inline std::size_t character_at_front(std::string_view bytes) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned char first = at(0);
  if (first < 0x80) return 1;
  const std::size_t n = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || bytes.size() < n) return 0;
  for (std::size_t i = 1; i < n; ++i) {
    if ((at(i) & 0xC0) != 0x80) return 0;
  }
  // Overlong forms, surrogates and what is past U+10FFFF.
  if (first == 0xE0 && at(1) < 0xA0) return 0;
  if (first == 0xED && at(1) > 0x9F) return 0;
  if (first == 0xF0 && at(1) < 0x90) return 0;
  if (first == 0xF4 && at(1) > 0x8F) return 0;
  return n;
}

/// Whether a terminal would act on the character at the front instead of showing it. A carriage
/// return is one of them: what follows it hides what stood before.
inline bool is_control(std::string_view bytes) {
  const auto first = static_cast<unsigned char>(bytes[0]);
  if (first < 0x20) return first != '\n' && first != '\t';
  if (first == 0x7F) return true;
  return first == 0xC2 && bytes.size() > 1 && static_cast<unsigned char>(bytes[1]) < 0xA0;
}

}  // namespace detail

/// Bytes as valid UTF-8 for a message or JSON: a byte that fits nowhere, or that a terminal would
/// act on, becomes <0xNN>. Line breaks and tabs stay.
[[nodiscard]] inline std::string printable(std::string_view bytes) {
  std::string text;
  while (!bytes.empty()) {
    const std::size_t n = detail::character_at_front(bytes);
    const bool shows = n > 0 && !detail::is_control(bytes);
    if (shows) {
      text += bytes.substr(0, n);
    } else {
      char spelled[8];
      std::snprintf(spelled, sizeof spelled, "<0x%02X>", static_cast<unsigned char>(bytes[0]));
      text += spelled;
    }
    bytes.remove_prefix(shows ? n : 1);
  }
  return text;
}

/// Whether `bytes` is valid UTF-8.
[[nodiscard]] inline bool is_utf8(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::size_t n = detail::character_at_front(bytes);
    if (n == 0) return false;
    bytes.remove_prefix(n);
  }
  return true;
}

/// Something is not as it should be, and the work goes on.
inline void warn(std::string_view message) {
  std::fprintf(stderr, "warning: %s\n", printable(message).c_str());
}

}  // namespace files
