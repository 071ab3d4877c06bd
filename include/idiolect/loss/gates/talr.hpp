// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Token-adaptive loss reweighting: w = max(p^(1/t), floor) (arXiv 2509.20758).

#include <idiolect/loss/token_loss.hpp>

namespace idiolect {

/// w = max(p^(1/t), floor).
struct talr {
  double t = 1;
  double floor = 0.01;

  template <class Stats>
  [[nodiscard]] IDIOLECT_HD typename Stats::real weight(const Stats& s) const {
    using real = typename Stats::real;
    const real w = unbounded(s);
    return w > static_cast<real>(floor) ? w : static_cast<real>(floor);
  }
  template <class Stats>
  [[nodiscard]] IDIOLECT_HD weight_slope<typename Stats::real> slope(const Stats& s) const {
    using real = typename Stats::real;
    const real w = unbounded(s);
    return {.log_prob = w > static_cast<real>(floor) ? w / static_cast<real>(t) : real{0}};
  }
  void validate() const {
    detail::require_above(0, t, "talr::t");
    detail::require_at_least(0, floor, "talr::floor");
  }

 private:
  template <class Stats>
  [[nodiscard]] IDIOLECT_HD typename Stats::real unbounded(const Stats& s) const {
    using std::exp;
    return exp(s.log_prob() / static_cast<typename Stats::real>(t));
  }
};

}  // namespace idiolect
