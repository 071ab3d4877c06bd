// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Train where the model is undecided about the token: w = p (1 - p) (CHORD, arXiv 2508.11408).

#include <idiolect/loss/token_loss.hpp>

namespace idiolect {

/// w = p (1 - p).
struct chord {
  template <class Stats>
  [[nodiscard]] IDIOLECT_HD typename Stats::real weight(const Stats& s) const {
    using std::expm1;
    return -s.prob() * expm1(s.log_prob());
  }
  template <class Stats>
  [[nodiscard]] IDIOLECT_HD weight_slope<typename Stats::real> slope(const Stats& s) const {
    const auto p = s.prob();
    return {.log_prob = p * (1 - 2 * p)};
  }
};

}  // namespace idiolect
