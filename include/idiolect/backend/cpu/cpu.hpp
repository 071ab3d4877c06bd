// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The CPU backend: SIMD passes over rows in host memory, on Eigen's packets. It uses the
// instruction set of the translation unit that includes it: compile with -march=native, -mavx2
// -mfma or what your machines have, and the same in every unit of a program that calls it.

#include <idiolect/backend/cpu/kernels.hpp>
#include <idiolect/core/executor.hpp>
#include <idiolect/core/scalar.hpp>
#include <idiolect/loss/span.hpp>
#include <idiolect/stats/row_state.hpp>

namespace idiolect {

/// Execution policy: `cpu{}` runs on the calling thread, `cpu{executor}` on the executor's.
/// A cheap value; no state, no allocation of its own.
template <class Executor = serial_executor>
struct cpu {
  [[no_unique_address]] Executor executor{};

  template <moments Set, logit_scalar T>
  [[nodiscard]] row_state<double, Set> fold(const T* row, index_t n,
                                            double inverse_temperature) const {
    return detail::fold_row<Set>(row, n, inverse_temperature);
  }

  template <logit_scalar T, logit_scalar G>
  void span(const T* row, G* gradient, index_t n, const row_span<double>& r, bool accumulate) const {
    detail::span_row(row, gradient, n, r, accumulate);
  }
};
template <class Executor>
cpu(Executor) -> cpu<Executor>;

/// Eigen's 16-bit types store logits as the library's own do.
template <>
struct scalar_traits<Eigen::half> {
  using accumulator = float;
};
template <>
struct scalar_traits<Eigen::bfloat16> {
  using accumulator = float;
};

}  // namespace idiolect
