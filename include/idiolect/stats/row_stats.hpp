// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The statistics of a finished row: the distribution p = softmax(z) and one target y in it.
// Natural logarithms; entropy and CLL in nats.
//
//   log_prob = z_y - lse          entropy = lse - E_p[z]          phi = z_y - E_p[z]
//
// All are differences from the row's maximum, so that a shift of the whole row changes nothing and
// no difference of large numbers is ever taken: phi never goes through lse. By construction, and
// whatever is rounded: log_prob <= 0, entropy >= 0, phi <= entropy, varentropy >= 0, and all are 0
// exactly where one token is possible.

#include <cmath>
#include <concepts>
#include <type_traits>

#include <idiolect/config.hpp>
#include <idiolect/core/scalar.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/stats/row_state.hpp>

namespace idiolect {

/// Statistics of one row and its target. Under a temperature, logits below mean z / temperature.
/// Every statistic of a row that is not finite is NaN.
template <std::floating_point Real, moments Set = moments::basic>
struct row_stats {
  using real = Real;
  static constexpr moments available = Set;

  Real max = 0;            ///< largest logit
  Real max_logit = 0;      ///< the same as it stands in the row: no temperature divides it
  Real log_sum = 0;        ///< lse - max, in [0, ln V]
  Real mean_offset = 0;    ///< E_p[z] - max, <= 0
  Real target_offset = 0;  ///< z_y - max, <= 0; -inf for a masked target
  Real varentropy_or_nan = detail::quiet_nan<Real>;
  Real collision_or_nan = detail::quiet_nan<Real>;
  token_id target = 0;       ///< y
  Real external_weight = 1;  ///< the caller's weight of this token, e.g. an advantage

  /// log p_y, nats, <= 0.
  [[nodiscard]] IDIOLECT_HD Real log_prob() const { return target_offset - log_sum; }
  /// p_y.
  [[nodiscard]] IDIOLECT_HD Real prob() const {
    using std::exp;
    return exp(log_prob());
  }
  /// H(p), nats, in [0, ln V].
  [[nodiscard]] IDIOLECT_HD Real entropy() const { return log_sum - mean_offset; }
  /// Centred log-likelihood log p_y + H(p), nats. Zero on average for the model's own tokens.
  [[nodiscard]] IDIOLECT_HD Real phi() const { return target_offset - mean_offset; }
  /// log sum_i exp z_i.
  [[nodiscard]] IDIOLECT_HD Real lse() const { return max + log_sum; }

  /// Var_p[log p], nats^2.
  [[nodiscard]] IDIOLECT_HD Real varentropy() const {
    static_assert(has(Set, moments::varentropy),
                  "idiolect: the varentropy was not accumulated; declare `static constexpr "
                  "idiolect::moments required = idiolect::moments::varentropy;` in your gate");
    return varentropy_or_nan;
  }
  /// sum_i p_i^2, in [1/V, 1].
  [[nodiscard]] IDIOLECT_HD Real collision() const {
    static_assert(has(Set, moments::collision),
                  "idiolect: the collision probability was not accumulated; declare `static "
                  "constexpr idiolect::moments required = idiolect::moments::collision;` in your "
                  "gate");
    return collision_or_nan;
  }

  /// The row had a positive probability somewhere and neither NaN nor +inf.
  [[nodiscard]] IDIOLECT_HD bool finite() const { return log_sum == log_sum; }
};

/// Statistics from the state of a whole row and its target's logit, which no temperature divides.
template <std::floating_point Real, moments Set>
[[nodiscard]] IDIOLECT_HD row_stats<Real, Set> finish(
    const row_state<Real, Set>& state, std::type_identity_t<Real> target_logit, token_id target = 0,
    std::type_identity_t<Real> inverse_temperature = 1) {
  using std::log;
  using std::log1p;
  constexpr Real nan = detail::quiet_nan<Real>;
  row_stats<Real, Set> r;
  r.target = target;
  if (!state.finite()) {
    r.max = r.max_logit = r.log_sum = r.mean_offset = r.target_offset = nan;
    return r;
  }
  const Real sum = state.sum();
  r.max = state.max * inverse_temperature;
  r.max_logit = state.max;
  r.log_sum = state.rest < 1 ? log1p(state.rest) : log(sum);  // where both serve, the faster
  r.mean_offset = state.first / sum;
  r.target_offset = detail::tempered_offset(target_logit, state.max, inverse_temperature);
  if constexpr (has(Set, moments::varentropy)) r.varentropy_or_nan = state.spread / sum;
  if constexpr (has(Set, moments::collision)) r.collision_or_nan = state.squares / (sum * sum);
  return r;
}

}  // namespace idiolect
