// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A regular expression (ECMAScript, as std::regex has it): a form that the text must have, or, with
// a group, where the answer stands.

#include <iterator>
#include <optional>
#include <regex>
#include <string>
#include <string_view>

#include <idiolect/core/error.hpp>
#include <idiolect/hinted/verifiers/answer.hpp>

namespace idiolect {

/// Without a group in the pattern: accepts a text in which it is found. With one: the first group
/// of the last match, trimmed, must equal that of the reference, or the whole reference where the
/// pattern is not found in it.
///
/// Only the last `reach` bytes of a text are searched: implementations of std::regex take stack in
/// proportion to the text, and a text that never ended must not end the program.
class regex_verifier {
 public:
  static constexpr std::size_t reach = 4096;

  /// Raises shape_error for a pattern that is no regular expression.
  explicit regex_verifier(const std::string& pattern) : pattern_(compile(pattern)) {}

  template <has_reference R>
  [[nodiscard]] bool operator()(const R& record, std::string_view text) const {
    const auto found = find(text);
    if (!found || pattern_.mark_count() == 0) return found.has_value();
    const std::string_view reference = reference_of(record);
    return !found->empty() && *found == find(reference).value_or(std::string(trimmed(reference)));
  }

 private:
  static std::regex compile(const std::string& pattern) {
#if defined(__cpp_exceptions)
    try {
      return std::regex(pattern);
    } catch (const std::regex_error& e) {
      raise(shape_error("pattern", "'" + pattern + "' is no regular expression: " + e.what()));
    }
#else
    return std::regex(pattern);
#endif
  }

  // The first group of the last match; empty without a group.
  [[nodiscard]] std::optional<std::string> find(std::string_view text) const {
    if (text.size() > reach) text = text.substr(text.size() - reach);
    using matches = std::regex_iterator<std::string_view::const_iterator>;
    std::optional<std::string> last;
    for (matches m(text.begin(), text.end(), pattern_), none; m != none; ++m) {
      last = m->size() > 1 ? std::string(trimmed((*m)[1].str())) : std::string();
    }
    return last;
  }

  std::regex pattern_;
};

}  // namespace idiolect
