// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Entropy-adaptive fine-tuning: w = (H / h_norm)^alpha (arXiv 2601.02151). Where the model is sure
// little is learned. Public versions differ 12x on the same token because they normalise by
// different entropies, so h_norm has no default.

#include <idiolect/loss/token_loss.hpp>

namespace idiolect {

/// w = (H / h_norm)^alpha; h_norm in nats, e.g. ln V, or ln 20 for the authors' top-20 entropy.
struct eaft {
  double h_norm;
  double alpha = 1;

  explicit eaft(double norm, double exponent = 1) : h_norm(norm), alpha(exponent) {}

  template <class Stats>
  [[nodiscard]] IDIOLECT_HD typename Stats::real weight(const Stats& s) const {
    using real = typename Stats::real;
    using std::pow;
    return pow(share(s), static_cast<real>(alpha));
  }
  template <class Stats>
  [[nodiscard]] IDIOLECT_HD weight_slope<typename Stats::real> slope(const Stats& s) const {
    using real = typename Stats::real;
    using std::pow;
    const real h = share(s);
    if (h == 0 && alpha < 1) return {};  // the one-sided slope there is infinite
    return {.entropy = static_cast<real>(alpha / h_norm) * pow(h, static_cast<real>(alpha - 1))};
  }
  void validate() const {
    require(h_norm > 0 && std::isfinite(h_norm), "eaft::h_norm",
            "must be finite and > 0 nats, e.g. ln(vocab_size)");
    detail::require_at_least(0, alpha, "eaft::alpha");
  }

 private:
  template <class Stats>
  [[nodiscard]] IDIOLECT_HD typename Stats::real share(const Stats& s) const {
    using real = typename Stats::real;
    const real h = s.entropy();
    return h > 0 ? h / static_cast<real>(h_norm) : real{0};
  }
};

}  // namespace idiolect
