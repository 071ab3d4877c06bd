// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The library's only macros, beside the version numbers in version.hpp.
//
//   IDIOLECT_HD              marks what runs on host and device
//   IDIOLECT_ASSERT          checks the library's own invariants; active unless NDEBUG
//   IDIOLECT_ERROR_HANDLER   may be defined by the embedder: see core/error.hpp

#include <cassert>

#include <idiolect/version.hpp>

#if defined(__CUDACC__) || defined(__HIPCC__)
#define IDIOLECT_HD __host__ __device__
#else
#define IDIOLECT_HD
#endif

#define IDIOLECT_ASSERT(condition) assert(condition)

#if defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__
#error "idiolect needs infinities and NaN: masked logits are -inf and a broken row is reported by NaN. Compile the files that include it without -ffast-math, or add -fno-finite-math-only."
#endif
