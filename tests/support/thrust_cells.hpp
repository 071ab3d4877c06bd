// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The cells of the Thrust backend: what cells.hpp is where IDIOLECT_TEST_THRUST is defined.

#include <thrust/system/cpp/execution_policy.h>
#if defined(_OPENMP)
#include <thrust/system/omp/execution_policy.h>
#endif

#include <idiolect/backend/thrust/thrust.hpp>
#include <idiolect/core/scalar.hpp>

#include "support/tolerance.hpp"

namespace idiolect::test {

template <class T>
struct on_thrust_cpp {
  using scalar = T;
  using accumulator = double;
  static auto backend() { return thrust_system{::thrust::cpp::par}; }
};
using thrust_cpp_float = on_thrust_cpp<float>;
using thrust_cpp_double = on_thrust_cpp<double>;
using thrust_cpp_half = on_thrust_cpp<half>;
using thrust_cpp_bfloat16 = on_thrust_cpp<bfloat16>;

#if defined(_OPENMP)
template <class T>
struct on_thrust_omp {
  using scalar = T;
  using accumulator = double;
  static auto backend() { return thrust_system{::thrust::omp::par}; }
};
using thrust_omp_float = on_thrust_omp<float>;
using thrust_omp_double = on_thrust_omp<double>;
using thrust_omp_half = on_thrust_omp<half>;
using thrust_omp_bfloat16 = on_thrust_omp<bfloat16>;

#define IDIOLECT_TEST_CELLS                                                                    \
  thrust_cpp_float, thrust_cpp_double, thrust_cpp_half, thrust_cpp_bfloat16, thrust_omp_float, \
      thrust_omp_double, thrust_omp_half, thrust_omp_bfloat16
#define IDIOLECT_TEST_FEW_CELLS thrust_cpp_half, thrust_omp_float
#define IDIOLECT_TEST_DOUBLE_CELLS thrust_cpp_double, thrust_omp_double
inline auto fast() {
  return thrust_omp_float::backend();
}
#else
#define IDIOLECT_TEST_CELLS \
  thrust_cpp_float, thrust_cpp_double, thrust_cpp_half, thrust_cpp_bfloat16
#define IDIOLECT_TEST_FEW_CELLS thrust_cpp_half, thrust_cpp_float
#define IDIOLECT_TEST_DOUBLE_CELLS thrust_cpp_double
inline auto fast() {
  return thrust_cpp_float::backend();
}
#endif
#define IDIOLECT_TEST_SUMS thrust_cpp_float, thrust_cpp_double, thrust_cpp_bfloat16
inline auto plain() {
  return thrust_cpp_float::backend();
}

}  // namespace idiolect::test
