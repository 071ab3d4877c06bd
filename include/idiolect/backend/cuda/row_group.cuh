// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The groups of a device: thread_teams.hpp with the device's own threads, shuffles and barriers.

#include <cstdint>

#include <cooperative_groups.h>

#include <idiolect/backend/cuda/thread_teams.hpp>

namespace idiolect::detail {

/// The thread that runs this, seen from its block and cluster. Clusters came with sm_90.
struct device_machine {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  [[nodiscard]] __device__ static int block() {
    return static_cast<int>(cooperative_groups::this_cluster().block_rank());
  }
  __device__ static void arrive() {
    __cluster_barrier_arrive_relaxed();
  }
  __device__ static void await() {
    __cluster_barrier_wait();
  }
  __device__ static void sync_cluster() {
    cooperative_groups::this_cluster().sync();
  }
  template <class T>
  [[nodiscard]] __device__ static T* in_block(T* p, int block) {
    return cooperative_groups::this_cluster().map_shared_rank(p, block);
  }
#else  // never called
  [[nodiscard]] __device__ static int block() {
    return 0;
  }
  __device__ static void arrive() {}
  __device__ static void await() {}
  __device__ static void sync_cluster() {
    __syncthreads();
  }
  template <class T>
  [[nodiscard]] __device__ static T* in_block(T* p, int) {
    return p;
  }
#endif

  [[nodiscard]] __device__ static int thread() {
    return static_cast<int>(threadIdx.x);
  }
  [[nodiscard]] __device__ static std::uint32_t shuffle_xor(std::uint32_t x, int mask) {
    return __shfl_xor_sync(0xffffffffu, x, mask);
  }
  __device__ static void sync_warp() {
    __syncwarp();
  }
  __device__ static void sync_block() {
    __syncthreads();
  }
};

using warp_group = warp_team<device_machine>;
template <int Threads, int Blocks = 1>
using block_group = block_team<Threads, Blocks, device_machine>;

}  // namespace idiolect::detail
