// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// One test source for every backend and scalar type: a cell is one of each, and the tolerances are in
// tolerance.hpp. `TEMPLATE_TEST_CASE("...", "", IDIOLECT_TEST_CELLS)` runs all of them, and
// IDIOLECT_TEST_FEW_CELLS a few, for what takes long or depends little on the cell; where any backend
// will do, fast() or plain(). An executable has the cells of the backends in host
// memory, or, compiled with IDIOLECT_TEST_THRUST, those of Thrust.

#if defined(IDIOLECT_TEST_THRUST)
#include "support/thrust_cells.hpp"
#else

#include <functional>
#include <utility>

#include <idiolect/backend/cpu/cpu.hpp>
#include <idiolect/backend/reference/reference.hpp>
#include <idiolect/core/executor.hpp>
#include <idiolect/core/scalar.hpp>

#include "support/tolerance.hpp"

namespace idiolect::test {

/// Any executor behind one type, so that a test is compiled once for all of them. It does not tell
/// its concurrency: the library takes it for a large one.
using any_executor = executor_from<std::function<void(index_t, const std::function<void(index_t)>&)>>;

template <executor E>
any_executor any(E e) {
  return {[e](index_t n, const std::function<void(index_t)>& f) { e.bulk(n, f); }};
}

/// A backend and a scalar type. `accumulator` is what the backend sums in.
template <class T>
struct on_reference {
  using scalar = T;
  using accumulator = double;
  static auto backend(any_executor e = any(serial_executor{})) {
    return reference<any_executor>{std::move(e)};
  }
  static auto serial() { return reference<>{}; }
};
template <class T>
struct on_cpu {
  using scalar = T;
  using accumulator = accumulator_t<T>;
  static auto backend(any_executor e = any(serial_executor{})) {
    return cpu<any_executor>{std::move(e)};
  }
  static auto serial() { return cpu<>{}; }
};

using reference_float = on_reference<float>;
using reference_double = on_reference<double>;
using reference_half = on_reference<half>;
using reference_bfloat16 = on_reference<bfloat16>;
using cpu_float = on_cpu<float>;
using cpu_double = on_cpu<double>;
using cpu_half = on_cpu<half>;
using cpu_bfloat16 = on_cpu<bfloat16>;
using cpu_eigen_half = on_cpu<Eigen::half>;
using cpu_eigen_bfloat16 = on_cpu<Eigen::bfloat16>;

#define IDIOLECT_TEST_CELLS                                                                     \
  reference_float, reference_double, reference_half, reference_bfloat16, cpu_float, cpu_double, \
      cpu_half, cpu_bfloat16, cpu_eigen_half, cpu_eigen_bfloat16
#define IDIOLECT_TEST_FEW_CELLS reference_float, reference_half, cpu_float, cpu_bfloat16
#define IDIOLECT_TEST_DOUBLE_CELLS reference_double, cpu_double
// Where the types that Eigen brings are nothing new.
#define IDIOLECT_TEST_SUMS \
  reference_float, reference_double, cpu_float, cpu_double, cpu_half, cpu_bfloat16

inline auto fast() { return cpu{}; }
inline auto plain() { return reference{}; }

template <>
struct storage<Eigen::half> : storage<half> {};
template <>
struct storage<Eigen::bfloat16> : storage<bfloat16> {};

}  // namespace idiolect::test

#endif
