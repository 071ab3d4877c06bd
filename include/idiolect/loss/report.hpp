// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a loss call reports. A gated loss alone can fall while every p goes to 0, so the ungated
// likelihood, the CLL, the weights and the end-of-sequence probability stand beside it.

#include <vector>

#include <idiolect/config.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/stats/summary.hpp>

namespace idiolect {

using summary_bins = histogram<32>;

/// Moments and a histogram of one quantity over tokens.
struct token_summary : moment_summary {
  summary_bins bins;

  token_summary() = default;
  token_summary(const moment_summary& moments, const summary_bins& counted)
      : moment_summary(moments), bins(counted) {}
  IDIOLECT_HD token_summary(double low, double high) { bins.low = low, bins.high = high; }

  IDIOLECT_HD void add(double x) {
    moment_summary::add(x);
    bins.add(x);
  }
  IDIOLECT_HD void merge(const token_summary& other) {
    moment_summary::merge(other);
    bins.merge(other.bins);
  }
};

namespace detail {
/// Of the two quantities that every report follows, with their histograms' intervals.
[[nodiscard]] IDIOLECT_HD inline token_summary empty_phi_summary() { return {-16, 8}; }
[[nodiscard]] IDIOLECT_HD inline token_summary empty_weight_summary() { return {0, 2}; }
}  // namespace detail

/// Everything is over the valid rows: those whose target is not the ignored one. mean_nll and the
/// summaries are over those of them that have statistics, `phi.count`: they leave out rows with
/// NaN, +inf or no finite logit. Means of nothing are NaN.
struct loss_report {
  double loss = 0;  ///< the reduced, weighted loss; 0 without valid rows, so that training goes on
  double mean_nll = detail::quiet_nan<double>;  ///< ungated, unweighted -log p, nats a token
  index_t valid = 0;  ///< targets that are not ignored, the denominator of `mean`
  /// Valid rows whose finished loss or gradient is not finite: broken logits, a NaN or infinite
  /// weight, a loss of NaN or infinity (a masked target under plain likelihood).
  index_t non_finite = 0;
  token_summary phi = detail::empty_phi_summary();  ///< CLL, nats, binned over [-16, 8)
  /// The loss's pull on the target, `a`: for a gate, its weight. Binned over [0, 2).
  token_summary weight = detail::empty_weight_summary();
  moment_summary end_prob;         ///< p of the end tokens, at rows where they are the target
  std::vector<double> token_loss;  ///< reduction::none: a weighted loss per row, 0 where ignored
};

}  // namespace idiolect
