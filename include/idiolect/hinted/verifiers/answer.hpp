// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The final answer inside a text: what follows a delimiter ("####", "\boxed{", ">"). Bytes in,
// bytes out; the results are views into the text.

#include <algorithm>
#include <concepts>
#include <optional>
#include <string>
#include <string_view>

namespace idiolect {

/// Without blanks, tabs and line breaks around it; always a part of `text`, even an empty one.
/// O(n).
[[nodiscard]] inline std::string_view trimmed(std::string_view text) {
  constexpr std::string_view space = " \t\r\n\f\v";
  const auto first = text.find_first_not_of(space);
  if (first == std::string_view::npos) return text.substr(0, 0);
  return text.substr(first, text.find_last_not_of(space) - first + 1);
}

/// Length of the group that `text` continues after its opening brace: up to the brace that closes
/// it, nested pairs counted, a brace behind a backslash not. Nothing if it is never closed. O(n).
[[nodiscard]] inline std::optional<std::size_t> closing_brace(std::string_view text) {
  std::size_t depth = 1;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == '{') {
      ++depth;
    } else if (text[i] == '}' && --depth == 0) {
      return i;
    }
  }
  return std::nullopt;
}

/// What follows the last `delimiter`, trimmed: up to the brace that closes it if the delimiter ends
/// with `{` (the last one that is closed), else to the end of the line. Nothing without a
/// delimiter; an empty delimiter is in no text. O(n).
[[nodiscard]] inline std::optional<std::string_view> answer_after(std::string_view text,
                                                                  std::string_view delimiter) {
  if (delimiter.empty()) return std::nullopt;
  const bool braced = delimiter.back() == '{';
  auto open = text.size();  // from here on nothing closes what is open
  for (auto at = text.rfind(delimiter); at != std::string_view::npos;
       at = at > 0 ? text.rfind(delimiter, at - 1) : std::string_view::npos) {
    const auto begin = at + delimiter.size();
    if (!braced) return trimmed(text.substr(begin, text.find('\n', begin) - begin));
    const auto rest = text.substr(begin, open - begin);
    if (const auto length = closing_brace(rest)) return trimmed(rest.substr(0, *length));
    open = begin;  // a group that is still open here stays so, as this one does
  }
  return std::nullopt;
}

/// Hands a verifier what stands behind the last `marker` ("</think>"): a delimiter that is quoted
/// while the model reasons then answers nothing. A text without the marker has not come to its
/// answer, and is not accepted. The reference is read as a whole.
template <class Verifier>
struct behind_marker {
  std::string marker;
  Verifier verify = {};

  template <class R>
  [[nodiscard]] bool operator()(const R& record, std::string_view text) const {
    const auto at = text.rfind(marker);
    return at != std::string_view::npos && verify(record, text.substr(at + marker.size()));
  }
};
template <class Verifier>
behind_marker(std::string, Verifier) -> behind_marker<Verifier>;

/// A record whose reference answer the verifiers can read: text itself, or something with a member
/// `answer`.
template <class R>
concept has_reference = std::convertible_to<const R&, std::string_view> || requires(const R& r) {
  { r.answer } -> std::convertible_to<std::string_view>;
};

template <has_reference R>
[[nodiscard]] std::string_view reference_of(const R& record) {
  if constexpr (std::convertible_to<const R&, std::string_view>) {
    return record;
  } else {
    return record.answer;
  }
}

}  // namespace idiolect
