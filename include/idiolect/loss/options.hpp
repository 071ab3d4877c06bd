// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a call of `loss` or `loss_and_gradient` can be told beside the logits, targets and loss.

#include <cstdint>

#include <idiolect/core/kept_span.hpp>
#include <idiolect/core/types.hpp>

namespace idiolect {

/// How per-token losses become one number; the gradient is that number's.
struct reduction {
  enum class kind : std::uint8_t { sum, mean, mean_over, sequence_mean, none };

  kind how = kind::mean;
  double tokens = 0;  ///< mean_over only

  /// Sum over tokens.
  static constexpr reduction sum() { return {kind::sum, 0}; }
  /// Mean over the valid tokens of this call.
  static constexpr reduction mean() { return {kind::mean, 0}; }
  /// Sum divided by `tokens`, the number of valid tokens in the whole optimiser step: what gradient
  /// accumulation and data parallelism need (the mean of micro-batch means is something else).
  static constexpr reduction mean_over(double tokens) { return {kind::mean_over, tokens}; }
  /// Mean over sequences of each one's mean; needs `sequence_offsets`.
  static constexpr reduction sequence_mean() { return {kind::sequence_mean, 0}; }
  /// Per-token values in the report; the loss is their sum and the gradient the sum's.
  static constexpr reduction none() { return {kind::none, 0}; }
};

/// What to do with a row that is not finite when it is finished: NaN, +inf or no finite logit, a
/// NaN or infinite weight, or a loss or gradient that comes out NaN or infinite. All of them are
/// counted.
enum class non_finite : std::uint8_t {
  /// Its loss and gradient are NaN, so that a loss scaler sees it. A masked target's loss under
  /// plain
  /// likelihood stays +inf, and its gradient p - e_y.
  propagate,
  skip,  ///< its loss and gradient are 0; it is counted and stays in the denominator
  error  ///< raises non_finite_error after the pass; the gradient is then unspecified
};

/// Every field has the usual default; spans may be empty.
struct loss_options {
  reduction reduce = reduction::mean();
  token_id ignore_index = ignored_target;  ///< target of rows that do not count
  double temperature = 1;                  ///< logits are divided by it
  double gradient_scale = 1;               ///< multiplies the gradient only (a loss scaler)
  bool accumulate = false;                 ///< add to the gradient instead of overwriting it
  non_finite on_non_finite = non_finite::propagate;
  /// One per row, any sign: multiplies that row's loss. A row of weight 0 stays in the denominator.
  kept_span<const float> weights = {};
  /// Rows [offsets[k], offsets[k + 1]) are sequence k; starts with 0 and ends with the row count.
  kept_span<const index_t> sequence_offsets = {};
  /// Tokens whose probability, where they are the target, the report follows: the end of sequence.
  kept_span<const token_id> end_tokens = {};
};

}  // namespace idiolect
