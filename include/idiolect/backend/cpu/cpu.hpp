// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The CPU backend: SIMD passes over rows in host memory, on Eigen's packets. It uses the
// instruction set of the translation unit that includes it: compile with -march=native, -mavx2
// -mfma or what your machines have. Units of one program may be compiled for different ones, each
// runs its own: IDIOLECT_TARGET.

#include <concepts>
#include <cstddef>
#include <span>

#include <idiolect/backend/cpu/fold.hpp>
#include <idiolect/backend/cpu/gradient.hpp>
#include <idiolect/backend/cpu/pass.hpp>
#include <idiolect/config.hpp>
#include <idiolect/core/executor.hpp>
#include <idiolect/core/matrix_view.hpp>
#include <idiolect/core/scalar.hpp>
#include <idiolect/loss/span.hpp>
#include <idiolect/stats/row_state.hpp>

namespace idiolect::inline IDIOLECT_TARGET {

/// Execution policy: `cpu{}` runs on the calling thread, `cpu{executor}` on the executor's.
/// A cheap value without state. Folding a row allocates nothing; for gradients see pass.hpp.
template <class Executor = serial_executor>
struct cpu {
  [[no_unique_address]] Executor executor{};

  /// Logits of a row that are folded by themselves: a long row is shared between threads.
  static constexpr index_t segment = detail::segment_size;

  template <moments Set, logit_scalar T>
  [[nodiscard]] row_state<double, Set> fold(const T* row, index_t n,
                                            double inverse_temperature) const {
    const detail::fold_scale<accumulator_t<T>> scale(inverse_temperature);
    detail::no_writer nothing;
    return detail::fold_row<Set, false>(row, n, scale, {}, nothing);
  }

  /// Rows of n logits that are folded together.
  [[nodiscard]] static index_t batch_rows(index_t n) { return detail::short_rows(n); }

  template <moments Set, logit_scalar T>
  void fold_batch(std::span<const T* const> rows, index_t n, double inverse_temperature,
                  row_state<double, Set>* states) const {
    if constexpr (std::same_as<T, accumulator_t<T>>) {
      if (n <= detail::block_size<T>) {
        const detail::fold_scale<T> scale(inverse_temperature);
        return detail::fold_short_rows<Set, false>(rows, n, scale, nullptr, states);
      }
    }
    for (std::size_t k = 0; k < rows.size(); ++k) {
      states[k] = fold<Set>(rows[k], n, inverse_temperature);
    }
  }

  template <logit_scalar T, logit_scalar G>
  void span(const T* row, G* gradient, index_t n, const row_span<double>& r, bool accumulate) const {
    detail::span_row(row, gradient, n, r, accumulate);
  }

  /// Both passes over a matrix in one; see plain_pass for what it offers.
  template <moments Set, logit_scalar T, logit_scalar G>
  [[nodiscard]] auto gradient_pass(matrix_view<const T> logits, matrix_view<G> gradient,
                                   double inverse_temperature, bool accumulate) const {
    return detail::gradient_pass<Set, T, G, Executor>(executor, logits, gradient,
                                                      inverse_temperature, accumulate);
  }
};
template <class Executor>
cpu(Executor) -> cpu<Executor>;

}  // namespace idiolect::inline IDIOLECT_TARGET
