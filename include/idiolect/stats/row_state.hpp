// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The state of a row of logits that has been read in part, and its one operation, `merge`.
//
// For a set S of logits z with reference m = max z:
//
//   sum     = sum exp(z - m)
//   first   = sum (z - m) exp(z - m)                      E[z] - m = first / sum <= 0
//   spread  = sum (z - m - first/sum)^2 exp(z - m)        (varentropy only)
//   squares = sum exp 2(z - m)                            (collision only)
//
// merge(state(S), state(T)) = state(S + T), whatever the order: a commutative monoid whose identity
// is the default-constructed state (up to rounding; merge with the identity is exact). SIMD lanes,
// blocks, threads and vocabulary shards are all this one merge. Every term of `first` is <= 0 and
// every other term >= 0, so nothing cancels.
//
// -inf is the identity: a masked token. NaN and +inf make `sum` NaN, for good.

#include <cmath>
#include <concepts>

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

}  // namespace detail

/// State of part of a row, in units of logits divided by the temperature. 3 to 5 numbers.
template <std::floating_point Real, moments Set = moments::basic>
struct row_state
    : detail::select_field<has(Set, moments::varentropy), detail::spread_field<Real>, detail::no_spread>,
      detail::select_field<has(Set, moments::collision), detail::squares_field<Real>, detail::no_squares> {
  Real max = -detail::infinity<Real>;
  Real sum = 0;
  Real first = 0;

  /// The state of one logit.
  [[nodiscard]] IDIOLECT_HD static row_state of(Real z) {
    row_state s;
    if (z == -detail::infinity<Real>) return s;
    s.max = z;
    s.sum = (z - z) + 1;  // NaN for NaN and +inf
    if constexpr (has(Set, moments::collision)) s.squares = s.sum;
    return s;
  }

  /// Some token has a positive probability and no logit is NaN or +inf.
  [[nodiscard]] IDIOLECT_HD bool finite() const { return sum > 0; }
};

/// The state of both parts together. O(1), two exponentials.
template <std::floating_point Real, moments Set>
[[nodiscard]] IDIOLECT_HD row_state<Real, Set> merge(const row_state<Real, Set>& a,
                                                     const row_state<Real, Set>& b) {
  using std::exp;
  if (a.sum == 0) return b;
  if (b.sum == 0) return a;

  row_state<Real, Set> r;
  r.max = a.max < b.max ? b.max : a.max;
  const Real shift_a = a.max - r.max;
  const Real shift_b = b.max - r.max;
  const Real scale_a = exp(shift_a);
  const Real scale_b = exp(shift_b);
  const Real mass_a = a.sum * scale_a;
  const Real mass_b = b.sum * scale_b;
  r.sum = mass_a + mass_b;
  // A part whose scale underflows contributes nothing; its shift may be infinite.
  r.first = (scale_a == 0 ? Real{0} : scale_a * (a.first + shift_a * a.sum)) +
            (scale_b == 0 ? Real{0} : scale_b * (b.first + shift_b * b.sum));

  if constexpr (has(Set, moments::varentropy)) {  // Chan, Golub, LeVeque 1979
    r.spread = scale_a * a.spread + scale_b * b.spread;
    if (mass_a != 0 && mass_b != 0) {
      const Real distance = (a.first / a.sum + shift_a) - (b.first / b.sum + shift_b);
      r.spread += distance * distance * (mass_a * (mass_b / r.sum));
    }
  }
  if constexpr (has(Set, moments::collision)) {
    r.squares = scale_a * scale_a * a.squares + scale_b * scale_b * b.squares;
  }
  return r;
}

}  // namespace idiolect
