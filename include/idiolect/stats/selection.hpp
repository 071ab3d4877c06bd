// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The sampler's distribution, or one draw from it, without a sort. Every cut is a descending
// prefix, so it is a number: the lowest logit that stays, and how many of those that tie there.
//
//   1. the mass of the row, in one pass
//   2. an interval of logits that holds the end of the prefix: from what the mass says alone, or,
//      where that leaves many tokens, from a sample of the row
//   3. what lies above the interval is added up, what lies in it is gathered and searched; where
//      the sample misled, what lies beside it
//
// A draw then needs the mass of each block of tokens and a look into one block: no list of what was
// kept. Tokens that lie so far below the maximum that all of them together cannot hold 1.2e-7 of
// the mass are dropped. The results are those of `sampled_distribution` up to that mass and the
// rounding of sums in single precision, which is less; ties by the smaller id.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>

#include <idiolect/core/scalar.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/stats/candidates.hpp>
#include <idiolect/stats/exponential.hpp>
#include <idiolect/stats/nucleus.hpp>
#include <idiolect/stats/row_blocks.hpp>
#include <idiolect/stats/sampling.hpp>

namespace idiolect {

namespace detail {

/// The smallest id of a logit that is in the row.
template <logit_scalar T>
token_id first_of_value(const T* row, double value) {
  token_id first = 0;
  while (static_cast<double>(load(row[first])) != value) ++first;
  return first;
}

/// What is kept of a row: its logits above `ties.high`, and of those in `ties` the first `tied`.
/// Where `listed`, the scratch's candidates instead.
template <class Value>
struct selected {
  bool listed = true;
  logit_interval<Value> ties = {};
  double tie_offset = 0;  ///< all of `ties` have it
  index_t tied = 0;
  bool all_tied = true;  ///< no more than `tied` lie in `ties`
};

/// A row and the options that select from it.
template <logit_scalar T>
class row_selection {
 public:
  using value = accumulator_t<T>;

  /// The finite maximum; neither NaN nor +inf. Temperature > 0. What is dropped unseen has less
  /// than exp(-nats) of the maximum's mass, in the distribution that is cut and in the one that is
  /// drawn from.
  row_selection(const T* row, index_t n, double max, const sampler_options& o, selection_scratch& s,
                double nats = 16)
      : row_(row), n_(n), max_(max), options_(o), s_(s), blocks_(row, n) {
    sharpness_ = (std::min)(1 / o.temperature, 1e300);
    cut_scale_ = o.order == sampler_order::temperature_first ? sharpness_ : 1;
    const double reach =
        (std::log(static_cast<double>(n)) + nats) / (std::min)(sharpness_, cut_scale_);
    floor_ = (std::max)({max - reach, max - most, -most});  // no offset overflows
  }

  /// Makes the cuts.
  selected<value> select() {
    const bool by_rank = options_.top_k > 0 && options_.top_k < n_;
    const bool by_mass = options_.top_p < 1;
    selected<value> r = by_rank ? first_of_rank() : by_mass ? first_of_mass() : from(floor_);
    if (by_rank && by_mass) {
      list(r);
      const double total = masses_of(s_, cut_scale_);
      cut_candidates(s_, cut_of(s_, false, options_.top_p * total, negligible(total, s_.count)));
    }
    if (options_.min_p > 0) {
      // A little wide: the masses decide.
      const double bar = max_ + (std::log(options_.min_p) - 1e-9) / cut_scale_ * (1 + 1e-9);
      if (!r.listed && below(bar) > r.ties.high) r = from(bar);
      list(r);
      keep_if(s_,
              [&](double offset) { return branchless_exp(offset * cut_scale_) >= options_.min_p; });
    }
    return r;
  }

  /// What was selected becomes the candidates.
  void list(selected<value>& r) {
    if (r.listed) return;
    gather({r.ties.low, largest}, n_);
    if (!r.all_tied) cut_candidates(s_, {r.tie_offset, r.tied});
    r.listed = true;
  }

  /// The masses of the candidates in the distribution that is drawn from, and their sum.
  double final_masses() { return masses_of(s_, sharpness_); }

  /// The token at `u` of the cumulative distribution.
  token_id draw(const selected<value>& r, double u) {
    return r.listed ? draw_listed(u) : draw_from_row(r, u);
  }

 private:
  static constexpr double most = (std::numeric_limits<double>::max)();
  static constexpr value largest = (std::numeric_limits<value>::max)();
  static value below(double bound) { return row_blocks<T>::below(bound); }
  static value next(value z) { return std::nextafter(z, largest); }

  /// Rows too short for a sample, and too long to be searched at once.
  [[nodiscard]] bool halves() const { return n_ > 64 && n_ < sample_from; }
  bool gather(logit_interval<value> interval, index_t limit) {
    return detail::gather(blocks_, n_, max_, interval, limit, s_);
  }
  [[nodiscard]] index_t count_in(logit_interval<value> interval) const {
    return count_from(blocks_, interval.low) -
           (interval.high < largest ? count_from(blocks_, next(interval.high)) : 0);
  }

  [[nodiscard]] selected<value> from(double low) const {
    return {false, {below(low), below(low)}, low - max_, n_, true};
  }

  /// Tokens of less than this mass, `count` of them, hold less than what the nucleus leaves out.
  [[nodiscard]] double negligible(double total, std::size_t count) const {
    return (1 - options_.top_p) * total * (1 - 1e-6) / static_cast<double>(count);
  }

  /// The nucleus of the row.
  selected<value> first_of_mass() {
    const logit_mass<value> mass(max_, cut_scale_);
    const value lowest = below(floor_);
    double total = 0;
    if (halves()) {  // the masses fit the first-level cache
      s_.row_masses.resize(static_cast<std::size_t>(n_ + select_block));
      total = mass_from(blocks_, lowest, mass, [&](index_t first, const auto& masses) {
        std::ranges::copy(masses, s_.row_masses.data() + first);
      });
    } else {
      total = mass_from(blocks_, lowest, mass);
    }
    const double least = negligible(total, static_cast<std::size_t>(n_));
    const double low = (std::max)(floor_, max_ + std::log(least) / cut_scale_);
    return first_reaching(
        false, options_.top_p * total, low,
        [&](const row_sample& sample) {
          return sample.by_mass(cut_scale_, (1 - options_.top_p) * total);
        },
        [&](value from) {
          return halves() ? mass_from(blocks_, from, s_.row_masses.data())
                          : mass_from(blocks_, from, mass);
        });
  }

  /// The first top_k tokens.
  selected<value> first_of_rank() {
    const auto rank = static_cast<double>(options_.top_k);
    if (count_from(blocks_, below(floor_)) <= options_.top_k) return from(floor_);
    return first_reaching(
        true, rank, floor_, [&](const row_sample& sample) { return sample.by_rank(rank); },
        [&](value from) { return static_cast<double>(count_from(blocks_, from)); });
  }

  /// The prefix that reaches the target, of tokens from `low` on; `likely` tells where it may end,
  /// `weight_from` what a part of the row weighs.
  template <class Likely, class WeightFrom>
  selected<value> first_reaching(bool by_rank, double target, double low, Likely&& likely,
                                 WeightFrom&& weight_from) {
    const logit_interval<value> whole{below(low)};
    logit_interval<value> interval = whole;
    double above = 0;
    const double reach = max_ - floor_;
    if (halves()) {
      above = halve(interval, target, weight_from);
    } else if (n_ >= sample_from && reach > 0 && std::isfinite(reach + 1 / reach)) {
      const likely_end end = likely(row_sample(row_, n_, max_, reach));
      interval.low = (std::max)(whole.low, below(max_ + end.low));
      if (end.high < 0) interval.high = (std::max)(interval.low, below(max_ + end.high));
      if (interval.high < largest) above = weight_from(next(interval.high));
    }
    for (bool again = false;; again = true) {
      if (!gather(interval, (std::max<index_t>)(n_ / 4, 64))) {
        if (const auto tie = tied(by_rank, interval, target - above)) return *tie;
        gather(interval, n_);
      }
      const double gathered = by_rank ? static_cast<double>(s_.count) : masses_of(s_, cut_scale_);
      if (again) break;
      if (target <= above && interval.high < largest) {  // the end is above the interval
        interval = {next(interval.high), largest};
        above = 0;
      } else if (target > above + gathered && interval.low > whole.low) {  // it is below
        interval = {whole.low, std::nextafter(interval.low, whole.low)};
        above += gathered;
      } else {
        break;
      }
    }
    if (s_.count == 0) return from(whole.low);  // rounding: what is above reaches it
    const prefix_cut prefix = cut_of(s_, by_rank, target - above);
    if (interval.high == largest) {
      cut_candidates(s_, prefix);
      return {};
    }
    selected<value> r{false, {largest, -largest}, prefix.offset, prefix.ties, true};
    index_t ties = 0;
    for (std::size_t k = 0; k < s_.count; ++k) {
      if (s_.offsets[k] != prefix.offset) continue;
      const value z = load(row_[s_.tokens[k]]);
      r.ties = {(std::min)(r.ties.low, z), (std::max)(r.ties.high, z)};
      ++ties;
    }
    r.all_tied = ties <= prefix.ties;
    return r;
  }

  /// The prefix that reaches the target, where all of the many logits in the interval are the same.
  /// Some are candidates.
  [[nodiscard]] std::optional<selected<value>> tied(bool by_rank, logit_interval<value> interval,
                                                    double target) const {
    const value z = load(row_[s_.tokens[0]]);
    const index_t ties = count_in({z, z});
    const double weight = by_rank ? 1 : static_cast<double>(logit_mass<value>(max_, cut_scale_)(z));
    const double needed = std::ceil(target / weight);
    if (ties != count_in(interval) || !(needed >= 1 && needed <= static_cast<double>(ties)))
      return {};
    const auto kept = static_cast<index_t>(needed);
    return selected<value>{false, {z, z}, s_.offsets[0], kept, kept == ties};
  }

  /// Halves the interval around the end of the prefix until few tokens are in it. Returns the
  /// weight above it.
  template <class WeightFrom>
  double halve(logit_interval<value>& interval, double target, WeightFrom&& weight_from) const {
    double above = 0;
    auto high = static_cast<value>(max_);
    index_t up_to_low = count_from(blocks_, interval.low);
    index_t above_high = 0;
    const index_t few = (std::max<index_t>)(24, n_ / 64);
    for (int round = 0; round < 6 && up_to_low - above_high > few; ++round) {
      const value middle = interval.low + (high - interval.low) / 2;
      if (!(middle > interval.low && middle < high)) break;
      const index_t count = count_from(blocks_, middle);
      const double weight = weight_from(middle);
      if (weight >= target) {
        interval.low = middle;
        up_to_low = count;
      } else {
        high = interval.high = std::nextafter(middle, interval.low);
        above = weight;
        above_high = count;
      }
    }
    return above;
  }

  token_id draw_listed(double u) {
    const double target = u * final_masses();
    double cumulative = 0;
    for (std::size_t k = 0; k < s_.count; ++k) {
      cumulative += s_.masses[k];
      if (target < cumulative) return s_.tokens[k];
    }
    std::size_t k = s_.count - 1;  // rounding left the sum just below the target
    while (k > 0 && s_.masses[k] == 0) --k;
    return s_.tokens[k];
  }

  /// In two levels: the mass of each block, then the tokens of one.
  token_id draw_from_row(const selected<value>& r, double u) {
    const logit_mass<value> mass(max_, sharpness_);
    const value low = r.all_tied ? r.ties.low : next(r.ties.high);
    const auto tie_mass = static_cast<double>(mass(r.ties.high));
    // How many of a block's ties are kept, asked in order.
    auto kept_ties = [&r, low, left = r.all_tied ? 0 : r.tied](const value* z) mutable {
      if (left == 0) return index_t{0};
      const index_t kept = (std::min)(left, count_from(r.ties.low, z) - count_from(low, z));
      left -= kept;
      return kept;
    };

    s_.masses.clear();
    blocks_.for_each([&, ties_in = kept_ties](index_t, const value* z) mutable {
      double lanes[select_lanes] = {};
      const auto masses = block_masses(z, mass);
      add_masses_from(low, z, masses.data(), lanes);
      s_.masses.push_back(sum_of_lanes(lanes) + tie_mass * static_cast<double>(ties_in(z)));
    });
    const double target = u * lane_sum(s_.masses);
    double before = 0;
    std::size_t chosen = 0;
    for (std::size_t k = 0; k < s_.masses.size(); ++k) {
      if (s_.masses[k] == 0) continue;
      if (k > chosen) before += s_.masses[chosen];
      chosen = k;
      if (target < before + s_.masses[k]) break;
    }

    value buffer[select_block];
    const auto first = static_cast<index_t>(chosen) * select_block;
    index_t ties = 0;
    for (index_t i = r.all_tied ? first : 0; i <= first; i += select_block) {
      ties = kept_ties(blocks_.block(i, buffer));
    }
    const value* const z = blocks_.block(first, buffer);
    const auto masses = block_masses(z, mass);
    index_t last = 0;  // rounding may leave the sum just below the target
    for (index_t k = 0; k < select_block; ++k) {
      const float m = masses[static_cast<std::size_t>(k)];
      if (z[k] < r.ties.low || m == 0 || (z[k] < low && --ties < 0)) continue;
      before += static_cast<double>(m);
      last = k;
      if (target < before) break;
    }
    return static_cast<token_id>(first + last);
  }

  const T* row_;
  index_t n_;
  double max_;
  const sampler_options& options_;
  selection_scratch& s_;
  row_blocks<T> blocks_;
  double sharpness_;
  double cut_scale_;
  double floor_;
};

}  // namespace detail

/// What a sampler with options `o` draws from at a row of n logits with the given finite maximum
/// and neither NaN nor +inf. O(n): two passes over the row where few tokens hold nearly all of the
/// mass, four where not, and what is near the cut or kept. The memory is `scratch` and the result,
/// both reused.
template <logit_scalar T>
void select_distribution(const T* row, index_t n, double max, const sampler_options& o,
                         selection_scratch& scratch, sampler_distribution& result) {
  if (o.temperature == 0) {
    result.tokens.assign(1, detail::first_of_value(row, max));
    result.probs.assign(1, 1.0);
    return;
  }
  detail::row_selection selection(row, n, max, o, scratch);
  auto selected = selection.select();
  selection.list(selected);
  const double total = selection.final_masses();
  result.tokens.assign(scratch.tokens.data(), scratch.tokens.data() + scratch.count);
  result.probs.resize(scratch.count);
  for (std::size_t k = 0; k < scratch.count; ++k) result.probs[k] = scratch.masses[k] / total;
}

/// The token that this distribution's `draw(u)` gives, without writing the distribution: half of
/// the time where much is kept. O(n), of the same row and options; u in [0, 1).
template <logit_scalar T>
[[nodiscard]] token_id select_token(const T* row, index_t n, double max, const sampler_options& o,
                                    double u, selection_scratch& scratch) {
  if (o.temperature == 0) return detail::first_of_value(row, max);
  detail::row_selection selection(row, n, max, o, scratch);
  return selection.draw(selection.select(), u);
}

}  // namespace idiolect
