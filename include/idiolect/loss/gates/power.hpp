// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A power of the probability, w = p^q, optionally only where p >= theta (BLL, arXiv 2510.00526).

#include <idiolect/loss/token_loss.hpp>

namespace idiolect {

/// w = p^q 1[p >= theta]; q = 0 is likelihood, q = 1 is DFT.
struct power {
  double q = 1;
  double theta = 0;  ///< probability below which a token is ignored

  template <class Stats>
  [[nodiscard]] IDIOLECT_HD typename Stats::real weight(const Stats& s) const {
    using real = typename Stats::real;
    using std::exp;
    if (s.prob() < static_cast<real>(theta)) return 0;
    return exp(detail::silenced(static_cast<real>(q), s.log_prob()));
  }
  template <class Stats>
  [[nodiscard]] IDIOLECT_HD weight_slope<typename Stats::real> slope(const Stats& s) const {
    return {.log_prob = static_cast<typename Stats::real>(q) * weight(s)};
  }
  void validate() const {
    require(q >= 0 && std::isfinite(q), "power::q",
            "must be finite and >= 0: a negative power has no bound as p goes to 0");
    detail::require_finite(theta, "power::theta");
  }
};

}  // namespace idiolect
