// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The sampler's distribution without a sort. Tokens that lie so far below the maximum that all of
// them together cannot hold 1.2e-7 of the mass are dropped first. Every cut is a descending prefix,
// so it is a number: the lowest logit that stays, and how many of those that tie there. Where few
// tokens hold nearly all of the mass they alone are looked at. Else a histogram of the mass over
// the logits finds the bin of that number, and finer bins find it inside the bin; only what lies
// above is gathered, in order of id. The result is that of `sampled_distribution` up to the dropped
// mass, ties by the smaller id.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include <idiolect/core/scalar.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/stats/exponential.hpp>
#include <idiolect/stats/row_blocks.hpp>
#include <idiolect/stats/sampling.hpp>

namespace idiolect {

/// Memory for `select_distribution`, kept by the caller between calls. 12 bytes a logit at most,
/// 28 where a whole row ties.
struct selection_scratch {
  /// A candidate at the edge of a cut.
  struct entry {
    double offset;  // z - max
    double weight;  // what the cut adds up: its mass, or 1
  };
  std::vector<token_id> tokens;  // candidates, in order of id
  std::vector<double> offsets;   // of `tokens`
  std::size_t count = 0;         // of candidates; the vectors may be longer
  std::vector<entry> edge;
  std::vector<double> bins;
};

namespace detail {

/// Bins of the histogram over a row, and the rows from which on it is worth its while.
inline constexpr index_t select_bins = 512;
inline constexpr index_t select_histogram_from = 4096;

/// A descending prefix: what is above `offset`, and the first `ties` (by id) of those at it.
struct prefix_cut {
  double offset = -std::numeric_limits<double>::max();
  index_t ties = std::numeric_limits<index_t>::max();
};

/// The shortest descending prefix whose weight reaches `target`, everything if none does.
/// Rearranges and shrinks `entries`, of which there is one at least; those that tie weigh the same.
/// O(n): each round keeps one bin of 256.
inline prefix_cut find_cut(std::vector<selection_scratch::entry>& entries, double target) {
  using entry = selection_scratch::entry;
  constexpr index_t bins = 256;
  for (;;) {
    const auto extremes = std::ranges::minmax_element(entries, {}, &entry::offset);
    const double low = extremes.min->offset;
    const double high = extremes.max->offset;
    const auto n = static_cast<index_t>(entries.size());
    if (low == high) {
      const double needed = std::ceil(target / entries.front().weight);
      return {low,
              needed < static_cast<double>(n) ? std::max<index_t>(1, static_cast<index_t>(needed)) : n};
    }
    const double per_offset = static_cast<double>(bins) / (high - low);
    if (n <= 32 || !(per_offset > 0 && std::isfinite(per_offset))) {
      std::ranges::sort(entries, std::ranges::greater{}, &entry::offset);
      double reached = 0;
      index_t k = 0;
      do reached += entries[static_cast<std::size_t>(k++)].weight;
      while (k < n && reached < target);
      const double edge = entries[static_cast<std::size_t>(k - 1)].offset;
      const auto ties =
          std::ranges::count(entries.begin(), entries.begin() + k, edge, &entry::offset);
      return {edge, static_cast<index_t>(ties)};
    }
    const auto bin_of = [&](const entry& e) {
      return std::min(static_cast<index_t>((high - e.offset) * per_offset), bins - 1);
    };
    std::array<double, bins> weight{};
    for (const entry& e : entries) weight[static_cast<std::size_t>(bin_of(e))] += e.weight;
    index_t edge = 0;
    double above = 0;
    while (edge < bins - 1 && above + weight[static_cast<std::size_t>(edge)] < target) {
      above += weight[static_cast<std::size_t>(edge++)];
    }
    std::erase_if(entries, [&](const entry& e) { return bin_of(e) != edge; });
    target -= above;
  }
}

/// Sum of exp(offset * scale) over the values from `low` on and below `high`, in single precision:
/// 3e-6 of the sum for offset * scale down to -28. O(n).
template <logit_scalar T>
double weak_mass(const row_blocks<T>& row, double max, accumulator_t<T> low, accumulator_t<T> high,
                 double scale) {
  using value = accumulator_t<T>;
  const auto narrow_max = static_cast<value>(max);
  const auto narrow_scale = static_cast<value>(scale);
  double total[select_step] = {};
  row.for_each([&](index_t, const value* z) {
    float sum[select_step] = {};
    for (index_t i = 0; i < select_block; i += select_step) {
      for (index_t k = 0; k < select_step; ++k) {
        const value x = z[i + k];
        const float mass = branchless_exp(static_cast<float>((x - narrow_max) * narrow_scale));
        sum[k] += ((x >= low) & (x < high)) ? mass : 0;
      }
    }
    for (index_t k = 0; k < select_step; ++k) total[k] += static_cast<double>(sum[k]);
  });
  double mass = 0;
  for (const double part : total) mass += part;
  return mass;
}

/// The bin of a histogram over a row that holds the end of a prefix.
struct row_cut {
  double target = 0;      ///< weight to be reached within the bin
  double per_offset = 0;  ///< bins for each unit of a logit; 0: one bin
  index_t edge = 0;         ///< the bin; those before it are kept
};

/// Finds the bin of the cut. A logit weighs exp(offset * scale), and `target` is a share of all
/// weights; under scale 0 each weighs 1, and `target` is a number of them.
template <logit_scalar T>
row_cut cut_by_histogram(const row_blocks<T>& row, double max, double floor, double scale,
                         double target, std::vector<double>& bins) {
  using value = typename row_blocks<T>::value;
  constexpr value nothing = -std::numeric_limits<value>::infinity();
  constexpr auto last_bin = static_cast<double>(select_bins);
  row_cut cut;
  cut.per_offset = last_bin / (max - floor);
  if (!std::isfinite(cut.per_offset)) cut.per_offset = 0;  // one bin

  // Four copies: neighbours often fall into one bin, and an addition would wait for the last.
  constexpr index_t width = select_bins + 1;
  bins.assign(4 * width, 0);
  double* const histogram = bins.data();
  const logit_interval<value> candidates{row_blocks<T>::below(floor)};
  const double per_offset = cut.per_offset;
  row.for_each([&](index_t, const value* z) {
    index_t count = count_from(candidates.low, z);
    if (count == 0) return;
    value gathered[select_block];
    if (count < select_block / 2) {  // only they are worth the exponentials
      token_id at[select_block + 8];
      positions_in(candidates, z, 0, at);
      for (index_t k = 0; k < count; ++k) gathered[k] = z[at[k]];
      std::fill(gathered + count, gathered + (count + select_step - 1) / select_step * select_step,
                nothing);
      z = gathered;
    } else {
      count = select_block;
    }
    for (; count > 0; count -= select_step, z += select_step) {
      double weight[select_step];
      std::int32_t bin[select_step];
      for (index_t k = 0; k < select_step; ++k) {
        const double offset = static_cast<double>(z[k]) - max;
        const double mass = branchless_exp(offset * scale);
        const double position = -offset * per_offset;
        const bool inside = z[k] >= candidates.low;
        weight[k] = inside ? mass : 0;
        bin[k] = static_cast<std::int32_t>(inside && position < last_bin ? position : last_bin);
      }
      const index_t used = std::min((count + 3) / 4 * 4, select_step);
      for (index_t k = 0; k < used; k += 4) {
        for (index_t copy = 0; copy < 4; ++copy) {
          histogram[copy * width + bin[k + copy]] += weight[k + copy];
        }
      }
    }
  });
  double total = 0;
  for (index_t k = 0; k < width; ++k) {
    for (index_t copy = 1; copy < 4; ++copy) histogram[k] += histogram[copy * width + k];
    total += histogram[k];
  }
  cut.target = scale > 0 ? target * total : target;
  while (cut.edge < select_bins && histogram[cut.edge] < cut.target) {
    cut.target -= histogram[cut.edge++];
  }
  return cut;
}

/// All tokens with logits in the interval, and their offsets, in order of id. Gives up, with false,
/// once there are more than `limit`.
template <logit_scalar T>
bool gather(const row_blocks<T>& row, index_t n, double max,
            logit_interval<accumulator_t<T>> interval, index_t limit, selection_scratch& s) {
  std::size_t count = 0;
  row.for_each([&](index_t first, const accumulator_t<T>* z) {
    if (count_from(interval.low, z) == 0 || count > static_cast<std::size_t>(limit)) return;
    const std::size_t needed = count + static_cast<std::size_t>(select_block) + 8;
    if (s.tokens.size() < needed) {
      s.tokens.resize(std::max(needed, std::min(2 * needed, static_cast<std::size_t>(n))));
      s.offsets.resize(s.tokens.size());
    }
    token_id* const tokens = s.tokens.data() + count;
    double* const offsets = s.offsets.data() + count;
    const index_t found = positions_in(interval, z, static_cast<token_id>(first), tokens);
    for (index_t k = 0; k < found; ++k) {
      offsets[k] = static_cast<double>(z[tokens[k] - first]) - max;
    }
    count += static_cast<std::size_t>(found);
  });
  s.count = count;
  return count <= static_cast<std::size_t>(limit);
}

/// Keeps the candidates whose offset `stays`, asked in order of id.
template <class Stays>
void keep_if(selection_scratch& s, Stays&& stays) {
  std::size_t kept = 0;
  for (std::size_t k = 0; k < s.count; ++k) {
    const double offset = s.offsets[k];
    s.tokens[kept] = s.tokens[k];
    s.offsets[kept] = offset;
    kept += stays(offset) ? 1 : 0;
  }
  s.count = kept;
}

/// Where the prefix ends among the candidates whose bin is `edge` or later. Their weights, or none
/// where each weighs 1; what weighs less than `least` cannot be in the prefix.
inline prefix_cut cut_of(selection_scratch& s, std::span<const double> weights, const row_cut& bin,
                         double least = 0) {
  s.edge.resize(s.count);
  std::size_t count = 0;
  for (std::size_t k = 0; k < s.count; ++k) {
    const double offset = s.offsets[k];
    const double weight = weights.empty() ? 1 : weights[k];
    s.edge[count] = {offset, weight};
    const bool late = -offset * bin.per_offset >= static_cast<double>(bin.edge);
    count += (late & (weight >= least)) ? 1 : 0;
  }
  s.edge.resize(count);
  if (s.edge.empty()) return {};  // all of them do not reach it
  return find_cut(s.edge, bin.target);
}

/// Keeps the candidates of the prefix.
inline void cut_candidates(selection_scratch& s, prefix_cut prefix) {
  std::size_t above = 0;
  std::size_t ties = 0;
  for (std::size_t k = 0; k < s.count; ++k) {
    above += s.offsets[k] > prefix.offset ? 1 : 0;
    ties += s.offsets[k] == prefix.offset ? 1 : 0;
  }
  if (above + ties == s.count && ties <= static_cast<std::size_t>(prefix.ties)) return;
  keep_if(s, [&](double offset) {
    const bool tie = offset == prefix.offset;
    prefix.ties -= tie ? 1 : 0;
    return offset > prefix.offset || (tie && prefix.ties >= 0);
  });
}

/// The sum of x in eight lanes.
inline double lane_sum(std::span<const double> x) {
  double lane[8] = {};
  std::size_t k = 0;
  for (; k + 8 <= x.size(); k += 8) {
    for (std::size_t j = 0; j < 8; ++j) lane[j] += x[k + j];
  }
  double total = 0;
  for (; k < x.size(); ++k) total += x[k];
  for (const double part : lane) total += part;
  return total;
}

/// exp of the candidates' offsets times `scale` into `masses`, and their sum.
inline double masses_of(const selection_scratch& s, double scale, std::vector<double>& masses) {
  masses.resize(s.count);
  for (std::size_t k = 0; k < s.count; ++k) masses[k] = branchless_exp(s.offsets[k] * scale);
  return lane_sum(masses);
}

}  // namespace detail

/// What a sampler with options `o` draws from at a row of n logits with the given finite maximum
/// and neither NaN nor +inf. O(n): two passes over the row where few tokens hold nearly all of the
/// mass, three more where not, and what is near the cut or kept. The memory is `scratch` and the
/// result, both reused.
template <logit_scalar T>
void select_distribution(const T* row, index_t n, double max, const sampler_options& o,
                         selection_scratch& scratch, sampler_distribution& result) {
  if (o.temperature == 0) {
    index_t first = 0;
    while (static_cast<double>(load(row[first])) != max) ++first;
    result.tokens.assign(1, static_cast<token_id>(first));
    result.probs.assign(1, 1.0);
    return;
  }
  const double sharpness = std::min(1 / o.temperature, 1e300);
  const double cut_scale = o.order == sampler_order::temperature_first ? sharpness : 1;
  const bool by_rank = o.top_k > 0 && o.top_k < n;
  const bool by_mass = o.top_p < 1;

  // n tokens below this hold less than n exp(-ln n - 16) = 1.1e-7 of the maximum's mass, in the
  // distribution that is cut and in the one that is drawn from. No offset overflows.
  double reach = (std::log(static_cast<double>(n)) + 16) / std::min(sharpness, cut_scale);
  if (!by_mass && o.min_p > 0) {  // a little wide: the masses decide
    reach = std::min(reach, (1e-9 - std::log(o.min_p)) / cut_scale * (1 + 1e-9));
  }
  constexpr double most = std::numeric_limits<double>::max();
  const double floor = std::max({max - reach, max - most, -most});

  using blocks = detail::row_blocks<T>;
  const blocks row_in_blocks(row, n);
  const auto gather = [&](double low, double high, index_t limit) {
    return detail::gather(row_in_blocks, n, max, {blocks::below(low), -blocks::below(-high)}, limit,
                          scratch);
  };
  const auto masses = [&](double scale) { return detail::masses_of(scratch, scale, result.probs); };
  // Of what was gathered, the nucleus; `beyond` is the mass of what was not, and is no part of it.
  const auto cut_by_mass = [&](double gathered, double beyond) {
    const double total = gathered + beyond;
    // Tokens of less than this mass hold less than what the nucleus leaves out.
    const double least =
        ((1 - o.top_p) * total - beyond) * (1 - 1e-6) / static_cast<double>(scratch.count);
    detail::cut_candidates(scratch,
                           detail::cut_of(scratch, result.probs, {o.top_p * total}, least));
  };
  // Most often few tokens hold nearly all of the mass: they are looked at closely, and the others
  // are added up in less precision, which is enough where they hold little.
  const auto cut_the_strong = [&](double nats, index_t limit) {
    const double strong = std::max(floor, max - nats / cut_scale);
    if (!gather(strong, most, limit)) return false;
    const double gathered = masses(cut_scale);
    const double beyond = detail::weak_mass(row_in_blocks, max, blocks::below(floor),
                                            blocks::below(strong), cut_scale);
    const bool enough = beyond <= std::min(0.03, (1 - o.top_p) * (1 - 1e-5)) * gathered;
    if (enough) cut_by_mass(gathered, beyond);
    return enough;
  };
  const auto cut_by_bins = [&] {
    const auto bin =
        detail::cut_by_histogram(row_in_blocks, max, floor, by_rank ? 0 : cut_scale,
                                 by_rank ? static_cast<double>(o.top_k) : o.top_p, scratch.bins);
    double low = floor;
    double high = most;
    if (bin.per_offset > 0) {  // a little wide: cut_of looks closely
      const double start = static_cast<double>(bin.edge) / bin.per_offset;
      const double end = static_cast<double>(bin.edge + 1) / bin.per_offset;
      low = std::max(floor, max - end * (1 + 1e-12));
      high = max - start * (1 - 1e-12);
    }
    gather(low, high, n);
    if (!by_rank) masses(cut_scale);
    const auto prefix = detail::cut_of(
        scratch, by_rank ? std::span<const double>{} : std::span<const double>(result.probs), bin);
    gather(std::max(floor, max + prefix.offset - 1e-15 * (std::abs(max) - prefix.offset)), most, n);
    detail::cut_candidates(scratch, prefix);
  };

  if (!by_rank && !by_mass) {
    gather(floor, most, n);
  } else if (n < detail::select_histogram_from) {
    if (by_rank) {
      gather(floor, most, n);
      detail::cut_candidates(scratch, detail::cut_of(scratch, {}, {static_cast<double>(o.top_k)}));
    } else if (!cut_the_strong(6, n / 4)) {
      gather(floor, most, n);
      cut_by_mass(masses(cut_scale), 0);
    }
  } else if (by_rank || !cut_the_strong(12, n / 16)) {
    cut_by_bins();
  }
  if (by_rank && by_mass) cut_by_mass(masses(cut_scale), 0);
  if (o.min_p > 0) {
    detail::keep_if(scratch, [&](double offset) {
      return detail::branchless_exp(offset * cut_scale) >= o.min_p;
    });
  }

  result.tokens.assign(scratch.tokens.begin(),
                       scratch.tokens.begin() + static_cast<std::ptrdiff_t>(scratch.count));
  const double total = masses(sharpness);
  for (double& p : result.probs) p /= total;
}

}  // namespace idiolect
