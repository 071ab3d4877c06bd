// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// How well one number tells two samples apart, with percentile bootstrap intervals.
//
//   AUROC = P(x+ > x-) + P(x+ = x-) / 2      for x+ from `positive`, x- from `negative`
//   SNR   = (mean+ - mean-) / s              s^2 = ((n+ - 1) s+^2 + (n- - 1) s-^2) / (n+ + n- - 2)
//
// AUROC is the Mann-Whitney statistic over n+ n-, SNR the difference of means over the pooled
// standard deviation. Intervals: Efron 1979; each sample is drawn from with replacement, on its
// own. The values are sorted once; a replicate only counts how often each was drawn.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <idiolect/core/bounds.hpp>
#include <idiolect/core/error.hpp>
#include <idiolect/core/executor.hpp>
#include <idiolect/core/philox.hpp>
#include <idiolect/core/types.hpp>

namespace idiolect {

/// An estimate and its interval; the bounds are NaN where there is none.
struct estimate {
  double value = std::numeric_limits<double>::quiet_NaN();
  double low = std::numeric_limits<double>::quiet_NaN();
  double high = std::numeric_limits<double>::quiet_NaN();
};

/// How far `positive` lies above `negative`.
struct separation {
  /// In [0, 1]; 0.5: no difference; below it: `positive` is the lower one. Infinite values rank as
  /// any other.
  estimate auroc;
  /// Without variance in either sample: 0 for equal means, else infinite with the sign of the
  /// difference. NaN if there is one value in each, or any value is infinite.
  estimate snr;
};

/// Options of the intervals. Draws are keyed by (seed, replicate): the same for any executor.
struct bootstrap_options {
  index_t replicates = 2000;  ///< 0: no intervals; 2^24 at most (112 bytes each, for compare)
  double confidence = 0.95;   ///< [0.01, 1 - 1e-9]
  std::uint64_t seed = 0;
};

/// Raises shape_error naming the option that is out of range.
inline void validate(const bootstrap_options& o) {
  detail::require_count(0, index_t{1} << 24, o.replicates, "replicates");
  detail::require_within(0.01, 1 - 1e-9, o.confidence, "confidence");
}

namespace detail {

/// Two samples of one statistic, ranked together. A resample is how often each value was drawn:
/// the n+ counts of `positive`, then the n- counts of `negative`, adding up to n+ and n-.
class ranked_samples {
 public:
  using counts = std::span<const std::uint32_t>;

  ranked_samples(std::span<const double> positive, std::span<const double> negative)
      : positives_(positive.size()) {
    check(positive, "positive");
    check(negative, "negative");
    values_.assign(positive.begin(), positive.end());
    values_.insert(values_.end(), negative.begin(), negative.end());
    order_.resize(values_.size());
    for (std::size_t i = 0; i < order_.size(); ++i) order_[i].item = i;
    std::ranges::sort(order_, {}, [this](const ranked& r) { return values_[r.item]; });
    for (std::size_t i = 0; i < order_.size(); ++i) {
      order_[i].last_of_ties =
          i + 1 == order_.size() || values_[order_[i].item] != values_[order_[i + 1].item];
    }
  }

  [[nodiscard]] std::size_t positives() const { return positives_; }
  [[nodiscard]] std::size_t negatives() const { return values_.size() - positives_; }

  /// O(n+ + n-). In integers, so exact up to the last division.
  [[nodiscard]] double auroc(counts drawn) const {
    std::uint64_t twice = 0;
    std::uint64_t below = 0;
    std::uint64_t tied = 0;
    std::uint64_t tied_positive = 0;
    for (const ranked& r : order_) {  // counts are unpredictable: no branch on them
      const std::uint64_t count = drawn[r.item];
      tied += count;
      tied_positive += r.item < positives_ ? count : 0;
      if (!r.last_of_ties) continue;
      const std::uint64_t tied_negative = tied - tied_positive;
      twice += tied_positive * (2 * below + tied_negative);
      below += tied_negative;
      tied = tied_positive = 0;
    }
    return static_cast<double>(twice) /
           (2 * static_cast<double>(positives()) * static_cast<double>(negatives()));
  }

  /// O(n+ + n-).
  [[nodiscard]] double snr(counts drawn) const {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    const spread a = spread_of(drawn, 0, positives_);
    const spread b = spread_of(drawn, positives_, values_.size());
    const double freedom = static_cast<double>(values_.size()) - 2;
    const double difference = a.mean - b.mean;
    const double squares = a.squares + b.squares;
    if (freedom <= 0 || std::isnan(difference) || std::isinf(difference)) {
      return std::numeric_limits<double>::quiet_NaN();
    }
    if (squares == 0) return difference == 0 ? 0 : std::copysign(infinity, difference);
    return difference / std::sqrt(squares / freedom);
  }

 private:
  struct ranked {
    std::size_t item = 0;
    bool last_of_ties = true;
  };
  struct spread {
    double mean;
    double squares;  // of deviations from the mean
  };

  static void check(std::span<const double> values, std::string_view argument) {
    require(!values.empty(), argument, "is empty");
    for (std::size_t i = 0; i < values.size(); ++i) {
      require<non_finite_error>(!std::isnan(values[i]), argument, "NaN has no rank",
                                static_cast<index_t>(i));
    }
  }

  // Deviations are from the first value drawn, so that equal values have a variance of exactly 0.
  // No branch on the counts here either; an infinite value leaves no SNR, drawn or not.
  [[nodiscard]] spread spread_of(counts drawn, std::size_t begin, std::size_t end) const {
    std::size_t first = begin;
    while (drawn[first] == 0) ++first;
    const double origin = values_[first];
    double sum = 0;
    double squares = 0;
    for (std::size_t i = first; i < end; ++i) {
      const double d = values_[i] - origin;
      sum += drawn[i] * d;
      squares += drawn[i] * d * d;
    }
    const double mean = sum / static_cast<double>(end - begin);
    return {origin + mean, (std::max)(squares - sum * mean, 0.0)};
  }

  std::vector<double> values_;  // positive, then negative
  std::vector<ranked> order_;   // ascending
  std::size_t positives_;
};

/// The percentile interval of the replicates, which it sorts: as many lie outside on each side.
/// No interval without replicates, or if the estimate or any replicate is NaN.
inline void set_interval(estimate& e, std::span<double> replicates, double confidence) {
  if (replicates.empty() || std::isnan(e.value)) return;
  if (std::ranges::any_of(replicates, [](double x) { return std::isnan(x); })) return;
  std::ranges::sort(replicates);
  const auto n = static_cast<double>(replicates.size());
  // The small number is for 1 - 0.9, which is just below 0.1.
  // At most all but the middle: a bound never passes the other.
  const auto outside = (std::min)(static_cast<std::size_t>(n * (1 - confidence) / 2 + 1e-6),
                                (replicates.size() - 1) / 2);
  e.low = replicates[outside];
  e.high = replicates[replicates.size() - 1 - outside];
}

/// Separations of several statistics of the same items, resampled together: a replicate draws the
/// same items for all of them. O(replicates * statistics * (n+ + n-)).
template <executor Executor>
std::vector<separation> separate(const Executor& workers,
                                 std::span<const ranked_samples> statistics,
                                 const bootstrap_options& o) {
  validate(o);
  const std::size_t positives = statistics.front().positives();
  const std::size_t negatives = statistics.front().negatives();
  const auto replicates = static_cast<std::size_t>(o.replicates);

  std::vector<separation> result(statistics.size());
  const std::vector<std::uint32_t> once(positives + negatives, 1);
  for (std::size_t k = 0; k < statistics.size(); ++k) {
    result[k].auroc.value = statistics[k].auroc(once);
    result[k].snr.value = statistics[k].snr(once);
  }

  // [statistic][AUROC or SNR][replicate]
  std::vector<double> values(statistics.size() * 2 * replicates);
  const auto of = [&](std::size_t k, std::size_t which) {
    return std::span(values).subspan((2 * k + which) * replicates, replicates);
  };
  constexpr std::size_t batch = 16;  // replicates that share a buffer
  workers.bulk(static_cast<index_t>((replicates + batch - 1) / batch), [&](index_t task) {
    std::vector<std::uint32_t> drawn(positives + negatives);
    const std::size_t begin = static_cast<std::size_t>(task) * batch;
    const std::size_t end = (std::min)(begin + batch, replicates);
    for (std::size_t r = begin; r < end; ++r) {
      const philox random{o.seed, r};
      std::ranges::fill(drawn, 0u);
      for (std::size_t i = 0; i < positives; ++i) ++drawn[random.below(positives, i)];
      for (std::size_t i = positives; i < drawn.size(); ++i) {
        ++drawn[positives + random.below(negatives, i)];
      }
      for (std::size_t k = 0; k < statistics.size(); ++k) {
        of(k, 0)[r] = statistics[k].auroc(drawn);
        of(k, 1)[r] = statistics[k].snr(drawn);
      }
    }
  });
  for (std::size_t k = 0; k < statistics.size(); ++k) {
    set_interval(result[k].auroc, of(k, 0), o.confidence);
    set_interval(result[k].snr, of(k, 1), o.confidence);
  }
  return result;
}

}  // namespace detail

/// Separation of two samples, n+ and n- values. O((n+ + n-) (log(n+ + n-) + replicates)) time.
/// Raises shape_error naming the sample that is empty or the option that is out of range, and
/// non_finite_error for a NaN, naming the sample and the position.
template <executor Executor>
[[nodiscard]] separation separate(const Executor& workers, std::span<const double> positive,
                                  std::span<const double> negative,
                                  const bootstrap_options& options = {}) {
  const detail::ranked_samples samples(positive, negative);
  return detail::separate(workers, std::span(&samples, 1), options).front();
}

/// AUROC alone. O((n+ + n-) log(n+ + n-)). Raises as `separate` does.
[[nodiscard]] inline double auroc(std::span<const double> positive,
                                  std::span<const double> negative) {
  return separate(serial_executor{}, positive, negative, {.replicates = 0}).auroc.value;
}

/// SNR alone. O((n+ + n-) log(n+ + n-)). Raises as `separate` does.
[[nodiscard]] inline double signal_to_noise(std::span<const double> positive,
                                            std::span<const double> negative) {
  return separate(serial_executor{}, positive, negative, {.replicates = 0}).snr.value;
}

}  // namespace idiolect
