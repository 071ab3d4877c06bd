// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The inner loops of the CPU backend: what is done to one block of a row, at most `block_size`
// values in the accumulation type, with u = unit / temperature (`exponential`):
//
//   sum   = sum_i 2^t_i      t_i = (z_i - m) u      (2: or e, whichever base is fast)
//   first = sum_i 2^t_i t_i
//
// A loop takes along whatever else touches memory at the same pace: looking at the block that
// follows (`ahead`), writing a row that is done (`beside`). Both are callables on a packet's offset
// and the register, 0 to 3, that is its turn.

#include <algorithm>
#include <cmath>
#include <concepts>
#include <limits>

#include <idiolect/backend/cpu/convert.hpp>
#include <idiolect/backend/cpu/packet.hpp>
#include <idiolect/backend/cpu/tuning.hpp>
#include <idiolect/config.hpp>
#include <idiolect/core/scalar.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/stats/row_state.hpp>

namespace idiolect::detail {

template <std::floating_point A>
inline constexpr index_t block_size = 4 * packet<A>::lanes * lane_run * block_runs;

/// `n` stored scalars as a whole number of packets; what is beyond n is -inf. `out` has room.
template <logit_scalar T>
void widen_padded(const T* source, index_t n, accumulator_t<T>* out) {
  using P = packet<accumulator_t<T>>;
  index_t i = 0;
  for (; i + P::lanes <= n; i += P::lanes) load_packet(source + i).store(out + i);
  for (; i < n; ++i) out[i] = load(source[i]);
  for (; i % P::lanes != 0; ++i) out[i] = -std::numeric_limits<accumulator_t<T>>::infinity();
}

/// Largest of n values; NaNs may or may not win.
template <std::floating_point A>
A block_max(const A* x, index_t n) {
  using P = packet<A>;
  constexpr index_t step = 4 * P::lanes;
  A largest = -std::numeric_limits<A>::infinity();
  index_t i = 0;
  if (n >= step) {
    P m[4];
    for (index_t k = 0; k < 4; ++k) m[k] = P::load(x + k * P::lanes);
    for (i = step; i + step <= n; i += step) {
      for (index_t k = 0; k < 4; ++k) m[k] = P::max(m[k], P::load(x + i + k * P::lanes));
    }
    largest = P::max(P::max(m[0], m[1]), P::max(m[2], m[3])).largest();
  }
  for (; i < n; ++i) largest = largest < x[i] ? x[i] : largest;
  return largest;
}

/// A sum over a block: four registers for a run of terms, one for a few runs, then double.
template <std::floating_point A>
struct packet_sum {
  using P = packet<A>;
  P part[4] = {P::all(0), P::all(0), P::all(0), P::all(0)};
  P runs = P::all(0);

  void add(index_t k, P x) { part[k] = part[k] + x; }
  void add_product(index_t k, P x, P y) { part[k] = P::multiply_add(x, y, part[k]); }
  void end_run() {
    runs = runs + ((part[0] + part[1]) + (part[2] + part[3]));
    for (P& p : part) p = P::all(0);
  }
  [[nodiscard]] double total() const { return runs.sum(); }
};

/// Calls `term(i, k)` for each of `count` packets, i its offset and k (0 to 3) the register to use,
/// and `end_run()` after every lane_run uses of each and at the end.
template <index_t Lanes, class Count, class Term, class EndRun>
void for_packets(Count count, Term&& term, EndRun&& end_run) {
  index_t p = 0;
  while (p + 4 * lane_run <= count) {
    for (index_t j = 0; j < lane_run; ++j, p += 4) {
      for (index_t k = 0; k < 4; ++k) term((p + k) * Lanes, k);
    }
    end_run();
  }
  if (p == count) return;
  for (; p + 4 <= count; p += 4) {
    for (index_t k = 0; k < 4; ++k) term((p + k) * Lanes, k);
  }
  for (; p < count; ++p) term(p * Lanes, 0);
  end_run();
}

template <moments Set>
struct block_sums {
  double sum = 0;
  double first = 0;
  double spread = 0;
  double squares = 0;
};

/// The sums of `count` packets at x, relative to `reference`, which is at least the largest of them
/// (or NaN). With `Keep` the exponentials are stored to `kept`, which may be x. O(count).
///
/// A Count that is a constant (std::integral_constant) makes the loop's length one.
template <moments Set, bool Keep, std::floating_point A, class Count, class Ahead, class Beside>
block_sums<Set> fold_block(const A* x, Count count, A reference, A scale, A* kept,
                           Ahead&& ahead, Beside&& beside) {
  using P = packet<A>;
  constexpr bool spread = has(Set, moments::varentropy);
  constexpr bool squares = has(Set, moments::collision);
  const P reference_lanes = P::all(reference);
  const P scale_lanes = P::all(scale);
  // The spread needs t again, and kept exponentials may stand where the logits did.
  A distances[spread ? block_size<A> : 1];
  A exponentials[spread && !Keep ? block_size<A> : 1];
  A* const stored = spread && !Keep ? exponentials : kept;

  packet_sum<A> sum, first, square;
  for_packets<P::lanes>(
      count,
      [&](index_t i, index_t k) {
        ahead(i, k);
        const P t = bounded((P::load(x + i) - reference_lanes) * scale_lanes);
        const P e = exponential<A>::power(t);
        if constexpr (Keep || spread) e.store(stored + i);
        if constexpr (spread) t.store(distances + i);
        sum.add(k, e);
        first.add_product(k, e, t);
        if constexpr (squares) square.add_product(k, e, e);
        beside(i, k);
      },
      [&] {
        sum.end_run();
        first.end_run();
        if constexpr (squares) square.end_run();
      });

  block_sums<Set> r{sum.total(), first.total()};
  if constexpr (squares) r.squares = square.total();
  if constexpr (spread) {
    const P mean = P::all(r.sum > 0 ? static_cast<A>(r.first / r.sum) : A{0});
    packet_sum<A> deviation;
    for_packets<P::lanes>(
        count,
        [&](index_t i, index_t k) {
          const P d = P::load(distances + i) - mean;
          deviation.add_product(k, P::load(stored + i) * d, d);
        },
        [&] { deviation.end_run(); });
    r.spread = deviation.total();
  }
  return r;
}

}  // namespace idiolect::detail
