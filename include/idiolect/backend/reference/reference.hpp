// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The plain backend: portable scalar code, double arithmetic, no dependency. Slow and easy to
// read; the fast backends are compared with it.

#include <idiolect/core/executor.hpp>
#include <idiolect/core/scalar.hpp>
#include <idiolect/loss/span.hpp>
#include <idiolect/stats/fold.hpp>

namespace idiolect {

/// Execution policy: rows in host memory, one merge a logit.
template <class Executor = serial_executor>
struct reference {
  [[no_unique_address]] Executor executor{};

  template <moments Set, logit_scalar T>
  [[nodiscard]] row_state<double, Set> fold(const T* row, index_t n,
                                            double inverse_temperature) const {
    return idiolect::fold<Set, double>(row, n, inverse_temperature);
  }

  template <logit_scalar T, logit_scalar G>
  void span(const T* row, G* gradient, index_t n, const row_span<double>& r, bool accumulate) const {
    write_span(row, gradient, n, r, accumulate);
  }
};
template <class Executor>
reference(Executor) -> reference<Executor>;

}  // namespace idiolect
