// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A regular expression: a form that the text must have, or, with a group, where the answer stands.
// It is searched without backtracking (linear_regex.hpp), so that no pattern and no text can take
// minutes, or the stack.

#include <optional>
#include <string>
#include <string_view>

#include <idiolect/hinted/verifiers/answer.hpp>
#include <idiolect/hinted/verifiers/linear_regex.hpp>

namespace idiolect {

/// Without a group in the pattern: accepts a text in which it is found. With one: the first group
/// of the last match, trimmed, must equal that of the reference, or the whole reference where the
/// pattern is not found in it. The next match is looked for behind the last one.
///
/// The last `reach` bytes of a text are searched, in `steps` steps (each is a byte seen by a part
/// of the pattern, some nanoseconds). A text that needs more is not accepted: where a pattern
/// begins at every byte and could end at any, looking for the last match is quadratic.
class regex_verifier {
 public:
  static constexpr std::size_t reach = std::size_t{1} << 16;
  static constexpr std::size_t steps = std::size_t{1} << 26;

  /// Raises shape_error for a pattern that is no regular expression, and for what cannot be
  /// searched without backtracking: see regex_syntax.hpp.
  explicit regex_verifier(const std::string& pattern) : pattern_(pattern) {}

  template <has_reference R>
  [[nodiscard]] bool operator()(const R& record, std::string_view text) const {
    const auto found = find(text);
    if (!found || pattern_.groups() == 0) return found.has_value();
    const std::string_view reference = reference_of(record);
    return !found->empty() && *found == find(reference).value_or(trimmed(reference));
  }

 private:
  /// The first group of the last match; empty without a group.
  [[nodiscard]] std::optional<std::string_view> find(std::string_view text) const {
    if (text.size() > reach) text = text.substr(text.size() - reach);
    std::optional<std::string_view> last;
    std::size_t left = steps;
    for (std::size_t from = 0; from <= text.size();) {
      const auto [found, exhausted] = pattern_.search(text, from, left);
      if (exhausted) return std::nullopt;
      if (!found) break;
      last = found->group_end == linear_regex::match::none
                 ? text.substr(0, 0)
                 : trimmed(text.substr(found->group_begin, found->group_end - found->group_begin));
      if (pattern_.groups() == 0) break;  // once is enough
      from = found->end > found->begin ? found->end : found->end + 1;
    }
    return last;
  }

  linear_regex pattern_;
};

}  // namespace idiolect
