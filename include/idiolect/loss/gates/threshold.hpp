// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// All or nothing: train only tokens whose probability (ProFiT, arXiv 2601.09195) or whose CLL (the
// mask ablation of arXiv 2602.12222, at -1, -5 and -10) is at least theta.

#include <idiolect/loss/token_loss.hpp>

namespace idiolect {

/// w = 1[p >= theta].
struct prob_threshold {
  double theta = 0.1;

  template <class Stats>
  [[nodiscard]] IDIOLECT_HD typename Stats::real weight(const Stats& s) const {
    using real = typename Stats::real;
    return s.prob() >= static_cast<real>(theta) ? real{1} : real{0};
  }
  template <class Stats>
  [[nodiscard]] IDIOLECT_HD weight_slope<typename Stats::real> slope(const Stats&) const {
    return {};
  }
  void validate() const { detail::require_finite(theta, "prob_threshold::theta"); }
};

/// w = 1[phi >= theta], theta in nats.
struct phi_threshold {
  double theta = -5;

  template <class Stats>
  [[nodiscard]] IDIOLECT_HD typename Stats::real weight(const Stats& s) const {
    using real = typename Stats::real;
    return s.phi() >= static_cast<real>(theta) ? real{1} : real{0};
  }
  template <class Stats>
  [[nodiscard]] IDIOLECT_HD weight_slope<typename Stats::real> slope(const Stats&) const {
    return {};
  }
  void validate() const { detail::require_finite(theta, "phi_threshold::theta"); }
};

}  // namespace idiolect
