// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The plain fold of a row: one pass, one merge a logit, on host and device. Backends have faster
// ones; this one is what they are compared with.

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <idiolect/config.hpp>
#include <idiolect/core/bounds.hpp>
#include <idiolect/core/error.hpp>
#include <idiolect/core/executor.hpp>
#include <idiolect/core/matrix_view.hpp>
#include <idiolect/core/scalar.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/stats/row_state.hpp>

namespace idiolect {

/// State of `row[0..n)` at a temperature. O(n).
template <moments Set = moments::basic, std::floating_point Real = double, logit_scalar T>
[[nodiscard]] IDIOLECT_HD row_state<Real, Set> fold(const T* row, index_t n,
                                                    Real inverse_temperature = 1) {
  row_state<Real, Set> state;
  for (index_t i = 0; i < n; ++i) {
    const auto z = static_cast<Real>(load(row[i]));
    state = merge(state, row_state<Real, Set>::of(z), inverse_temperature);
  }
  return state;
}

namespace detail {
/// Raises shape_error unless 1 / temperature, which logits are multiplied by, is a normal number in
/// every accumulation type.
inline void check_temperature(double temperature) {
  using single = std::numeric_limits<float>;
  const double inverse = 1 / temperature;
  require(inverse >= double{(single::min)()} && inverse <= double{(single::max)()}, "temperature", [&] {
    return "must be between 3e-39 and 8e37, got " + shown(temperature);
  });
}
}  // namespace detail

/// A backend that folds rows in host memory: what scores and reports are computed with.
/// Requirements: (1) `b.executor` is an executor; (2) `b.template fold<Set>(row, n,
/// inverse_temperature)` is the row's state in double, the same bits at every call; (3) const
/// members may be called from several threads.
/// Optional: (4) `B::segment`, a number of logits such that a row's state is, to the bit, the merge
/// in order of those of its pieces of that length: few long rows are then shared between threads;
/// (5) `B::batch_rows(n)`, at most max_batch, and `b.template fold_batch<Set>(rows, n, scale, states)`
/// for a span of pointers to as many rows of n: short rows are then folded together.
template <class B>
concept folding_backend = requires(const B& b, const float* row, index_t n, double scale,
                                   void (*f)(index_t)) {  // no lambda: nvcc 13 takes none here
  b.executor.bulk(n, f);
  { b.template fold<moments::basic>(row, n, scale) } -> std::same_as<row_state<double>>;
};

namespace detail {

/// Rows that are folded together, at most.
inline constexpr index_t max_batch = 16;

/// How many rows of n logits the backend folds together.
template <folding_backend B>
[[nodiscard]] index_t batch_rows_of(const B&, index_t n) {
  if constexpr (requires { B::batch_rows(n); }) {
    return std::clamp<index_t>(B::batch_rows(n), 1, max_batch);
  } else {
    return 1;
  }
}

/// States of `rows`, no more than batch_rows_of(backend, n).
template <moments Set, folding_backend B, logit_scalar T>
void fold_batch_of(const B& backend, std::span<const T* const> rows, index_t n,
                   double inverse_temperature, row_state<double, Set>* states) {
  if constexpr (requires { backend.template fold_batch<Set>(rows, n, 1.0, states); }) {
    if (rows.size() > 1) {
      return backend.template fold_batch<Set>(rows, n, inverse_temperature, states);
    }
  }
  for (std::size_t k = 0; k < rows.size(); ++k) {
    states[k] = backend.template fold<Set>(rows[k], n, inverse_temperature);
  }
}

/// Whether rows are so few and so long that the executor's threads had better share each.
template <executor E>
[[nodiscard]] bool few_long_rows(const E& e, index_t segment, index_t rows, index_t cols) {
  const index_t threads = concurrency_of(e);
  return threads > 1 && rows < 2 * threads && cols > 2 * segment;
}
template <folding_backend B>
[[nodiscard]] bool share_rows(const B& backend, index_t rows, index_t cols) {
  if constexpr (requires { B::segment; }) {
    return few_long_rows(backend.executor, B::segment, rows, cols);
  } else {
    return false;
  }
}

/// State of a row: its segments side by side, merged in order. `fold_segment(first, n)` gives one's.
template <moments Set, executor E, class Fold>
[[nodiscard]] row_state<double, Set> fold_segments(const E& e, index_t n, index_t segment,
                                                   double inverse_temperature,
                                                   Fold&& fold_segment) {
  const index_t segments = (n + segment - 1) / segment;
  std::vector<row_state<double, Set>> states(static_cast<std::size_t>(segments));
  e.bulk(segments, [&](index_t k) {
    const index_t first = k * segment;
    states[static_cast<std::size_t>(k)] = fold_segment(first, (std::min)(segment, n - first));
  });
  row_state<double, Set> state;
  for (const auto& s : states) state = merge(state, s, inverse_temperature);
  return state;
}

/// Calls f(i, state) with the state of each row that `wanted(i)`, in any order and possibly at once.
template <moments Set, folding_backend B, class Row, class Wanted, class F>
void fold_rows(const B& backend, const matrix_view<Row>& rows, double inverse_temperature,
               Wanted&& wanted, F&& f) {
  if constexpr (requires { B::segment; }) {
    if (share_rows(backend, rows.rows(), rows.cols())) {
      for (index_t i = 0; i < rows.rows(); ++i) {
        if (!wanted(i)) continue;
        f(i, fold_segments<Set>(backend.executor, rows.cols(), B::segment, inverse_temperature,
                                [&](index_t first, index_t n) {
                                  return backend.template fold<Set>(rows.row(i) + first, n,
                                                                    inverse_temperature);
                                }));
      }
      return;
    }
  }
  const auto most = static_cast<std::size_t>(batch_rows_of(backend, rows.cols()));
  for_pieces(backend.executor, rows.rows(), [&](index_t first, index_t end) {
    index_t batch[max_batch];
    const std::remove_const_t<Row>* pointers[max_batch];
    row_state<double, Set> states[max_batch];
    for (index_t i = first; i < end;) {
      std::size_t count = 0;
      for (; i < end && count < most; ++i) {
        if (!wanted(i)) continue;
        pointers[count] = rows.row(i);
        batch[count++] = i;
      }
      fold_batch_of<Set>(backend, std::span<const std::remove_const_t<Row>* const>(pointers, count),
                         rows.cols(), inverse_temperature, states);
      for (std::size_t k = 0; k < count; ++k) f(batch[k], states[k]);
    }
  });
}

}  // namespace detail

}  // namespace idiolect
