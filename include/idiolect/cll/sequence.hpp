// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The scores of one sequence of T scored tokens, and the path they take.
//
//   mean phi = sum phi / T          z = sum phi / sqrt(sum varentropy)
//
// Under the model that is asked (or the sampler that phi was centred by) the running sum of phi is
// a martingale whose variance is the running sum of the varentropies, so z is asymptotically
// N(0, 1) and has a two-sided p-value, erfc(|z| / sqrt 2). Mean phi is the score of
// arXiv 2602.12222; z, its p-value and the band of the path are this library's.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numbers>
#include <span>
#include <string>
#include <vector>

#include <idiolect/cll/score.hpp>
#include <idiolect/core/error.hpp>
#include <idiolect/core/types.hpp>

namespace idiolect {

/// sum phi / sqrt(sum varentropy). Without any variance (a certain model): 0 if the sum of phi is
/// 0, else infinite with its sign.
[[nodiscard]] inline double standardised(double sum_phi, double sum_varentropy) {
  if (sum_varentropy != 0) return sum_phi / std::sqrt(sum_varentropy);
  return sum_phi == 0 ? 0 : std::copysign(std::numeric_limits<double>::infinity(), sum_phi);
}

/// Probability that a standard normal number is at least as far from 0 as z.
[[nodiscard]] inline double two_sided_p_value(double z) {
  return std::erfc(std::fabs(z) / std::numbers::sqrt2);
}

/// Scores of a sequence: sums that add up, and what follows from them. Natural logarithms.
/// Non-finite rows are counted and left out of everything else. A masked target (probability 0) is
/// scored: the log-likelihood, mean phi and z are then -inf, the perplexity inf, the p-value 0.
/// Without scored tokens there is nothing to say: means, shares, z and the p-value are NaN, sums 0.
struct sequence_score {
  /// Where `share_above` counts, nats.
  static constexpr std::array<double, 4> thresholds{-5, -3, -1, 0};

  index_t tokens = 0;      ///< scored, T
  index_t ignored = 0;     ///< positions whose target was the ignored one
  index_t non_finite = 0;  ///< positions whose row or score was not finite

  double sum_log_prob = 0;    ///< nats
  double sum_entropy = 0;     ///< nats
  double sum_phi = 0;         ///< nats
  double sum_varentropy = 0;  ///< nats^2: the variance of sum_phi under the model

  std::array<index_t, thresholds.size()> above{};  ///< tokens with phi > thresholds[k]
  /// The most foreign token's, nats; NaN without tokens.
  double min_phi = std::numeric_limits<double>::quiet_NaN();
  index_t min_position = -1;  ///< its position in the input, ignored ones counted; -1 without tokens

  /// The next position. O(1). A score with a NaN counts as non-finite, whatever its status.
  void add(const token_score& s) {
    if (s.status == token_status::ignored) {
      ++ignored;
      return;
    }
    if (s.status == token_status::non_finite || std::isnan(s.log_prob) || std::isnan(s.entropy) ||
        std::isnan(s.varentropy) || std::isnan(s.phi)) {
      ++non_finite;
      return;
    }
    take_min(s.phi, positions());
    ++tokens;
    sum_log_prob += s.log_prob;
    sum_entropy += s.entropy;
    sum_phi += s.phi;
    sum_varentropy += s.varentropy;
    for (std::size_t k = 0; k < thresholds.size(); ++k) above[k] += s.phi > thresholds[k];
  }

  /// Appends what follows in the same sequence: its next window, or another shard's part. The
  /// parts, in order, make the whole: exactly in counts, shares, minimum and position, up to
  /// rounding in the sums. O(1).
  void merge(const sequence_score& next) {
    if (next.tokens > 0) take_min(next.min_phi, positions() + next.min_position);
    tokens += next.tokens;
    ignored += next.ignored;
    non_finite += next.non_finite;
    sum_log_prob += next.sum_log_prob;
    sum_entropy += next.sum_entropy;
    sum_phi += next.sum_phi;
    sum_varentropy += next.sum_varentropy;
    for (std::size_t k = 0; k < thresholds.size(); ++k) above[k] += next.above[k];
  }

  /// Length of the input: scored, ignored and non-finite positions.
  [[nodiscard]] index_t positions() const { return tokens + ignored + non_finite; }

  /// The paper's score, nats a token.
  [[nodiscard]] double mean_phi() const { return mean(sum_phi); }
  /// Mean log-likelihood, nats a token.
  [[nodiscard]] double mean_log_prob() const { return mean(sum_log_prob); }
  /// Mean negative log-likelihood, nats a token.
  [[nodiscard]] double mean_nll() const { return -mean_log_prob(); }
  /// exp(mean NLL); inf where that overflows.
  [[nodiscard]] double perplexity() const { return std::exp(mean_nll()); }
  /// Mean entropy of the model's distributions, nats a token.
  [[nodiscard]] double mean_entropy() const { return mean(sum_entropy); }
  /// Standard deviation of mean phi under the model, nats a token.
  [[nodiscard]] double standard_error() const { return mean(std::sqrt(sum_varentropy)); }
  /// The standardised score, see `standardised`.
  [[nodiscard]] double z() const {
    return tokens > 0 ? standardised(sum_phi, sum_varentropy) : nothing;
  }
  /// Two-sided p-value of z: small for text that is too unlikely and for text that is too likely.
  [[nodiscard]] double p_value() const { return two_sided_p_value(z()); }

  /// Share of the scored tokens with phi > threshold, in [0, 1].
  /// Raises shape_error unless the threshold is one of `thresholds`.
  [[nodiscard]] double share_above(double threshold) const {
    const auto found = std::ranges::find(thresholds, threshold);
    require(found != thresholds.end(), "threshold", [&] {
      return "shares are counted above -5, -3, -1 and 0 nats, not above " +
             std::to_string(threshold);
    });
    return mean(static_cast<double>(above[static_cast<std::size_t>(found - thresholds.begin())]));
  }

 private:
  static constexpr double nothing = std::numeric_limits<double>::quiet_NaN();

  void take_min(double phi, index_t position) {
    if (min_position >= 0 && !(phi < min_phi)) return;
    min_phi = phi;
    min_position = position;
  }
  [[nodiscard]] double mean(double sum) const {
    return tokens > 0 ? sum / static_cast<double>(tokens) : nothing;
  }
};

/// The score of one whole sequence. O(T).
[[nodiscard]] inline sequence_score score_sequence(std::span<const token_score> scores) {
  sequence_score result;
  for (const auto& s : scores) result.add(s);
  return result;
}

/// The scores of packed sequences: sequence k is [offsets[k], offsets[k + 1]). O(T).
/// Raises shape_error unless the offsets ascend from 0 to the number of scores; none at all are
/// the offsets of no sequence.
[[nodiscard]] inline std::vector<sequence_score> score_sequences(
    std::span<const token_score> scores, std::span<const index_t> offsets) {
  std::vector<sequence_score> result;
  if (offsets.empty() && scores.empty()) return result;
  require(!offsets.empty() && offsets.front() == 0 &&
              offsets.back() == static_cast<index_t>(scores.size()) &&
              std::ranges::is_sorted(offsets),
          "sequence_offsets",
          [&] { return "must ascend from 0 to the " + std::to_string(scores.size()) + " scores"; });
  result.reserve(offsets.size() - 1);
  for (std::size_t k = 0; k + 1 < offsets.size(); ++k) {
    const auto first = static_cast<std::size_t>(offsets[k]);
    result.push_back(
        score_sequence(scores.subspan(first, static_cast<std::size_t>(offsets[k + 1]) - first)));
  }
  return result;
}

/// The path to plot: the sum of phi and its standard deviation under the model, after each
/// position. Both have the length of the input; where a position is ignored or non-finite they
/// stay as they were (0 at the start). A masked target takes the sum to -inf for good.
struct score_path {
  std::vector<double> phi;    ///< nats
  std::vector<double> sigma;  ///< sqrt of the varentropies' sum, nats: the band is phi = +-sigma
};

/// The cumulative sum of phi and its one-sigma band. O(T).
[[nodiscard]] inline score_path cumulative_path(std::span<const token_score> scores) {
  score_path path;
  path.phi.reserve(scores.size());
  path.sigma.reserve(scores.size());
  sequence_score so_far;
  for (const auto& s : scores) {
    so_far.add(s);
    path.phi.push_back(so_far.sum_phi);
    path.sigma.push_back(std::sqrt(so_far.sum_varentropy));
  }
  return path;
}

/// The cumulative sum of phi alone. O(T).
[[nodiscard]] inline std::vector<double> cumulative_phi(std::span<const token_score> scores) {
  return cumulative_path(scores).phi;
}

}  // namespace idiolect
