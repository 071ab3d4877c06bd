// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a device's memory allows, whatever the arithmetic: the floors that the kernels are compared
// with. Each works on vectors of 16 bytes, n of them, and does nothing but move them.

#include <cstdint>

#include <cuda_runtime.h>

#include <idiolect/core/types.hpp>

namespace idiolect::bench::limits {

inline constexpr int threads = 512;
inline constexpr int unrolled = 8;  ///< loads in flight, a thread

/// Calls f(i) for this thread's vectors; `unrolled` neighbouring blocks' worth at a time.
template <class F>
__device__ void for_vectors(index_t n, F&& f) {
  const index_t step = index_t{threads} * unrolled;
  const index_t first = static_cast<index_t>(blockIdx.x) * step + threadIdx.x;
  for (index_t i = first; i < n; i += step * gridDim.x) f(i);
}

/// Reads; writes only if every bit of what a thread read is 0, which random data is not.
__global__ void __launch_bounds__(threads) read(const uint4* from, index_t n, uint4* never) {
  uint4 all{};
  for_vectors(n, [&](index_t i) {
    uint4 v[unrolled];
#pragma unroll
    for (int k = 0; k < unrolled; ++k) {
      const index_t j = i + index_t{k} * threads;
      v[k] = j < n ? from[j] : uint4{};
    }
#pragma unroll
    for (int k = 0; k < unrolled; ++k) {
      all.x |= v[k].x, all.y |= v[k].y, all.z |= v[k].z, all.w |= v[k].w;
    }
  });
  if ((all.x | all.y | all.z | all.w) == 0) *never = all;
}

/// Reads and writes, to other memory or back: `flip` is 0, which the compiler must not know.
__global__ void __launch_bounds__(threads)
    copy(const uint4* from, uint4* to, index_t n, unsigned flip) {
  for_vectors(n, [&](index_t i) {
    uint4 v[unrolled];
#pragma unroll
    for (int k = 0; k < unrolled; ++k) {
      const index_t j = i + index_t{k} * threads;
      if (j < n) v[k] = from[j];
    }
#pragma unroll
    for (int k = 0; k < unrolled; ++k) {
      const index_t j = i + index_t{k} * threads;
      v[k].x ^= flip;
      if (j < n) to[j] = v[k];
    }
  });
}

}  // namespace idiolect::bench::limits
