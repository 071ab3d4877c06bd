// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Targets: one integer a row, of whatever integer type the host keeps its token ids in.

#include <concepts>
#include <span>
#include <string>
#include <type_traits>

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

/// Raises shape_error unless there is one target a row and at least one column, and target_error
/// for the first target that is neither in [0, cols) nor `ignore`.
template <class T, std::signed_integral Target>
void check_targets(const matrix_view<T>& logits, std::span<const Target> targets, token_id ignore) {
  require(static_cast<index_t>(targets.size()) == logits.rows(), "targets", [&] {
    return std::to_string(targets.size()) + " targets for " + std::to_string(logits.rows()) +
           " rows of logits";
  });
  require(logits.rows() == 0 || logits.cols() > 0, "logits", "an empty vocabulary");
  for (std::size_t i = 0; i < targets.size(); ++i) {
    const auto t = static_cast<index_t>(targets[i]);
    if (t == ignore || (t >= 0 && t < logits.cols())) continue;
    raise(target_error("targets",
                       "target " + std::to_string(t) + " is outside the vocabulary of " +
                           std::to_string(logits.cols()) + " (and not the ignored " +
                           std::to_string(ignore) + ")",
                       static_cast<index_t>(i)));
  }
}

}  // namespace idiolect
