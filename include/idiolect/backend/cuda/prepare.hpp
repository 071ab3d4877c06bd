// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Before the rows: targets are checked and counted, since a mean's gradient needs their number. One
// block; integers only, so that the order of adding does not matter.

#include <idiolect/backend/cuda/report.hpp>
#include <idiolect/backend/cuda/row_group.hpp>
#include <idiolect/core/targets.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/loss/options.hpp>

namespace idiolect::detail {

/// What is known of a call's targets.
struct prepared_targets {
  index_t valid;
  device_status status;
  double scale;  ///< of every row, unless there are sequences
};

/// Arguments of the kernel below, in device memory where they point.
template <class Target>
struct target_check {
  const Target* targets;
  index_t rows;
  index_t cols;
  index_t ignore;
  reduction reduce;
  const index_t* offsets;  ///< sequence_mean only
  index_t sequences;
  double* sequence_scales;     ///< one each, written
  prepared_targets* prepared;  ///< written
};

template <class Target>
[[nodiscard]] IDIOLECT_HD bool is_valid_target(const target_check<Target>& c, index_t row) {
  return is_valid_target(static_cast<index_t>(c.targets[row]), c.cols, c.ignore);
}

/// A count, and the smaller of two rows where -1 is none.
struct target_counts {
  index_t valid = 0;
  index_t first_bad = -1;

  [[nodiscard]] IDIOLECT_HD friend target_counts operator+(const target_counts& a,
                                                           const target_counts& b) {
    const bool take_b = a.first_bad < 0 || (b.first_bad >= 0 && b.first_bad < a.first_bad);
    target_counts r;
    r.valid = a.valid + b.valid;
    r.first_bad = take_b ? b.first_bad : a.first_bad;
    return r;
  }
};

/// Sequence k's number of valid targets, by the threads of a group that all call it.
template <class Target, row_group Group>
[[nodiscard]] IDIOLECT_HD index_t valid_in_sequence(const target_check<Target>& c, index_t k,
                                                    const Group& group) {
  index_t n = 0;
  for (index_t i = c.offsets[k] + group.rank(); i < c.offsets[k + 1]; i += group.size()) {
    n += is_valid_target(c, i) ? 1 : 0;
  }
  return group.all_reduce(n, plus{});
}

/// Checks and counts, by a group and its teams of threads, each of which takes a sequence: this
/// thread is in `team`, the `number`-th of `teams`. Every thread of the group calls it.
template <class Target, row_group Group, row_group Team>
IDIOLECT_HD void prepare_targets(const target_check<Target>& c, const Group& group,
                                 const Team& team, index_t number, index_t teams) {
  target_counts counts;
  for (index_t i = group.rank(); i < c.rows; i += group.size()) {
    if (is_valid_target(c, i)) {
      ++counts.valid;
    } else if (counts.first_bad < 0 && static_cast<index_t>(c.targets[i]) != c.ignore) {
      counts.first_bad = i;
    }
  }
  counts = group.all_reduce(counts, plus{});

  index_t disorder = 0;
  if (c.offsets != nullptr && group.rank() == 0) {
    disorder = c.offsets[0] != 0 || c.offsets[c.sequences] != c.rows ? 1 : 0;
  }
  for (index_t k = group.rank(); k < c.sequences; k += group.size()) {
    disorder += c.offsets[k + 1] < c.offsets[k] ? 1 : 0;
  }
  disorder = group.all_reduce(disorder, plus{});

  index_t sequences = 0;  // with a valid target
  if (disorder == 0) {
    for (index_t k = number; k < c.sequences; k += teams) {
      const index_t n = valid_in_sequence(c, k, team);
      if (team.rank() != 0) continue;
      sequences += n > 0 ? 1 : 0;
      c.sequence_scales[k] = n > 0 ? 1 / static_cast<double>(n) : 0;
    }
  }
  sequences = group.all_reduce(sequences, plus{});
  for (index_t k = group.rank(); k < c.sequences; k += group.size()) {
    c.sequence_scales[k] =
        sequences > 0 ? c.sequence_scales[k] / static_cast<double>(sequences) : 0;
  }

  if (group.rank() == 0) {
    prepared_targets p;
    p.valid = counts.valid;
    p.status.bad_target_row = counts.first_bad;
    p.status.bad_offsets = disorder > 0;
    p.scale = common_scale(c.reduce, counts.valid);
    *c.prepared = p;
  }
}

}  // namespace idiolect::detail
