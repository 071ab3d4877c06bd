// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a kernel does to score one token: the statistics of its row, in one reading.

#include <idiolect/backend/cuda/row_fold.hpp>
#include <idiolect/backend/cuda/row_group.hpp>
#include <idiolect/backend/cuda/row_tile.hpp>
#include <idiolect/cll/score.hpp>
#include <idiolect/config.hpp>
#include <idiolect/core/scalar.hpp>
#include <idiolect/core/types.hpp>

namespace idiolect::detail {

/// Calls `report(token_score)` in one thread, for `target` at a row of n logits.
template <tile_shape Shape, class T, row_group Group, class Report>
IDIOLECT_HD void score_row(const Group& group, const T* row, int n, token_id target,
                           accumulator_t<T> inverse_temperature, Report&& report) {
  const auto target_logit = load(row[target]);
  row_tile<T, Shape> tile;
  const auto folded =
      fold_row<moments::varentropy>(group, row, row_layout<T>(row, n), inverse_temperature, tile);
  if (group.rank() != 0) return;
  report(score_of(finish_row<double>(folded, target_logit, target, inverse_temperature)));
}

}  // namespace idiolect::detail
