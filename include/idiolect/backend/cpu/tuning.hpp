// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The constants that the CPU kernels are tuned by, and what each gained where it was measured: Zen 5
// with AVX-512, 128 x 151936 fp32 logits and one thread unless said, medians within one run.

#include <cstddef>

#include <idiolect/config.hpp>
#include <idiolect/core/types.hpp>

namespace idiolect::detail::inline IDIOLECT_TARGET {

/// Terms that a lane adds up before its sum moves on. Terms far below a lane's sum are lost, always
/// in the same direction where they are equal: 8 of them bound that to 8 * 2^-24 of the sum.
inline constexpr index_t lane_run = 8;

/// Runs of a block, whose sums are added up before they go to double, for the same reason. With four
/// registers a sum, a block is 4 * lane_run * block_runs registers: 2048 floats with AVX-512, 512 with
/// SSE, which also is what is looked at ahead.
inline constexpr index_t block_runs = 4;

/// Logits of a segment: a piece of a row that is folded by itself, whoever folds it. Small enough to
/// share one row of 150k evenly, by two threads 7% faster than in pieces of twice the size, and large
/// enough that merging is not seen.
inline constexpr index_t segment_size = 16384;

/// Logits of short rows that are folded together: at 2048 x 512, 16 rows at once instead of 8 take 4%
/// less. Together with looking two rows ahead 25% less than each row's maximum, then its sums.
inline constexpr index_t batch_size = 8192;

/// Bytes that are prefetched ahead of the pass over the logits: 2.57 ms; with 4 KiB 3.07, without 3.29.
inline constexpr std::size_t prefetch_bytes = 12 * 1024;

/// Gradients of at least as many bytes are streamed around the caches, a row behind the statistics:
/// 4.3 ms; a row at a time 4.8, with normal stores 5.3. Smaller ones are written where they will be
/// read soon. The size of this machine's last-level cache.
inline constexpr std::size_t streaming_bytes = 32 * 1024 * 1024;

}  // namespace idiolect::detail::inline IDIOLECT_TARGET
