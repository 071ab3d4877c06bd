// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Two losses on pairs of answers, c chosen and r rejected, as the methods that people use instead:
//
//   DPO   (arXiv 2305.18290)   -log sigmoid(m),  m = beta (log p(c)/p0(c) - log p(r)/p0(r))
//   SimPO (arXiv 2405.14734)   -log sigmoid(m),  m = beta (log p(c)/|c| - log p(r)/|r|) - margin
//
// Both gradients are those of a weighted likelihood: with s = sigmoid(-m), every token of c counts
// beta s, every token of r -beta s (divided by the lengths in SimPO).

#include <vector>

#include "study/training.hpp"

namespace study {

/// The base model's log-likelihood of both texts of a pair.
struct reference_log_prob {
  double chosen;
  double rejected;
};

/// One entry for each pair, in the order of the data set.
[[nodiscard]] objective dpo(std::vector<reference_log_prob> reference, double beta = 0.1);
[[nodiscard]] objective simpo(double beta = 2, double margin = 0.5);

}  // namespace study
