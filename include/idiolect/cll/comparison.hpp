// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Which score tells the model's own text from other text? Two corpora of scored sequences, the CLL
// scores beside the baselines, each with its AUROC, its SNR and their bootstrap intervals.

#include <cmath>
#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include <idiolect/cll/separation.hpp>
#include <idiolect/cll/sequence.hpp>
#include <idiolect/core/error.hpp>
#include <idiolect/core/executor.hpp>
#include <idiolect/core/types.hpp>

namespace idiolect {

/// `positive` is the corpus that is expected to be the model's own. Every statistic is turned so
/// that larger means more like the model's own text: those marked "negated" count as -x. So an
/// AUROC above 0.5 always means that `positive` looks more like it, and statistics compare
/// directly.
///
/// mean_log_prob and perplexity rank alike (same AUROC); their SNRs differ.
struct corpus_comparison {
  separation mean_phi;       ///< CLL, one-sided: low for text that is too unlikely
  separation z;              ///< the standardised score, one-sided
  separation abs_mean_phi;   ///< |mean phi|, negated: also finds text that is too likely
  separation abs_z;          ///< |z|, negated; two-sided
  separation mean_log_prob;  ///< baseline, nats a token
  separation perplexity;     ///< baseline, negated
  separation sum_log_prob;   ///< baseline: the log-likelihood, nats a sequence

  index_t positive_sequences = 0;  ///< compared: with at least one scored token
  index_t negative_sequences = 0;
  index_t positive_empty = 0;  ///< left out: without a scored token
  index_t negative_empty = 0;
};

namespace detail {

/// The sequences with a scored token. Raises shape_error if there is none.
inline std::vector<sequence_score> non_empty(std::span<const sequence_score> corpus,
                                             std::string_view argument) {
  std::vector<sequence_score> kept;
  kept.reserve(corpus.size());
  for (const auto& s : corpus) {
    if (s.tokens > 0) kept.push_back(s);
  }
  require(!kept.empty(), argument,
          corpus.empty() ? "is empty" : "has no sequence with a scored token");
  return kept;
}

}  // namespace detail

/// Compares two corpora of scored sequences, resampling whole sequences. The same bits for any
/// executor. O(n log n + replicates * n) for n sequences in all. Raises shape_error naming the
/// corpus without a scored token or the option that is out of range.
///
/// A masked target makes its sequence's scores infinite: it still ranks, but the SNRs it enters
/// are NaN. See `separation` for samples of one sequence or without variance.
template <executor Executor>
[[nodiscard]] corpus_comparison compare(const Executor& workers,
                                        std::span<const sequence_score> positive,
                                        std::span<const sequence_score> negative,
                                        const bootstrap_options& options = {}) {
  struct statistic {
    separation corpus_comparison::*result;
    double (*of)(const sequence_score&);
  };
  static constexpr statistic statistics[] = {
      {&corpus_comparison::mean_phi, [](const sequence_score& s) { return s.mean_phi(); }},
      {&corpus_comparison::z, [](const sequence_score& s) { return s.z(); }},
      {&corpus_comparison::abs_mean_phi,
       [](const sequence_score& s) { return -std::fabs(s.mean_phi()); }},
      {&corpus_comparison::abs_z, [](const sequence_score& s) { return -std::fabs(s.z()); }},
      {&corpus_comparison::mean_log_prob,
       [](const sequence_score& s) { return s.mean_log_prob(); }},
      {&corpus_comparison::perplexity, [](const sequence_score& s) { return -s.perplexity(); }},
      {&corpus_comparison::sum_log_prob, [](const sequence_score& s) { return s.sum_log_prob; }}};

  validate(options);
  const auto own = detail::non_empty(positive, "positive");
  const auto other = detail::non_empty(negative, "negative");

  std::vector<detail::ranked_samples> samples;
  std::vector<double> a(own.size());
  std::vector<double> b(other.size());
  for (const auto& s : statistics) {
    for (std::size_t i = 0; i < a.size(); ++i) a[i] = s.of(own[i]);
    for (std::size_t i = 0; i < b.size(); ++i) b[i] = s.of(other[i]);
    samples.emplace_back(a, b);
  }
  const auto separations =
      detail::separate(workers, std::span<const detail::ranked_samples>(samples), options);

  corpus_comparison result;
  for (std::size_t k = 0; k < separations.size(); ++k) {
    result.*statistics[k].result = separations[k];
  }
  result.positive_sequences = static_cast<index_t>(own.size());
  result.negative_sequences = static_cast<index_t>(other.size());
  result.positive_empty = static_cast<index_t>(positive.size() - own.size());
  result.negative_empty = static_cast<index_t>(negative.size() - other.size());
  return result;
}

}  // namespace idiolect
