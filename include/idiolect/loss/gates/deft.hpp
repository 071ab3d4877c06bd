// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Entropy-driven exponent: w = p^alpha with alpha the row's collision probability sum p^2
// (arXiv 2602.11424). A sure model (alpha near 1) trains as DFT, an unsure one as likelihood.

#include <idiolect/loss/token_loss.hpp>

namespace idiolect {

/// w = p^(sum_i p_i^2). Stop-gradient only: the gradient of the collision leaves the span.
struct deft {
  static constexpr moments required = moments::collision;

  template <class Stats>
  [[nodiscard]] IDIOLECT_HD typename Stats::real weight(const Stats& s) const {
    using std::exp;
    return exp(s.collision() * s.log_prob());
  }
};

}  // namespace idiolect
