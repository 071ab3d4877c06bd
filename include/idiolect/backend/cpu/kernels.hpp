// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The two passes of the CPU backend over one row: `fold_row` for the statistics, `span_row` for the
// gradient. A row is cut into blocks that fit the first-level cache; a block is read, reduced in
// SIMD lanes in the accumulation type, and merged into the row's state in double. Blocks, lanes and
// their order are fixed, so a row's bits depend on nothing but the row and the instruction set.

#include <algorithm>
#include <cmath>
#include <concepts>
#include <limits>
#include <type_traits>

#include <idiolect/backend/cpu/packet.hpp>
#include <idiolect/config.hpp>
#include <idiolect/core/scalar.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/loss/span.hpp>
#include <idiolect/stats/row_state.hpp>

namespace idiolect::detail {

/// Elements of a block: 8 KiB of float, so that a block, its exponentials and its widened copy stay
/// in a 32 KiB cache.
inline constexpr index_t fold_block_size = 2048;

/// Terms that a lane adds up before its sum goes to double. Terms far below a lane's sum are lost,
/// always in the same direction where they are equal: 8 of them bound that to 8 * 2^-24 of the sum,
/// a whole block's would be 8e-6 of it with SSE.
inline constexpr index_t lane_run = 8;

/// `source` in the accumulation type: itself, or widened into `buffer`.
template <logit_scalar T>
const accumulator_t<T>* widened(const T* source, index_t n, accumulator_t<T>* buffer) {
  if constexpr (std::same_as<T, accumulator_t<T>>) {
    return source;
  } else {
    for (index_t i = 0; i < n; ++i) buffer[i] = load(source[i]);
    return buffer;
  }
}

/// Largest of n values; NaNs may or may not win.
template <std::floating_point A>
A block_max(const A* x, index_t n) {
  using P = packet<A>;
  constexpr index_t step = 4 * P::lanes;
  A largest = -std::numeric_limits<A>::infinity();
  index_t i = 0;
  if (n >= step) {
    P m0 = P::load(x), m1 = P::load(x + P::lanes);
    P m2 = P::load(x + 2 * P::lanes), m3 = P::load(x + 3 * P::lanes);
    for (i = step; i + step <= n; i += step) {
      m0 = P::max(m0, P::load(x + i));
      m1 = P::max(m1, P::load(x + i + P::lanes));
      m2 = P::max(m2, P::load(x + i + 2 * P::lanes));
      m3 = P::max(m3, P::load(x + i + 3 * P::lanes));
    }
    largest = P::max(P::max(m0, m1), P::max(m2, m3)).largest();
  }
  for (; i < n; ++i) largest = largest < x[i] ? x[i] : largest;
  return largest;
}

/// Calls `vector(i, k)` for i = 0, lanes, 2 lanes, ... with the number k (0 to 3) of the accumulator
/// to use, `flush()` after every lane_run uses of each, then `scalar(i)` for what is left.
template <std::floating_point A, class Vector, class Scalar, class Flush>
void for_lanes(index_t n, Vector&& vector, Scalar&& scalar, Flush&& flush) {
  constexpr index_t lanes = packet<A>::lanes;
  constexpr index_t step = 4 * lanes;
  const index_t whole = n / step * step;
  index_t i = 0;
  while (i < whole) {
    const index_t stop = std::min(whole, i + lane_run * step);
    for (; i < stop; i += step) {
      vector(i, 0);
      vector(i + lanes, 1);
      vector(i + 2 * lanes, 2);
      vector(i + 3 * lanes, 3);
    }
    flush();
  }
  for (; i + lanes <= n; i += lanes) vector(i, 0);
  for (; i < n; ++i) scalar(i);
}

/// Four registers of partial sums, and in double what they were flushed to and the scalar rest.
template <std::floating_point A>
struct lane_sums {
  packet<A> part[4] = {packet<A>::all(0), packet<A>::all(0), packet<A>::all(0), packet<A>::all(0)};
  double rest = 0;

  void flush() {
    rest += ((part[0] + part[1]) + (part[2] + part[3])).sum();
    for (packet<A>& p : part) p = packet<A>::all(0);
  }

  void add(int k, packet<A> x) { part[k] = part[k] + x; }
  void add_product(int k, packet<A> x, packet<A> y) {
    part[k] = packet<A>::multiply_add(x, y, part[k]);
  }
  [[nodiscard]] double total() {
    flush();
    return rest;
  }
};

/// State of one block of n <= fold_block_size values.
template <moments Set, std::floating_point A>
row_state<double, Set> fold_block(const A* x, index_t n, double inverse_temperature) {
  IDIOLECT_ASSERT(n <= fold_block_size);
  using P = packet<A>;
  const auto scale = static_cast<A>(inverse_temperature);
  constexpr bool spread = has(Set, moments::varentropy);
  constexpr bool squares = has(Set, moments::collision);
  const A largest = block_max(x, n);
  const A reference = largest == -std::numeric_limits<A>::infinity() ? A{0} : largest;
  const P reference_lanes = P::all(reference);
  const P scale_lanes = P::all(scale);
  A exponentials[spread ? fold_block_size : 1];

  lane_sums<A> sum, first, square;
  for_lanes<A>(
      n,
      [&](index_t i, int k) {
        const P d = (P::load(x + i) - reference_lanes) * scale_lanes;
        const P e = exp_nonpositive(d);
        sum.add(k, e);
        first.add_product(k, e, bounded(d));
        if constexpr (squares) square.add_product(k, e, e);
        if constexpr (spread) e.store(exponentials + i);
      },
      [&](index_t i) {
        const A d = (x[i] - reference) * scale;
        const A e = exp_nonpositive(d);
        sum.rest += static_cast<double>(e);
        first.rest += static_cast<double>(e * bounded(d));
        if constexpr (squares) square.rest += static_cast<double>(e * e);
        if constexpr (spread) exponentials[i] = e;
      },
      [&] {
        sum.flush();
        first.flush();
        if constexpr (squares) square.flush();
      });

  row_state<double, Set> state;
  state.first = first.total();
  // NaN and +inf arrive in `first`: their distance to the maximum is NaN.
  state.sum = std::isnan(state.first) ? state.first : sum.total();
  if (state.sum == 0) return {};
  // In double, as the target's logit is scaled: rounding the factor would count |max| times.
  state.max = static_cast<double>(reference) * inverse_temperature;
  // A maximum that overflows by that is what it is as a single logit: not finite, or masked.
  if (!std::isfinite(state.max)) return row_state<double, Set>::of(state.max);
  if constexpr (squares) state.squares = square.total();
  if constexpr (spread) {
    const auto mean = static_cast<A>(state.first / state.sum);
    const P mean_lanes = P::all(mean);
    lane_sums<A> deviation;
    for_lanes<A>(
        n,
        [&](index_t i, int k) {
          const P d = bounded((P::load(x + i) - reference_lanes) * scale_lanes) - mean_lanes;
          deviation.add_product(k, P::load(exponentials + i) * d, d);
        },
        [&](index_t i) {
          const A d = bounded((x[i] - reference) * scale) - mean;
          deviation.rest += static_cast<double>(exponentials[i] * d * d);
        },
        [&] { deviation.flush(); });
    state.spread = deviation.total();
  }
  return state;
}

/// State of a row of n logits times the inverse temperature. O(n); one buffer of a block at most.
template <moments Set, logit_scalar T>
row_state<double, Set> fold_row(const T* row, index_t n, double inverse_temperature) {
  using A = accumulator_t<T>;
  A buffer[std::same_as<T, A> ? 1 : fold_block_size];
  row_state<double, Set> state;
  for (index_t i = 0; i < n; i += fold_block_size) {
    const index_t count = std::min(fold_block_size, n - i);
    const A* const block = widened(row + i, count, buffer);
    state = merge(state, fold_block<Set>(block, count, inverse_temperature));
  }
  return state;
}

/// Gradient of one block without the target's pull, n <= fold_block_size. `out` may be `x`.
template <bool Entropic, bool Accumulate, std::floating_point A>
void span_block(const A* x, A* out, index_t n, A reference, A inverse_sum, const row_span<A>& r) {
  using P = packet<A>;
  const P reference_lanes = P::all(reference);
  const P scale_lanes = P::all(r.inverse_temperature);
  const P mean_lanes = P::all(r.mean_offset);
  const P common_lanes = P::all(r.common * inverse_sum);
  const P entropic_lanes = P::all(r.entropic * inverse_sum);
  for_lanes<A>(
      n,
      [&](index_t i, int) {
        const P d = (P::load(x + i) - reference_lanes) * scale_lanes;
        P factor = common_lanes;
        if constexpr (Entropic) {
          factor = P::multiply_add(entropic_lanes, bounded(d) - mean_lanes, factor);
        }
        P dz = exp_nonpositive(d) * factor;
        if constexpr (Accumulate) dz = dz + P::load(out + i);
        dz.store(out + i);
      },
      [&](index_t i) {
        const A d = (x[i] - reference) * r.inverse_temperature;
        A factor = r.common * inverse_sum;
        if constexpr (Entropic) factor += r.entropic * inverse_sum * (bounded(d) - r.mean_offset);
        A dz = exp_nonpositive(d) * factor;
        if constexpr (Accumulate) dz += out[i];
        out[i] = dz;
      },
      [] {});
}

/// Writes (or adds) the gradient of a finite row of n logits; `gradient` may be `row`. O(n).
template <logit_scalar T, logit_scalar G>
void span_row(const T* row, G* gradient, index_t n, const row_span<double>& r, bool accumulate) {
  using A = accumulator_t<T>;
  const row_span<A> narrow{static_cast<A>(r.max),
                           static_cast<A>(r.log_sum),
                           static_cast<A>(r.mean_offset),
                           static_cast<A>(r.inverse_temperature),
                           static_cast<A>(r.common),
                           static_cast<A>(r.entropic),
                           static_cast<A>(r.pull),
                           r.target};
  // Back to the units of the logits: the difference z - max is then exact near the maximum.
  const auto reference = static_cast<A>(r.max / r.inverse_temperature);
  const auto inverse_sum = static_cast<A>(std::exp(-r.log_sum));
  constexpr bool direct = std::same_as<std::remove_cv_t<G>, A>;
  A buffer[std::same_as<T, A> ? 1 : fold_block_size];
  A scratch[direct ? 1 : fold_block_size];

  const index_t target = r.target;
  const index_t target_block = target / fold_block_size * fold_block_size;
  for (index_t i = 0; i < n; i += fold_block_size) {
    const index_t count = std::min(fold_block_size, n - i);
    const A* const x = widened(row + i, count, buffer);
    A* out;
    if constexpr (direct) {
      out = gradient + i;
    } else {
      out = scratch;
    }
    const auto run = [&]<bool Entropic>(std::bool_constant<Entropic>) {
      direct && accumulate
          ? span_block<Entropic, true>(x, out, count, reference, inverse_sum, narrow)
          : span_block<Entropic, false>(x, out, count, reference, inverse_sum, narrow);
    };
    narrow.entropic == 0 ? run(std::false_type{}) : run(std::true_type{});
    if (i == target_block) out[target - i] -= narrow.pull;
    if constexpr (!direct) {  // added in the wider type: a gradient in double keeps its digits
      for (index_t j = 0; j < count; ++j) {
        G& dz = gradient[i + j];
        dz = accumulate ? store<G>(scratch[j] + load(dz)) : store<G>(scratch[j]);
      }
    }
  }
}

}  // namespace idiolect::detail
