// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// In-distribution fine-tuning (arXiv 2602.12222): w = p^gamma with an exponent set by the token's
// CLL. A token foreign to the model (phi << 0) gets a large gamma and pulls little; at phi = 0 this
// is DFT; a token the model likes better than its average (phi > 0) pulls as in plain likelihood.
//
//   gamma_raw = exp(-phi / beta)
//   gamma     = clamp(gamma_raw, gamma_min, gamma_max)     clamp_gamma, the authors' code (default)
//             = exp(-clamp(phi, -bound, bound) / beta)     clamp_phi, the paper's formula
//   gamma_t   = 1 + strength (gamma - 1)
//   w         = p^gamma_t

#include <idiolect/loss/token_loss.hpp>

namespace idiolect {

/// Where IDFT's exponent is bounded: after the exponential, or before it.
enum class gamma_form { clamp_gamma, clamp_phi };

/// w = p^gamma_t. `strength` comes from a schedule: 0 is DFT (not plain likelihood), 1 all of IDFT.
struct idft {
  double beta = 1;
  double gamma_min = 0.1;
  double gamma_max = 2;
  double strength = 1;
  gamma_form form = gamma_form::clamp_gamma;
  double bound = 5;  ///< nats; clamp_phi only, useful from 3 to 10

  /// gamma_t at CLL `phi`.
  template <std::floating_point Real>
  [[nodiscard]] IDIOLECT_HD Real gamma(Real phi) const {
    using std::exp;
    Real g;
    if (form == gamma_form::clamp_gamma) {
      g = clamp(exp(-phi / static_cast<Real>(beta)), gamma_min, gamma_max);
    } else {
      g = exp(-clamp(phi, -bound, bound) / static_cast<Real>(beta));
    }
    return 1 + detail::silenced(static_cast<Real>(strength), g - 1);
  }

  /// d gamma_t / d phi; 0 where clamped.
  template <std::floating_point Real>
  [[nodiscard]] IDIOLECT_HD Real gamma_slope(Real phi) const {
    using std::exp;
    const Real raw = exp(-phi / static_cast<Real>(beta));
    const bool inside = form == gamma_form::clamp_gamma
                            ? raw > static_cast<Real>(gamma_min) && raw < static_cast<Real>(gamma_max)
                            : phi > static_cast<Real>(-bound) && phi < static_cast<Real>(bound);
    return inside ? -detail::silenced(static_cast<Real>(strength), raw) / static_cast<Real>(beta)
                  : Real{0};
  }

  template <class Stats>
  [[nodiscard]] IDIOLECT_HD typename Stats::real weight(const Stats& s) const {
    using std::exp;
    return exp(detail::silenced(gamma(s.phi()), s.log_prob()));
  }

  template <class Stats>
  [[nodiscard]] IDIOLECT_HD weight_slope<typename Stats::real> slope(const Stats& s) const {
    using real = typename Stats::real;
    const real w = weight(s);
    const real by_gamma =
        detail::silenced(detail::silenced(w, gamma_slope(s.phi())), s.log_prob());
    return {.log_prob = detail::silenced(w, gamma(s.phi())) + by_gamma, .entropy = by_gamma};
  }

  void validate() const {
    detail::require_above(0, beta, "idft::beta");
    detail::require_at_least(0, gamma_max, "idft::gamma_max");
    detail::require_within(0, gamma_max, gamma_min, "idft::gamma_min");
    require(strength >= 0 && strength <= 1, "idft::strength",
            "must be in [0, 1]; it is a schedule's value, not a learning rate");
    detail::require_at_least(0, bound, "idft::bound");
  }

 private:
  template <std::floating_point Real>
  [[nodiscard]] IDIOLECT_HD static Real clamp(Real x, double low, double high) {
    if (x < static_cast<Real>(low)) return static_cast<Real>(low);
    return x > static_cast<Real>(high) ? static_cast<Real>(high) : x;
  }
};

}  // namespace idiolect
