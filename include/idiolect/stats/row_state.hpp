// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The state of a row of logits that has been read in part, and its one operation, `merge`.
//
// For a set S of logits z with m = max z, and t = (z - m) / temperature:
//
//   rest    = sum exp t, but for one logit that is m          sum = 1 + rest
//   first   = sum t exp t                                     (E[z] - m) / temperature = first / sum
//   spread  = sum (t - first/sum)^2 exp t                     (varentropy only)
//   squares = sum exp 2t                                      (collision only)
//
// merge(state(S), state(T)) = state(S + T), whatever the order: a commutative monoid whose identity
// is the default-constructed state (up to rounding; merge with the identity is exact). SIMD lanes,
// blocks, threads and vocabulary shards are all this one merge. Every term of `first` is <= 0 and
// every other term >= 0, so nothing cancels.
//
// m is the logit as it stands in the row, and only differences from it are divided by the
// temperature: z/T - m/T would keep the roundings of two large numbers, or of one where a compiler
// fuses the other's product. The largest logit's own mass, 1, is left out of `rest`, which next to
// it would lose its digits where the model is nearly certain: log p = -log(1 + rest), the entropy
// and 1 - p all are as good near 0 as elsewhere.
//
// -inf is the identity: a masked token. NaN and +inf make `rest` NaN, for good.

#include <cmath>
#include <concepts>
#include <type_traits>

#include <idiolect/config.hpp>
#include <idiolect/core/scalar.hpp>

namespace idiolect {

/// What is accumulated beside log-sum-exp and entropy. Each costs arithmetic for every logit.
enum class moments : unsigned {
  basic = 0,       ///< log-sum-exp, entropy, CLL
  varentropy = 1,  ///< Var_p[log p]
  collision = 2    ///< sum p^2
};

[[nodiscard]] IDIOLECT_HD constexpr moments operator|(moments a, moments b) {
  return static_cast<moments>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}
[[nodiscard]] IDIOLECT_HD constexpr bool has(moments set, moments m) {
  return (static_cast<unsigned>(set) & static_cast<unsigned>(m)) == static_cast<unsigned>(m);
}

namespace detail {

struct no_spread {};
struct no_squares {};
template <class Real>
struct spread_field {
  Real spread = 0;
};
template <class Real>
struct squares_field {
  Real squares = 0;
};
template <bool Present, class Field, class Nothing>
struct select_field : Field {};
template <class Field, class Nothing>
struct select_field<false, Field, Nothing> : Nothing {};

/// (z - max) / temperature. Where the difference overflows, each is divided first: a temperature
/// may be as large as the logits.
template <std::floating_point Real>
[[nodiscard]] IDIOLECT_HD Real tempered_offset(Real z, Real max, Real inverse_temperature) {
#if defined(__clang__)  // given leave, it makes z/T - max/T of it
#pragma clang fp reassociate(off)
#endif
  const Real offset = z - max;
  return is_finite(offset) ? offset * inverse_temperature
                           : z * inverse_temperature - max * inverse_temperature;
}

}  // namespace detail

/// State of part of a row at some temperature, which it does not hold. 3 to 5 numbers.
template <std::floating_point Real, moments Set = moments::basic>
struct row_state
    : detail::select_field<has(Set, moments::varentropy), detail::spread_field<Real>, detail::no_spread>,
      detail::select_field<has(Set, moments::collision), detail::squares_field<Real>, detail::no_squares> {
  Real max = -detail::infinity<Real>;  ///< the largest logit, which no temperature divides
  Real rest = -1;                      ///< what the largest leaves; -1 where there is no logit
  Real first = 0;

  /// The state of one logit.
  [[nodiscard]] IDIOLECT_HD static row_state of(Real z) {
    row_state s;
    if (z == -detail::infinity<Real>) return s;
    s.max = z;
    s.rest = detail::is_finite(z) ? Real{0} : detail::quiet_nan<Real>;
    if constexpr (has(Set, moments::collision)) s.squares = s.sum();
    return s;
  }

  /// sum exp((z - max) / temperature), the largest included.
  [[nodiscard]] IDIOLECT_HD Real sum() const { return 1 + rest; }
  /// Nothing, or masked tokens only: the identity.
  [[nodiscard]] IDIOLECT_HD bool empty() const { return rest == -1; }
  /// Some token has a positive probability and no logit is NaN or +inf.
  [[nodiscard]] IDIOLECT_HD bool finite() const { return rest >= 0; }
};

/// The state of both parts together, of one temperature. O(1), two exponentials.
template <std::floating_point Real, moments Set>
[[nodiscard]] IDIOLECT_HD row_state<Real, Set> merge(
    const row_state<Real, Set>& a, const row_state<Real, Set>& b,
    std::type_identity_t<Real> inverse_temperature = 1) {
  using std::exp;
  if (a.empty()) return b;
  if (b.empty()) return a;

  row_state<Real, Set> r;
  const bool b_leads = a.max < b.max;
  r.max = b_leads ? b.max : a.max;
  const Real shift_a = detail::tempered_offset(a.max, r.max, inverse_temperature);
  const Real shift_b = detail::tempered_offset(b.max, r.max, inverse_temperature);
  const Real scale_a = exp(shift_a);
  const Real scale_b = exp(shift_b);
  const Real mass_a = scale_a * a.sum();
  const Real mass_b = scale_b * b.sum();
  r.rest = b_leads ? mass_a + b.rest : a.rest + mass_b;
  // A part whose scale underflows contributes nothing; its shift may be infinite.
  r.first = (scale_a == 0 ? Real{0} : scale_a * (a.first + shift_a * a.sum())) +
            (scale_b == 0 ? Real{0} : scale_b * (b.first + shift_b * b.sum()));

  if constexpr (has(Set, moments::varentropy)) {  // Chan, Golub, LeVeque 1979
    r.spread = scale_a * a.spread + scale_b * b.spread;
    if (mass_a != 0 && mass_b != 0) {
      const Real distance = (a.first / a.sum() + shift_a) - (b.first / b.sum() + shift_b);
      r.spread += distance * distance * (mass_a * (mass_b / r.sum()));
    }
  }
  if constexpr (has(Set, moments::collision)) {
    r.squares = scale_a * scale_a * a.squares + scale_b * scale_b * b.squares;
  }
  return r;
}

}  // namespace idiolect
