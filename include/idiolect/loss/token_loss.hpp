// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a loss is: a scalar function f(l, H, lse, ...) of a row's statistics, with its partials.
// Its gradient with respect to the row's logits z then lies in the span of three vectors:
//
//   dz = a (p - e_y) + b p * (log p + H) + c p,    a = -df/dl,  b = -df/dH,  c = df/dlse
//
// A gate is the common case: a weight w under stop-gradient, f = -w l, so a = w and b = c = 0.
// A new loss or gate is one small struct; every backend runs it.

#include <cmath>
#include <concepts>
#include <utility>

#include <idiolect/config.hpp>
#include <idiolect/core/bounds.hpp>
#include <idiolect/core/error.hpp>
#include <idiolect/stats/row_stats.hpp>

namespace idiolect {

/// A loss's value at one row, in nats for the usual ones, and its partials with their signs.
template <std::floating_point Real>
struct loss_terms {
  Real value = 0;
  Real a = 0;  ///< -df/dl: the pull towards the target; the weight, for a gate
  Real b = 0;  ///< -df/dH
  Real c = 0;  ///< df/dlse
};

/// The moments a gate or loss asks for: its `required` member, or none.
template <class T>
inline constexpr moments required_moments = [] {
  if constexpr (requires { { T::required } -> std::convertible_to<moments>; }) {
    return T::required;
  } else {
    return moments::basic;
  }
}();

namespace detail {
template <class T, class Real>
using stats_for = row_stats<Real, required_moments<T>>;

template <class G, class Stats>
concept weighs = requires(const G& gate, const Stats& stats) { gate.weight(stats); } ||
                 requires(const G& gate, const Stats& stats) { gate(stats); };

// Either a member `weight`, or the object itself called with the statistics.
template <class G, class Stats>
  requires weighs<G, Stats>
IDIOLECT_HD auto weight_of(const G& gate, const Stats& stats) {
  if constexpr (requires { gate.weight(stats); }) {
    return gate.weight(stats);
  } else {
    return gate(stats);
  }
}
}  // namespace detail

/// Requirements, for a const gate `g` and the statistics `s` of a finite row:
///  (1) `g.weight(s)`, or `g(s)`, is a finite floating-point number; it may be negative.
///  (2) It depends on nothing else, and may be called from several threads, and on a device if the
///      gate is used there (IDIOLECT_HD).
///  (3) `G::required` names the moments it reads beyond log_prob, entropy, phi and lse, if any.
///  (4) `g.validate()`, if there is one, raises shape_error for options that make no sense; the
///      host entry points call it.
template <class G>
concept gate = std::copy_constructible<G> && requires(const G& g, detail::stats_for<G, double> s) {
  { detail::weight_of(g, s) } -> std::convertible_to<double>;
};

/// Requirements, for a const loss `f` and the statistics `s` of a finite row: `f.evaluate(s)` gives
/// loss_terms; otherwise as for a gate.
template <class L>
concept token_loss = std::copy_constructible<L> &&
                     requires(const L& f, detail::stats_for<L, double> s) {
                       { f.evaluate(s) } -> std::same_as<loss_terms<double>>;
                     };

/// A gate that knows its own slope: `g.slope(s)` is {dw/dl, dw/dH, dw/dlse}.
/// Varentropy and collision have none, their gradient leaves the span.
template <std::floating_point Real>
struct weight_slope {
  Real log_prob = 0;
  Real entropy = 0;
  Real lse = 0;
};

template <class G>
concept differentiable_gate = gate<G> && requires(const G& g, detail::stats_for<G, double> s) {
  { g.slope(s) } -> std::same_as<weight_slope<double>>;
};

/// Whether the weight counts as a constant (what the papers train with), or is differentiated too.
enum class gradient_flow { stop, through_weight };

namespace detail {
template <class L>
void validate_options(const L& loss) {
  if constexpr (requires { loss.validate(); }) loss.validate();
}

/// x * y with 0 * inf = 0: a weight of exactly zero silences a token that has no probability.
template <std::floating_point Real>
[[nodiscard]] IDIOLECT_HD Real silenced(Real weight, Real x) {
  return weight == 0 ? Real{0} : weight * x;
}
}  // namespace detail

/// The token loss f = -w l of a gate.
///
/// Through the weight, the sign of the gradient can change: -p^g log p has its maximum at
/// p = exp(-1/g), below which training pushes the target's probability *down*. Ask for it only on
/// purpose.
template <gate Gate, gradient_flow Flow = gradient_flow::stop>
struct gated {
  static constexpr moments required = required_moments<Gate>;

  Gate gate_function{};

  void validate() const { detail::validate_options(gate_function); }

  template <std::floating_point Real, moments Set>
  [[nodiscard]] IDIOLECT_HD loss_terms<Real> evaluate(const row_stats<Real, Set>& s) const {
    const auto w = static_cast<Real>(detail::weight_of(gate_function, s));
    const Real l = s.log_prob();
    loss_terms<Real> r;
    r.value = detail::silenced(w, -l);
    r.a = w;
    if constexpr (Flow == gradient_flow::through_weight) {
      static_assert(differentiable_gate<Gate>,
                    "idiolect: this gate has no slope(); only a gate on log_prob, entropy "
                    "and lse can be differentiated through its weight");
      static_assert(required == moments::basic,
                    "idiolect: the gradient of varentropy and collision leaves the span; a gate on "
                    "them is for stop-gradient only");
      const weight_slope<Real> slope = gate_function.slope(s);
      r.a += detail::silenced(slope.log_prob, l);
      r.b = detail::silenced(slope.entropy, l);
      r.c = detail::silenced(slope.lse, -l);
    }
    return r;
  }
};

namespace detail {
/// Whether evaluate() may return b != 0, a gradient in p (log p + H). A gate under stop-gradient
/// never does, and its rows are taken faster.
template <class L>
inline constexpr bool may_pull_entropy = true;
template <class G>
inline constexpr bool may_pull_entropy<gated<G, gradient_flow::stop>> = false;
}  // namespace detail

/// `gate` with its weight differentiated; see `gated` for why this is rarely wanted.
template <gate Gate>
[[nodiscard]] constexpr auto through_weight(Gate g) {
  return gated<Gate, gradient_flow::through_weight>{std::move(g)};
}

/// A token loss as it is; a gate, or any callable from statistics to a weight, as its loss.
template <class L>
  requires(token_loss<L> || gate<L>)
[[nodiscard]] constexpr auto as_token_loss(const L& loss) {
  if constexpr (token_loss<L>) {
    return loss;
  } else {
    return gated<L>{loss};
  }
}

}  // namespace idiolect
