// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a loss call reports. A gated loss alone can fall while every p goes to 0, so the ungated
// likelihood, the CLL, the weights and the end-of-sequence probability stand beside it.

#include <vector>

#include <idiolect/core/types.hpp>
#include <idiolect/stats/summary.hpp>

namespace idiolect {

/// Moments and a histogram of one quantity over tokens.
struct token_summary : moment_summary {
  histogram<32> bins;

  token_summary() = default;
  token_summary(double low, double high) { bins.low = low, bins.high = high; }

  void add(double x) {
    moment_summary::add(x);
    bins.add(x);
  }
  void merge(const token_summary& other) {
    moment_summary::merge(other);
    bins.merge(other.bins);
  }
};

/// Everything is over the valid rows: those whose target is not the ignored one. The summaries and
/// mean_nll leave out non-finite rows.
struct loss_report {
  double loss = 0;        ///< the reduced, weighted loss
  double mean_nll = 0;    ///< ungated, unweighted -log p, nats a token; 0 without valid rows
  index_t valid = 0;        ///< targets that are not ignored, the denominator of `mean`
  index_t non_finite = 0;   ///< valid rows with NaN, +inf or -inf only
  token_summary phi{-16, 8};   ///< CLL, nats
  token_summary weight{0, 2};  ///< the loss's pull on the target, `a`: for a gate, its weight
  moment_summary end_prob;     ///< p of the end tokens, at rows where they are the target
  std::vector<double> token_loss;  ///< reduction::none: a weighted loss per row, 0 where ignored
};

}  // namespace idiolect
