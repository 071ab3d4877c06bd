// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Plain likelihood, the loss of supervised fine-tuning: w = 1.

#include <idiolect/loss/token_loss.hpp>

namespace idiolect {

/// w = 1.
struct nll {
  template <class Stats>
  [[nodiscard]] IDIOLECT_HD typename Stats::real weight(const Stats&) const {
    return 1;
  }
  template <class Stats>
  [[nodiscard]] IDIOLECT_HD weight_slope<typename Stats::real> slope(const Stats&) const {
    return {};
  }
};

}  // namespace idiolect
