// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Dynamic fine-tuning: w = p (arXiv 2508.05629).

#include <idiolect/loss/token_loss.hpp>

namespace idiolect {

/// w = p.
struct dft {
  template <class Stats>
  [[nodiscard]] IDIOLECT_HD typename Stats::real weight(const Stats& s) const {
    return s.prob();
  }
  template <class Stats>
  [[nodiscard]] IDIOLECT_HD weight_slope<typename Stats::real> slope(const Stats& s) const {
    return {.log_prob = s.prob()};
  }
};

}  // namespace idiolect
