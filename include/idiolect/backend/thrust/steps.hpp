// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the Thrust backend computes, as function objects over indices: one call makes one value.
// They hold plain pointers and run wherever those are good.
//
//   (row, lane) --fold_lane--> row_state --score_row---> token_score
//                                        --finish_row--> row_outcome --write_lane--> gradient
//
// A row is cut into stretches of lanes * depth logits, and lane k of a stretch is its logits k,
// k + lanes, k + 2 lanes, ... On a GPU neighbouring threads then read and write neighbouring
// logits, 32 at a time; on a CPU one thread takes the lanes of a stretch one after another, which
// by then is in its first or second cache (32 KiB of fp32). The cut depends on V alone and every
// merge is in the order of lanes, so that a result has the same bits for any number of threads.
//
// All sums are in double: this backend is the plain one of its systems, to compare fast ones with.

#include <idiolect/cll/score.hpp>
#include <idiolect/config.hpp>
#include <idiolect/core/scalar.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/loss/partial_report.hpp>
#include <idiolect/loss/span.hpp>
#include <idiolect/stats/row_state.hpp>
#include <idiolect/stats/row_stats.hpp>

namespace idiolect::detail::thrust_steps {

/// Rows of `cols` logits, cut into lanes.
struct lane_cut {
  static constexpr index_t lanes = 32;
  static constexpr index_t depth = 256;

  index_t cols = 0;

  [[nodiscard]] IDIOLECT_HD index_t per_row() const {
    return lanes * ((cols + lanes * depth - 1) / (lanes * depth));
  }
  /// Calls f(j) for the logits of lane k of a row, ascending.
  template <class F>
  IDIOLECT_HD void for_each(index_t k, F&& f) const {
    const index_t begin = k / lanes * (lanes * depth);
    const index_t end = cols - begin < lanes * depth ? cols : begin + lanes * depth;
    for (index_t j = begin + k % lanes; j < end; j += lanes) f(j);
  }
};

/// The rows of a call and their targets, which are right.
template <class T, class Target>
struct row_source {
  const T* logits;
  index_t cols;
  index_t stride;
  const Target* targets;
  index_t ignore;
  double inverse_temperature;

  [[nodiscard]] IDIOLECT_HD lane_cut cut() const { return {cols}; }
  [[nodiscard]] IDIOLECT_HD bool ignored(index_t i) const {
    return static_cast<index_t>(targets[i]) == ignore;
  }
  [[nodiscard]] IDIOLECT_HD double logit(index_t i, index_t j) const {
    return static_cast<double>(load(logits[i * stride + j]));
  }
};

/// What the host must know of the targets before any work.
struct target_count {
  index_t valid = 0;
  index_t wrong_row = -1;  ///< the first with a target outside of the vocabulary
  index_t wrong = 0;       ///< that target

  /// The rows after these.
  void merge(const target_count& next) {
    valid += next.valid;
    if (wrong_row >= 0) return;
    wrong_row = next.wrong_row;
    wrong = next.wrong;
  }
};
template <class Target>
struct count_targets {
  row_chunks chunks;
  const Target* targets;
  index_t cols;
  index_t ignore;

  IDIOLECT_HD target_count operator()(index_t k) const {
    target_count r;
    for (index_t i = chunks.begin(k); i < chunks.end(k); ++i) {
      const auto t = static_cast<index_t>(targets[i]);
      if (t == ignore) continue;
      ++r.valid;
      if (r.wrong_row < 0 && (t < 0 || t >= cols)) {
        r.wrong_row = i;
        r.wrong = t;
      }
    }
    return r;
  }
};

/// The state of one lane, index = row * lanes of a row + lane; the identity for ignored rows.
template <moments Set, class T, class Target>
struct fold_lane {
  row_source<T, Target> rows;

  IDIOLECT_HD row_state<double, Set> operator()(index_t index) const {
    const lane_cut cut = rows.cut();
    const index_t i = index / cut.per_row();
    row_state<double, Set> state;
    if (rows.ignored(i)) return state;
    cut.for_each(index % cut.per_row(), [&](index_t j) {
      state =
          merge(state, row_state<double, Set>::of(rows.logit(i, j)), rows.inverse_temperature);
    });
    return state;
  }
};

/// The statistics of row i, which is not ignored, from the states of its lanes.
template <moments Set, class T, class Target>
[[nodiscard]] IDIOLECT_HD row_stats<double, Set> stats_of_row(const row_source<T, Target>& rows,
                                                              const row_state<double, Set>* states,
                                                              index_t i) {
  const index_t lanes = rows.cut().per_row();
  row_state<double, Set> state;
  for (index_t k = i * lanes; k < (i + 1) * lanes; ++k) {
    state = merge(state, states[k], rows.inverse_temperature);
  }
  const auto target = static_cast<index_t>(rows.targets[i]);
  return finish(state, rows.logit(i, target), static_cast<token_id>(target),
                rows.inverse_temperature);
}

template <class T, class Target>
struct score_row {
  row_source<T, Target> rows;
  const row_state<double, moments::varentropy>* states;

  IDIOLECT_HD token_score operator()(index_t i) const {
    if (rows.ignored(i)) return {};
    return score_of(stats_of_row(rows, states, i));
  }
};

/// Each row's factor in the reduction: `common`, or by its sequence.
struct row_scale {
  double common = 1;
  const index_t* offsets = nullptr;  ///< of the sequences, ascending from 0
  const index_t* valid = nullptr;    ///< rows of each that are not ignored; null for `common`
  index_t sequences = 0;
  index_t counted = 0;  ///< sequences with such a row

  [[nodiscard]] IDIOLECT_HD double operator()(index_t row) const {
    if (valid == nullptr) return common;
    const index_t k = sequence_of(offsets, sequences, row);
    return 1 / static_cast<double>(valid[k]) / static_cast<double>(counted);
  }
};
template <class Target>
struct count_sequence {
  const Target* targets;
  const index_t* offsets;
  index_t ignore;

  IDIOLECT_HD index_t operator()(index_t k) const {
    index_t n = 0;
    for (index_t i = offsets[k]; i < offsets[k + 1]; ++i) {
      n += static_cast<index_t>(targets[i]) != ignore ? 1 : 0;
    }
    return n;
  }
};

/// A row's share of the report, and its gradient.
struct row_outcome {
  row_report report;
  row_span<double> span;
};
template <class Loss, class T, class Target>
struct finish_row {
  row_source<T, Target> rows;
  const row_state<double, required_moments<Loss>>* states;
  Loss loss;
  row_scale scale;
  row_options options;

  IDIOLECT_HD row_outcome operator()(index_t i) const {
    row_outcome r;
    if (rows.ignored(i)) return r;
    r.report = evaluate_row(loss, stats_of_row(rows, states, i), i, scale(i), options, r.span);
    return r;
  }
};

/// Writes the gradient of one lane; index as in fold_lane.
template <class T, class Target, class G>
struct write_lane {
  row_source<T, Target> rows;
  const row_outcome* outcomes;
  G* gradient;
  index_t stride;
  bool accumulate;

  IDIOLECT_HD void operator()(index_t index) const {
    const lane_cut cut = rows.cut();
    const index_t i = index / cut.per_row();
    const row_outcome& outcome = outcomes[i];
    const bool has_span = outcome.report.has_span;
    const double fill = outcome.report.fill;
    if (!has_span && fill == 0 && accumulate) return;
    const T* const row = rows.logits + i * rows.stride;
    G* const dz = gradient + i * stride;
    cut.for_each(index % cut.per_row(), [&](index_t j) {
      if (has_span) {
        write_span_element(row, dz, j, outcome.span, accumulate);
      } else {
        dz[j] = store<G>(fill);
      }
    });
  }
};

struct report_rows {
  row_chunks chunks;
  const row_outcome* outcomes;

  IDIOLECT_HD partial_report operator()(index_t k) const {
    partial_report part;
    for (index_t i = chunks.begin(k); i < chunks.end(k); ++i) part.add(i, outcomes[i].report);
    return part;
  }
};

struct loss_of_row {
  const row_outcome* outcomes;
  IDIOLECT_HD double operator()(index_t i) const { return outcomes[i].report.loss; }
};

}  // namespace idiolect::detail::thrust_steps
