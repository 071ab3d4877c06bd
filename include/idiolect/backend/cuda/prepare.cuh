// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The kernel that checks and counts targets, and the checks that the host makes of a device's data.

#include <cstddef>

#include <cuda_runtime.h>

#include <idiolect/backend/cuda/launch.cuh>
#include <idiolect/backend/cuda/prepare.hpp>
#include <idiolect/backend/cuda/row_group.cuh>
#include <idiolect/core/error.hpp>
#include <idiolect/core/matrix_view.hpp>
#include <idiolect/core/targets.hpp>

namespace idiolect::detail {

inline constexpr int check_threads = 512;

template <class Target>
__global__ void __launch_bounds__(check_threads)
    prepare_kernel(const __grid_constant__ target_check<Target> check) {
  using group = block_group<check_threads>;
  __shared__ typename group::memory memory;
  prepare_targets(check, group(memory), warp_group{}, static_cast<index_t>(threadIdx.x) / warp_size,
                  check_threads / warp_size);
}

template <class Target>
void enqueue_check(cudaStream_t stream, const target_check<Target>& targets) {
  enqueue(stream, 1, check_threads, 1, prepare_kernel<Target>, targets);
}

/// Raises shape_error for what the host can see of rows and targets in device memory.
template <class T>
void check_device_rows(const matrix_view<T>& logits, std::size_t targets) {
  check_target_count(logits, targets);
  require(logits.cols() < (index_t{1} << 31), "logits", "more columns than there are token ids");
}

}  // namespace idiolect::detail
