// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The statistics of a row by a group of threads. A tile's maximum is known before the first
// exponential is taken, so that within a tile all sums have one reference and joining them is plain
// addition; tiles are joined by the monoid's merge, in order.

#include <cmath>
#include <concepts>

#include <idiolect/backend/cuda/row_group.hpp>
#include <idiolect/backend/cuda/row_tile.hpp>
#include <idiolect/config.hpp>
#include <idiolect/core/scalar.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/stats/row_state.hpp>
#include <idiolect/stats/row_stats.hpp>

namespace idiolect::detail {

/// 2^x. On a device to 2 units in the last place, results below 2^-126 are 0.
[[nodiscard]] IDIOLECT_HD inline float fast_exp2(float x) {
#if defined(__CUDA_ARCH__)
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return std::exp2(x);
#endif
}
[[nodiscard]] IDIOLECT_HD inline double fast_exp2(double x) {
  using std::exp2;
  return exp2(x);
}

/// exp((z - max) / temperature) for z up to the maximum: a subtraction first, since that loses
/// nothing however far all logits are from 0. Of halves, since a difference may overflow, and not
/// matter, where a temperature is as large as the logits.
template <class Real>
struct tempered_exp {
  Real half_max = 0;
  Real scale = 0;  ///< 2 log2(e) / temperature

  IDIOLECT_HD tempered_exp(Real max, Real inverse_temperature) {
    constexpr Real two_log2_e = static_cast<Real>(2.8853900817779268147L);
    half_max = max == -infinity<Real> ? Real{0} : max / 2;
    scale = inverse_temperature * two_log2_e;
    if (scale == infinity<Real>) scale = inverse_temperature;  // 0 * scale stays 0
  }

  /// A nat, in the exponents' unit.
  static constexpr Real ln_2 = static_cast<Real>(0.69314718055994530942L);

  /// (z - max) / temperature, to base 2.
  [[nodiscard]] IDIOLECT_HD Real exponent(Real z) const { return (z / 2 - half_max) * scale; }
  [[nodiscard]] IDIOLECT_HD Real operator()(Real exponent) const { return fast_exp2(exponent); }
  /// An exponent that may be multiplied by the exponential of -inf, which is 0.
  [[nodiscard]] IDIOLECT_HD static Real bounded(Real exponent) {
    return larger{}(exponent, static_cast<Real>(-3e38));
  }
};

/// Sums over a tile, relative to its maximum, in units of tempered_exp's exponents. Logits that are
/// the maximum are counted, for the rest to keep its digits where it is small.
template <class Real, moments Set>
struct tile_sums : select_field<has(Set, moments::collision), squares_field<Real>, no_squares> {
  Real rest = 0;  ///< of the logits below the maximum
  Real first = 0;
  Real largest = 0;  ///< how many are the maximum

  [[nodiscard]] IDIOLECT_HD friend tile_sums operator+(const tile_sums& a, const tile_sums& b) {
    tile_sums r;
    r.rest = a.rest + b.rest;
    r.first = a.first + b.first;
    r.largest = a.largest + b.largest;
    if constexpr (has(Set, moments::collision)) r.squares = a.squares + b.squares;
    return r;
  }
};

/// Sums of a tile: all of its state `r` but the maximum, which is there already.
template <class Tile, class Real, moments Set, row_group Group>
IDIOLECT_HD void sum_tile(const Group& group, Tile& tile, Real inverse_temperature,
                          row_state<Real, Set>& r) {
  const tempered_exp<Real> exponential(r.max, inverse_temperature);
  tile_sums<Real, Set> sums;
  tile.for_each([&](Real z) {
    const Real x = exponential.exponent(z);
    const Real p = exponential(x);
    const bool is_largest = x == 0;
    sums.rest += is_largest ? Real{0} : p;
    sums.largest += is_largest ? Real{1} : Real{0};
    sums.first += p * exponential.bounded(x);
    if constexpr (has(Set, moments::collision)) sums.squares += p * p;
  });
  sums = group.all_reduce(sums, plus{});
  r.rest = sums.largest == 1 ? sums.rest : sums.rest + (sums.largest - 1);
  r.first = sums.first * exponential.ln_2;
  if constexpr (has(Set, moments::collision)) r.squares = sums.squares;
  if constexpr (has(Set, moments::varentropy)) {
    tile.repack();
    const Real mean = sums.first / (sums.rest + sums.largest);
    Real spread = 0;
    tile.for_each([&](Real z) {
      const Real x = exponential.exponent(z);
      const Real p = exponential(x);
      const Real distance = exponential.bounded(x) - mean;
      if (p != 0) spread += p * distance * distance;
    });
    spread = group.all_reduce(spread, plus{});
    r.spread = r.empty() ? Real{0} : spread * (exponential.ln_2 * exponential.ln_2);
  }
}

/// The whole row, and in `tile` its last tile. Every thread gets the same. Synchronises.
template <moments Set, class T, tile_shape Shape, row_group Group>
[[nodiscard]] IDIOLECT_HD row_state<accumulator_t<T>, Set> fold_row(
    const Group& group, const T* row, const row_layout<T>& layout,
    accumulator_t<T> inverse_temperature, row_tile<T, Shape>& tile) {
  using real = accumulator_t<T>;
  row_state<real, Set> all;
  const int tiles = tile.tiles(layout, group.size());
  for (int t = 0; t < tiles; ++t) {
    tile.read(row, layout, t, group.rank(), group.size());
    row_state<real, Set> part;
    part.max = group.all_reduce(tile.largest(), larger{});
    tile.repack();
    sum_tile(group, tile, inverse_temperature, part);
    tile.repack();
    all = merge(all, part, inverse_temperature);
  }
  return all;
}

/// The row's statistics with its target, whose logit is given as it stands in the row.
template <std::floating_point Wanted, std::floating_point Real, moments Set>
[[nodiscard]] IDIOLECT_HD row_stats<Wanted, Set> finish_row(const row_state<Real, Set>& folded,
                                                            Real target_logit, token_id target,
                                                            Real inverse_temperature) {
  row_state<Wanted, Set> state;
  state.max = static_cast<Wanted>(folded.max);
  state.rest = static_cast<Wanted>(folded.rest);
  state.first = static_cast<Wanted>(folded.first);
  if constexpr (has(Set, moments::varentropy)) state.spread = static_cast<Wanted>(folded.spread);
  if constexpr (has(Set, moments::collision)) state.squares = static_cast<Wanted>(folded.squares);
  return finish(state, static_cast<Wanted>(target_logit), target,
                static_cast<Wanted>(inverse_temperature));
}

}  // namespace idiolect::detail
