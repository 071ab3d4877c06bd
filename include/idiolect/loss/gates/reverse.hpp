// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The focal form, which trains hardest on the least likely tokens: w = (1 - p)^gamma (in the code
// of arXiv 2602.12222, as a contrast).

#include <idiolect/loss/token_loss.hpp>

namespace idiolect {

/// w = (1 - p)^gamma.
struct reverse {
  double gamma = 1;

  template <class Stats>
  [[nodiscard]] IDIOLECT_HD typename Stats::real weight(const Stats& s) const {
    using std::pow;
    return pow(complement(s), static_cast<typename Stats::real>(gamma));
  }
  template <class Stats>
  [[nodiscard]] IDIOLECT_HD weight_slope<typename Stats::real> slope(const Stats& s) const {
    using real = typename Stats::real;
    using std::pow;
    const real rest = complement(s);
    if (rest == 0 && gamma < 1) return {};  // the one-sided slope there is infinite
    return {.log_prob =
                -static_cast<real>(gamma) * pow(rest, static_cast<real>(gamma - 1)) * s.prob()};
  }
  void validate() const { detail::require_at_least(0, gamma, "reverse::gamma"); }

 private:
  template <class Stats>
  [[nodiscard]] IDIOLECT_HD static typename Stats::real complement(const Stats& s) {
    using std::expm1;
    const auto rest = -expm1(s.log_prob());
    return rest > 0 ? rest : 0;
  }
};

}  // namespace idiolect
