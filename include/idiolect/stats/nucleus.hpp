// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Where a descending prefix of a row ends: exactly, among the entries that may be its last, and by
// a sample of the row, which tells those entries from the rest. (Floyd and Rivest, "Expected time
// bounds for selection", 1975, with the mass of tokens in the place of their number.)

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <idiolect/core/scalar.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/stats/exponential.hpp>

namespace idiolect::detail {

/// A candidate for the end of a prefix.
struct edge_entry {
  double offset;  // z - max
  double weight;  // what the prefix adds up: its mass, or 1
};

/// A descending prefix: what is above `offset`, and the first `ties` (by id) of those at it.
struct prefix_cut {
  double offset = -(std::numeric_limits<double>::max)();
  index_t ties = (std::numeric_limits<index_t>::max)();
};

/// The shortest descending prefix whose weight reaches `target`, everything if none does.
/// Rearranges and shrinks `entries`, of which there is one at least; those that tie weigh the same.
/// O(n): each round keeps one bin of 256.
inline prefix_cut find_cut(std::vector<edge_entry>& entries, double target) {
  constexpr index_t bins = 256;
  for (;;) {
    const auto extremes = std::ranges::minmax_element(entries, {}, &edge_entry::offset);
    const double low = extremes.min->offset;
    const double high = extremes.max->offset;
    const auto n = static_cast<index_t>(entries.size());
    if (low == high) {
      const double needed = std::ceil(target / entries.front().weight);
      return {low, needed < static_cast<double>(n)
                       ? (std::max<index_t>)(1, static_cast<index_t>(needed))
                       : n};
    }
    const double per_offset = static_cast<double>(bins) / (high - low);
    if (n <= 32 || !(per_offset > 0 && std::isfinite(per_offset))) {
      std::ranges::sort(entries, std::ranges::greater{}, &edge_entry::offset);
      double reached = 0;
      index_t k = 0;
      do reached += entries[static_cast<std::size_t>(k++)].weight;
      while (k < n && reached < target);
      const double edge = entries[static_cast<std::size_t>(k - 1)].offset;
      const auto ties =
          std::ranges::count(entries.begin(), entries.begin() + k, edge, &edge_entry::offset);
      return {edge, static_cast<index_t>(ties)};
    }
    const auto bin_of = [&](const edge_entry& e) {
      return (std::min)(static_cast<index_t>((high - e.offset) * per_offset), bins - 1);
    };
    std::array<double, bins> weight{};
    for (const edge_entry& e : entries) weight[static_cast<std::size_t>(bin_of(e))] += e.weight;
    index_t edge = 0;
    double above = 0;
    while (edge < bins - 1 && above + weight[static_cast<std::size_t>(edge)] < target) {
      above += weight[static_cast<std::size_t>(edge++)];
    }
    std::erase_if(entries, [&](const edge_entry& e) { return bin_of(e) != edge; });
    target -= above;
  }
}

/// Rows from this length on are sampled, one logit of each `sample_stride`.
inline constexpr index_t sample_from = 4096;
inline constexpr index_t sample_stride = 64;

/// The logit that is sampled of those from `first`, a multiple of the stride. Not always the same
/// place: what is regular in a row must not meet what is regular here.
inline index_t sampled_at(index_t first) {
  const auto mixed = static_cast<std::uint32_t>(first) * std::uint32_t{0x9E3779B1};
  return first + static_cast<index_t>(mixed >> 16) % sample_stride;
}

/// Offsets from the maximum between which a prefix ends in all likelihood.
struct likely_end {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
};

/// A histogram of sampled logits over their offsets, from 0 down to `-reach`. O(n / sample_stride).
class row_sample {
 public:
  template <logit_scalar T>
  row_sample(const T* row, index_t n, double max, double reach)
      : bins_per_nat_(static_cast<double>(bins) / reach) {
    for (index_t first = 0; first + sample_stride <= n; first += sample_stride) {
      const double below = max - static_cast<double>(load(row[sampled_at(first)]));
      const double bin = below * bins_per_nat_;
      ++count_[static_cast<std::size_t>(bin < bins ? bin : bins)];
    }
  }

  /// Where the prefix ends of which all but `rest` is part, in the mass exp(offset * scale). From
  /// the weak to the strong, for of the mass above few tokens hold the most and they are not
  /// sampled.
  [[nodiscard]] likely_end by_mass(double scale, double rest) const {
    std::array<double, bins> mass;
    const double per_bin = scale / bins_per_nat_;
    for (int b = 0; b < bins; ++b) mass[index(b)] = branchless_exp(-(b + 0.5) * per_bin);
    const auto [first, last] = crossing(
        rest, [&](int step) { return bins - 1 - step; }, [&](int b) { return mass[index(b)]; });
    return {first == 0 ? likely_end{}.low : offset_of(bins - first),
            last == bins ? likely_end{}.high : offset_of(bins - 1 - last)};
  }

  /// Where the prefix of `rank` tokens ends.
  [[nodiscard]] likely_end by_rank(double rank) const {
    const auto [first, last] = crossing(
        rank, [](int step) { return step; }, [](int) { return 1.0; });
    return {last == bins ? likely_end{}.low : offset_of(last + 1),
            first == 0 ? likely_end{}.high : offset_of(first)};
  }

 private:
  static constexpr int bins = 512;
  static std::size_t index(int b) { return static_cast<std::size_t>(b); }
  [[nodiscard]] double offset_of(int bin) const { return -bin / bins_per_nat_; }

  struct range {
    int first = bins;
    int last = bins;
  };
  /// The steps between which the sum over bins reaches `target`, four deviations to either side.
  /// Each sampled token stands for as many as lie between two; one that was missed for as many.
  template <class Bin, class Weight>
  [[nodiscard]] range crossing(double target, Bin&& bin, Weight&& weight) const {
    constexpr auto stride = static_cast<double>(sample_stride);
    range r;
    double reached = 0;
    double variance = 0;
    for (int step = 0; step < bins; ++step) {
      const int b = bin(step);
      const double w = stride * weight(b);
      reached += count_[index(b)] * w;
      variance += count_[index(b)] * w * w;
      const double doubt = 16 * (variance + w * w);
      const double beyond = reached - target;
      if (r.first == bins && (beyond > 0 || beyond * beyond < doubt)) r.first = step;
      if (beyond > 0 && beyond * beyond >= doubt) {
        r.last = step;
        break;
      }
    }
    return r;
  }

  double bins_per_nat_;
  std::array<std::int32_t, bins + 1> count_{};  // the last for what lies beyond
};

}  // namespace idiolect::detail
