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

/// exp((z - reference) / temperature) for z up to the reference: a subtraction first, since that
/// loses nothing however far all logits are from 0.
template <class Real>
struct tempered_exp {
  Real reference = 0;
  Real scale = 0;  ///< log2(e) / temperature

  IDIOLECT_HD tempered_exp(Real max, Real inverse_temperature) {
    constexpr Real log2_e = static_cast<Real>(1.4426950408889634074L);
    reference = max == -infinity<Real> ? Real{0} : max;
    scale = inverse_temperature * log2_e;
    if (scale == infinity<Real>) scale = inverse_temperature;  // 0 * scale stays 0
  }

  /// z - reference.
  [[nodiscard]] IDIOLECT_HD Real offset(Real z) const { return z - reference; }
  [[nodiscard]] IDIOLECT_HD Real operator()(Real offset) const { return fast_exp2(offset * scale); }
  /// An offset that may be multiplied by the exponential of -inf, which is 0.
  [[nodiscard]] IDIOLECT_HD static Real bounded(Real offset) {
    return larger{}(offset, static_cast<Real>(-3e38));
  }
};

/// Sums over a tile, relative to its maximum, in units of logits that no temperature divides yet.
template <class Real, moments Set>
struct tile_sums : select_field<has(Set, moments::collision), squares_field<Real>, no_squares> {
  Real sum = 0;
  Real first = 0;

  [[nodiscard]] IDIOLECT_HD friend tile_sums operator+(const tile_sums& a, const tile_sums& b) {
    tile_sums r;
    r.sum = a.sum + b.sum;
    r.first = a.first + b.first;
    if constexpr (has(Set, moments::collision)) r.squares = a.squares + b.squares;
    return r;
  }
};

/// A tile or row that has been read. The state is that of (z - max) / temperature, so that it loses
/// nothing however far all logits are from 0; no temperature divides `max`.
template <class Real, moments Set>
struct folded_row {
  row_state<Real, Set> state;
  Real max = -infinity<Real>;
};

/// Sums of a tile relative to its maximum: `r.state` but for the maximum, which is 0 there.
template <class Tile, class Real, moments Set, row_group Group>
IDIOLECT_HD void sum_tile(const Group& group, Tile& tile, Real inverse_temperature,
                          folded_row<Real, Set>& r) {
  const tempered_exp<Real> exponential(r.max, inverse_temperature);
  tile_sums<Real, Set> sums;
  tile.for_each([&](Real z) {
    const Real x = exponential.offset(z);
    const Real p = exponential(x);
    sums.sum += p;
    sums.first += p * exponential.bounded(x);
    if constexpr (has(Set, moments::collision)) sums.squares += p * p;
  });
  sums = group.all_reduce(sums, plus{});
  r.state.sum = sums.sum;
  r.state.first = sums.first * inverse_temperature;
  if constexpr (has(Set, moments::collision)) r.state.squares = sums.squares;
  if constexpr (has(Set, moments::varentropy)) {
    tile.repack();
    const Real mean = sums.first / sums.sum;
    Real spread = 0;
    tile.for_each([&](Real z) {
      const Real x = exponential.offset(z);
      const Real p = exponential(x);
      const Real distance = exponential.bounded(x) - mean;
      if (p != 0) spread += p * distance * distance;
    });
    spread = group.all_reduce(spread, plus{});
    r.state.spread = sums.sum == 0 ? Real{0} : spread * inverse_temperature * inverse_temperature;
  }
}

/// The whole row, and in `tile` its last tile. Every thread gets the same. Synchronises.
template <moments Set, class T, tile_shape Shape, row_group Group>
[[nodiscard]] IDIOLECT_HD folded_row<accumulator_t<T>, Set> fold_row(
    const Group& group, const T* row, const row_layout<T>& layout,
    accumulator_t<T> inverse_temperature, row_tile<T, Shape>& tile) {
  using real = accumulator_t<T>;
  folded_row<real, Set> all;
  const int tiles = tile.tiles(layout, group.size());
  for (int t = 0; t < tiles; ++t) {
    tile.read(row, layout, t, group.rank(), group.size());
    folded_row<real, Set> part;
    part.max = group.all_reduce(tile.largest(), larger{});
    tile.repack();
    sum_tile(group, tile, inverse_temperature, part);
    tile.repack();
    if (part.max > all.max) {
      all.state.max = (all.max - part.max) * inverse_temperature;
      all.max = part.max;
    }
    part.state.max = part.max == all.max ? real{0} : (part.max - all.max) * inverse_temperature;
    all.state = merge(all.state, part.state);
  }
  return all;
}

/// The row's statistics with its target, whose logit is given as it stands in the row.
template <std::floating_point Wanted, std::floating_point Real, moments Set>
[[nodiscard]] IDIOLECT_HD row_stats<Wanted, Set> finish_row(const folded_row<Real, Set>& folded,
                                                            Real target_logit, token_id target,
                                                            Real inverse_temperature) {
  row_state<Wanted, Set> state;
  state.max = static_cast<Wanted>(folded.state.max);
  state.sum = static_cast<Wanted>(folded.state.sum);
  state.first = static_cast<Wanted>(folded.state.first);
  if constexpr (has(Set, moments::varentropy)) {
    state.spread = static_cast<Wanted>(folded.state.spread);
  }
  if constexpr (has(Set, moments::collision)) {
    state.squares = static_cast<Wanted>(folded.state.squares);
  }
  const Real offset = (target_logit - folded.max) * inverse_temperature;
  auto stats = finish(state, static_cast<Wanted>(offset), target);
  if (stats.finite()) stats.max = static_cast<Wanted>(folded.max * inverse_temperature);
  return stats;
}

}  // namespace idiolect::detail
