// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Endorsement by CLL (arXiv 2608.26735): e = exp(min(phi, 0)) says how far the model would have
// written the token itself. A token with a positive external advantage is trained by e, one with a
// negative advantage by 1 - e. The advantage is the call's external per-token weight.

#include <idiolect/loss/token_loss.hpp>

namespace idiolect {

/// w = exp(min(phi, 0)) where the external weight is >= 0, one minus that where it is negative.
struct endorsement {
  template <class Stats>
  [[nodiscard]] IDIOLECT_HD typename Stats::real weight(const Stats& s) const {
    using std::exp;
    using std::expm1;
    const auto phi = s.phi() < 0 ? s.phi() : 0;
    return s.external_weight >= 0 ? exp(phi) : -expm1(phi);
  }
  template <class Stats>
  [[nodiscard]] IDIOLECT_HD weight_slope<typename Stats::real> slope(const Stats& s) const {
    using real = typename Stats::real;
    using std::exp;
    if (!(s.phi() < 0)) return {};
    const real e = s.external_weight >= 0 ? exp(s.phi()) : -exp(s.phi());
    return {.log_prob = e, .entropy = e};
  }
};

}  // namespace idiolect
