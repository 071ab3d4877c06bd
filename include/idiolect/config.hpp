// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The library's only macros, beside the version numbers in version.hpp.
//
//   IDIOLECT_HD              marks what runs on host and device
//   IDIOLECT_TARGET          names the instruction set that a file is compiled for: an inline namespace
//                            around whatever is another function with another one. Two units of one
//                            program may then be compiled for different processors, and each runs its
//                            own; without it the linker keeps one function of each name.
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

// By what Eigen's packets and their arithmetic depend on. (In a .cu file: the host compiler's.)
#if defined(EIGEN_DONT_VECTORIZE)
#define IDIOLECT_DETAIL_PACKET scalar
#elif defined(__AVX512F__) && defined(__AVX512DQ__)
#define IDIOLECT_DETAIL_PACKET avx512dq
#elif defined(__AVX512F__)
#define IDIOLECT_DETAIL_PACKET avx512
#elif defined(__AVX2__)
#define IDIOLECT_DETAIL_PACKET avx2
#elif defined(__AVX__)
#define IDIOLECT_DETAIL_PACKET avx
#elif defined(__SSE4_1__)
#define IDIOLECT_DETAIL_PACKET sse4
#elif defined(__SSE2__)
#define IDIOLECT_DETAIL_PACKET sse2
#elif defined(__ARM_NEON)
#define IDIOLECT_DETAIL_PACKET neon
#else
#define IDIOLECT_DETAIL_PACKET any
#endif
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
#define IDIOLECT_DETAIL_FMA _fma
#else
#define IDIOLECT_DETAIL_FMA
#endif
#if defined(__F16C__) || defined(__ARM_FEATURE_FP16_VECTOR_ARITHMETIC)
#define IDIOLECT_DETAIL_HALF _half
#else
#define IDIOLECT_DETAIL_HALF
#endif
#define IDIOLECT_DETAIL_JOIN(packet, fma, half) target_##packet##fma##half
#define IDIOLECT_DETAIL_TARGET(packet, fma, half) IDIOLECT_DETAIL_JOIN(packet, fma, half)
#define IDIOLECT_TARGET \
  IDIOLECT_DETAIL_TARGET(IDIOLECT_DETAIL_PACKET, IDIOLECT_DETAIL_FMA, IDIOLECT_DETAIL_HALF)

#if defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__
#error "idiolect needs infinities and NaN: masked logits are -inf and a broken row is reported by NaN. Compile the files that include it without -ffast-math, -Ofast and -ffinite-math-only."
#endif
// GCC says 0 where arithmetic is not IEEE 754's. Clang does not tell: what would go wrong there is
// written such that it cannot.
#if defined(__GCC_IEC_559) && __GCC_IEC_559 == 0
#error "idiolect needs sums and quotients as they are written: a compiler that may regroup them removes a rounding on purpose, and numbers are silently wrong. Compile the files that include it without -ffast-math, -Ofast, -funsafe-math-optimizations, -fassociative-math, -freciprocal-math, -fno-signed-zeros and -fsingle-precision-constant. (-fno-math-errno and -fno-trapping-math do no harm.)"
#endif
