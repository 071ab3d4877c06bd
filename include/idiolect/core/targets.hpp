// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Targets: one integer a row, of whatever integer type the host keeps its token ids in.

#include <concepts>
#include <cstddef>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <idiolect/config.hpp>
#include <idiolect/core/error.hpp>
#include <idiolect/core/matrix_view.hpp>
#include <idiolect/core/types.hpp>

namespace idiolect {

/// Contiguous signed integers with data() and size(): vector, span, array, Eigen vector.
template <class R>
concept target_range = requires(const R& r) {
  { r.size() } -> std::convertible_to<std::size_t>;
  requires std::signed_integral<std::remove_cvref_t<decltype(*r.data())>>;
};

/// The targets as a span. No copy.
template <target_range R>
[[nodiscard]] auto targets_of(const R& r) {
  using element = std::remove_cvref_t<decltype(*r.data())>;
  return std::span<const element>(r.data(), static_cast<std::size_t>(r.size()));
}

/// The targets of a text whose first `prompt` tokens are given: row i predicts tokens[i + 1], and
/// everything after the prompt is trained, the closing end of sequence too. `ignore` where the
/// prompt itself would be the target, and in the last row. O(T). Raises shape_error for a prompt
/// longer than the text.
[[nodiscard]] inline std::vector<token_id> next_token_targets(std::span<const token_id> tokens,
                                                              index_t prompt,
                                                              token_id ignore = ignored_target) {
  require(prompt >= 0 && prompt <= static_cast<index_t>(tokens.size()), "prompt", [&] {
    return std::to_string(prompt) + " tokens of a text of " + std::to_string(tokens.size());
  });
  std::vector<token_id> targets(tokens.size(), ignore);
  for (std::size_t i = 1; i < tokens.size(); ++i) {
    if (static_cast<index_t>(i) >= prompt) targets[i - 1] = tokens[i];
  }
  return targets;
}

namespace detail {

/// Raises shape_error unless there is one target a row and at least one column.
template <class T>
void check_target_count(const matrix_view<T>& logits, std::size_t targets) {
  require(static_cast<index_t>(targets) == logits.rows(), "targets", [&] {
    return std::to_string(targets) + " targets for " + std::to_string(logits.rows()) +
           " rows of logits";
  });
  require(logits.rows() == 0 || logits.cols() > 0, "logits", "an empty vocabulary");
}

/// Whether a target is in the vocabulary and not the ignored one.
[[nodiscard]] IDIOLECT_HD inline bool is_valid_target(index_t target, index_t vocabulary,
                                                      index_t ignore) {
  return target != ignore && target >= 0 && target < vocabulary;
}

/// Raises target_error: row's target is neither in the vocabulary nor `ignore`.
[[noreturn]] inline void raise_target(index_t row, index_t target, index_t vocabulary,
                                      token_id ignore) {
  raise(target_error("targets",
                     "target " + std::to_string(target) + " is outside the vocabulary of " +
                         std::to_string(vocabulary) + " (and not the ignored " +
                         std::to_string(ignore) + ")",
                     row));
}

}  // namespace detail

/// Raises shape_error unless there is one target a row and at least one column, and target_error
/// for the first target that is neither in [0, cols) nor `ignore`.
template <class T, std::signed_integral Target>
void check_targets(const matrix_view<T>& logits, std::span<const Target> targets, token_id ignore) {
  detail::check_target_count(logits, targets.size());
  for (std::size_t i = 0; i < targets.size(); ++i) {
    const auto t = static_cast<index_t>(targets[i]);
    if (t == ignore || detail::is_valid_target(t, logits.cols(), ignore)) continue;
    detail::raise_target(static_cast<index_t>(i), t, logits.cols(), ignore);
  }
}

}  // namespace idiolect
