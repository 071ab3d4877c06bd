// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Which threads take a row: the tuning table of the CUDA backend, as data. Reasoned from the chips'
// sizes and the compiler's reports (registers, no spills); not yet measured on a GPU.
//
// A thread holds 8 vectors of 16 bytes: enough loads in flight to keep memory busy at 50%
// occupancy, and half of the 64 registers that two blocks of 512 threads leave each thread.

#include <idiolect/config.hpp>
#include <idiolect/core/types.hpp>

namespace idiolect::detail {

/// Threads of a group, vectors that each holds, and threads that a multiprocessor is to hold at
/// once, of 65536 registers: that bounds a thread's.
struct row_shape {
  int threads;
  int vectors;
  int resident;

  /// Bytes of a row that such a group holds.
  [[nodiscard]] constexpr index_t bytes() const { return index_t{16} * threads * vectors; }
};

/// In order: a row goes to the first shape that holds it.
inline constexpr row_shape row_shapes[] = {
    {32, 4, 768},   // 2 KiB: a warp a row, several rows a block
    {64, 4, 1024},  // 4 KiB: a block a row. (A warp with 8 vectors spills, even with 96 registers.)
    {128, 8, 1024},  // 16 KiB
    {256, 8, 1024},  // 32 KiB
    {512, 8, 1024},  // 64 KiB; longer rows: as many blocks as hold it, or several tiles
};
inline constexpr int row_shape_count = sizeof row_shapes / sizeof row_shapes[0];
inline constexpr int last_row_shape = row_shape_count - 1;

/// Warps of a block where each has a row of its own.
inline constexpr int warps_per_block = 4;

/// Blocks of a cluster, at most: what every chip with clusters offers.
inline constexpr int max_cluster = 8;

/// Who takes a row.
struct row_plan {
  int shape = 0;   ///< of row_shapes
  int blocks = 1;  ///< that share a row
};

/// The plan for rows of `bytes`; `clusters`: blocks can form clusters. It depends on nothing else,
/// so that a row's bits do not depend on its batch.
[[nodiscard]] constexpr row_plan plan_rows(index_t bytes, bool clusters) {
  row_plan plan;
  while (plan.shape < last_row_shape && row_shapes[plan.shape].bytes() < bytes) ++plan.shape;
  if (!clusters || plan.shape < last_row_shape) return plan;
  const index_t held = row_shapes[plan.shape].bytes();
  const index_t blocks = (bytes + held - 1) / held;
  plan.blocks = blocks < max_cluster ? static_cast<int>(blocks) : max_cluster;
  return plan;
}

}  // namespace idiolect::detail
