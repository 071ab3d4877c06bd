// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Launches a kernel over rows with the group that the tuning table gives a row: several warps a
// block with a row each, a block a row, or a cluster of blocks a row.

#include <utility>

#include <cuda_runtime.h>

#include <idiolect/backend/cuda/policy.cuh>
#include <idiolect/backend/cuda/row_group.cuh>
#include <idiolect/backend/cuda/row_tile.hpp>
#include <idiolect/backend/cuda/tuning.hpp>
#include <idiolect/core/error.hpp>
#include <idiolect/core/types.hpp>

namespace idiolect::detail {

/// Threads of a block, blocks of a cluster at most, for a shape.
template <int Shape>
inline constexpr int launch_threads =
    row_shapes[Shape].threads == warp_size ? warps_per_block * warp_size : row_shapes[Shape].threads;
template <int Shape>
inline constexpr int cluster_of = Shape == last_row_shape ? max_cluster : 1;

/// What a thread holds of a row of T.
template <int Shape, class T>
inline constexpr tile_shape tile_of{
    .vectors = row_shapes[Shape].vectors,
    .edges = (max_edges<T> + row_shapes[Shape].threads - 1) / row_shapes[Shape].threads,
    .whole = Shape != last_row_shape};

/// Blocks that a multiprocessor is to hold at once; half as many for doubles.
template <int Shape, class T>
inline constexpr int launch_blocks = row_shapes[Shape].resident /
                                     (sizeof(T) == 8 ? 2 : 1) / launch_threads<Shape>;

/// The row that this thread works on.
template <int Shape>
[[nodiscard]] __device__ index_t row_of_thread(int blocks) {
  const auto block = static_cast<index_t>(blockIdx.x);
  if constexpr (row_shapes[Shape].threads == warp_size) {
    return block * warps_per_block + static_cast<index_t>(threadIdx.x) / warp_size;
  } else {
    return cluster_of<Shape> == 1 ? block : block / blocks;
  }
}

/// Calls f with the group that this thread's row is worked on by.
template <int Shape, class F>
__device__ void with_group(int blocks, F&& f) {
  constexpr int threads = row_shapes[Shape].threads;
  if constexpr (threads == warp_size) {
    f(warp_group{});
  } else {
    using group = block_group<threads, cluster_of<Shape>>;
    __shared__ typename group::memory memory;
    f(group(memory, blocks));
  }
}

/// Enqueues kernel(arguments...) with `threads` threads a block, and `cluster` blocks a cluster.
/// Raises backend_error; an error that somebody else left behind is not taken for ours.
template <class... Parameters, class... Arguments>
void enqueue(cudaStream_t stream, index_t blocks, int threads, int cluster,
             void (*kernel)(Parameters...), const Arguments&... arguments) {
  require(blocks < (index_t{1} << 31), "logits", "more rows than one call on a device can take");
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.stream = stream;
  cudaLaunchAttribute dimension = {};
  dimension.id = cudaLaunchAttributeClusterDimension;
  dimension.val.clusterDim.x = static_cast<unsigned>(cluster);
  dimension.val.clusterDim.y = dimension.val.clusterDim.z = 1;
  config.attrs = &dimension;
  config.numAttrs = cluster > 1 ? 1 : 0;
  check(cudaLaunchKernelEx(&config, kernel, arguments...), "launching a kernel");
}

/// Whether a kernel's blocks can form clusters: on this device, and in the code that was compiled.
template <class Kernel>
[[nodiscard]] bool has_clusters(Kernel kernel) {
  int device = 0;
  int offered = 0;
  cudaFuncAttributes attributes = {};
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&offered, cudaDevAttrClusterLaunch, device),
        "cudaDeviceGetAttribute");
  check(cudaFuncGetAttributes(&attributes, kernel), "cudaFuncGetAttributes");
  return offered != 0 && attributes.ptxVersion >= 90;
}

/// Launches `kernel_of.operator()<Shape>()`, a kernel of (call, blocks that share a row), over rows
/// of `cols` logits of T.
template <class T, class KernelOf, class Call>
void launch_rows(cudaStream_t stream, index_t rows, index_t cols, KernelOf&& kernel_of,
                 const Call& call) {
  if (rows == 0) return;
  const index_t bytes = cols * static_cast<index_t>(sizeof(T));
  const auto launch = [&]<int Shape>() {
    const auto kernel = kernel_of.template operator()<Shape>();
    const int blocks = plan_rows(bytes, Shape == last_row_shape && has_clusters(kernel)).blocks;
    const index_t per_block = row_shapes[Shape].threads == warp_size ? warps_per_block : 1;
    enqueue(stream, (rows + per_block - 1) / per_block * blocks, launch_threads<Shape>, blocks,
            kernel, call, blocks);
  };
  const int shape = plan_rows(bytes, false).shape;
  [&]<int... Shape>(std::integer_sequence<int, Shape...>) {
    (void)((shape == Shape && (launch.template operator()<Shape>(), true)) || ...);
  }(std::make_integer_sequence<int, row_shape_count>{});
}

}  // namespace idiolect::detail
