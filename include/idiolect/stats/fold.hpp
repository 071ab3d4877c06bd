// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The plain fold of a row: one pass, one merge a logit, on host and device. Backends have faster
// ones; this one is what they are compared with.

#include <concepts>
#include <limits>
#include <string>

#include <idiolect/config.hpp>
#include <idiolect/core/error.hpp>
#include <idiolect/core/scalar.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/stats/row_state.hpp>

namespace idiolect {

/// State of `row[0..n)` with every logit multiplied by `inverse_temperature`. O(n).
template <moments Set = moments::basic, std::floating_point Real = double, logit_scalar T>
[[nodiscard]] IDIOLECT_HD row_state<Real, Set> fold(const T* row, index_t n,
                                                    Real inverse_temperature = 1) {
  row_state<Real, Set> state;
  for (index_t i = 0; i < n; ++i) {
    const auto z = static_cast<Real>(load(row[i])) * inverse_temperature;
    state = merge(state, row_state<Real, Set>::of(z));
  }
  return state;
}

namespace detail {
/// Raises shape_error unless 1 / temperature, which logits are multiplied by, is a normal number in
/// every accumulation type.
inline void check_temperature(double temperature) {
  using single = std::numeric_limits<float>;
  const double inverse = 1 / temperature;
  require(inverse >= double{single::min()} && inverse <= double{single::max()}, "temperature", [&] {
    return "must be between 3e-39 and 8e37, got " + std::to_string(temperature);
  });
}
}  // namespace detail

/// A backend that folds rows in host memory: what scores and reports are computed with.
/// Requirements: (1) `b.executor` is an executor; (2) `b.template fold<Set>(row, n,
/// inverse_temperature)` is the row's state in double, the same bits at every call; (3) const
/// members may be called from several threads.
template <class B>
concept folding_backend = requires(const B& b, const float* row, index_t n, double scale) {
  b.executor.bulk(n, [](index_t) {});
  { b.template fold<moments::basic>(row, n, scale) } -> std::same_as<row_state<double>>;
};

}  // namespace idiolect
