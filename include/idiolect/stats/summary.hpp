// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Summaries of many numbers that merge: moments (Chan, Golub, LeVeque 1979) and a histogram.
// Shards summarise on their own and merge in a fixed order.

#include <cmath>
#include <cstddef>
#include <cstdint>

#include <idiolect/config.hpp>
#include <idiolect/core/scalar.hpp>
#include <idiolect/core/types.hpp>

namespace idiolect {

/// Count, mean, variance, minimum and maximum. NaN values are counted apart and change nothing. The
/// mean of nothing is NaN.
struct moment_summary {
  index_t count = 0;
  index_t nan_count = 0;
  double mean = detail::quiet_nan<double>;
  double sum_of_squares = 0;  ///< of deviations from the mean
  double min = detail::infinity<double>;
  double max = -detail::infinity<double>;

  IDIOLECT_HD void add(double x) {
    if (x != x) {
      ++nan_count;
      return;
    }
    moment_summary one;
    one.count = 1;
    one.mean = one.min = one.max = x;
    merge(one);
  }

  IDIOLECT_HD void merge(const moment_summary& other) {
    nan_count += other.nan_count;
    if (other.count == 0) return;
    if (count == 0) {
      const index_t nans = nan_count;
      *this = other;
      nan_count = nans;
      return;
    }
    if (!detail::is_finite(mean) || !detail::is_finite(other.mean)) {  // a masked target's CLL is -inf
      mean += other.mean;
      sum_of_squares = detail::quiet_nan<double>;
    } else {
      const auto a = static_cast<double>(count);
      const auto b = static_cast<double>(other.count);
      const double distance = other.mean - mean;
      sum_of_squares += other.sum_of_squares + distance * distance * (a * (b / (a + b)));
      mean += distance * (b / (a + b));
    }
    count += other.count;
    min = other.min < min ? other.min : min;
    max = other.max > max ? other.max : max;
  }

  /// Sample variance (n - 1); NaN below two values.
  [[nodiscard]] double variance() const {
    return count > 1 ? sum_of_squares / static_cast<double>(count - 1)
                     : detail::quiet_nan<double>;
  }
  [[nodiscard]] double standard_deviation() const { return std::sqrt(variance()); }
  [[nodiscard]] double sum() const { return count > 0 ? mean * static_cast<double>(count) : 0; }
};

/// `Bins` equal bins over [low, high), what lies outside, and NaN.
template <std::size_t Bins>
struct histogram {
  double low = 0;
  double high = 1;
  std::uint64_t counts[Bins] = {};
  std::uint64_t below = 0;
  std::uint64_t above = 0;
  std::uint64_t nan_count = 0;

  /// Where x counts: its bin, or Bins for below, Bins + 1 for above, Bins + 2 for NaN.
  [[nodiscard]] IDIOLECT_HD std::size_t place(double x) const {
    if (x != x) return Bins + 2;
    if (x < low) return Bins;
    if (x >= high) return Bins + 1;
    const auto bin = static_cast<std::size_t>((x - low) / (high - low) * static_cast<double>(Bins));
    return bin < Bins ? bin : Bins - 1;
  }
  /// The number of values at a place.
  [[nodiscard]] IDIOLECT_HD std::uint64_t& at(std::size_t place) {
    return place < Bins ? counts[place] : place == Bins ? below : place == Bins + 1 ? above : nan_count;
  }
  IDIOLECT_HD void add(double x) { ++at(place(x)); }

  /// Both cover the same interval.
  IDIOLECT_HD void merge(const histogram& other) {
    for (std::size_t i = 0; i < Bins; ++i) counts[i] += other.counts[i];
    below += other.below;
    above += other.above;
    nan_count += other.nan_count;
  }

  [[nodiscard]] std::uint64_t total() const {
    std::uint64_t n = below + above;
    for (const auto c : counts) n += c;
    return n;
  }
  [[nodiscard]] double bin_low(std::size_t i) const {
    return low + (high - low) * static_cast<double>(i) / static_cast<double>(Bins);
  }

  friend bool operator==(const histogram&, const histogram&) = default;
};

}  // namespace idiolect
