// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The inner loops of the CPU backend: what is done to one block of a row, at most `block_size`
// values in the accumulation type, with u = unit / temperature (`exponential`):
//
//   sum   = sum_i 2^t_i      t_i = (z_i - m) u      (base 2 for float, e for double)
//   first = sum_i 2^t_i t_i
//
// A loop takes along whatever else touches memory at the same pace: looking at the block that
// follows (`ahead`), writing a row that is done (`beside`). Both are callables on a packet's offset
// and the register, 0 to 3, that is its turn.

#include <algorithm>
#include <cmath>
#include <concepts>
#include <limits>
#include <type_traits>

#include <idiolect/backend/cpu/convert.hpp>
#include <idiolect/backend/cpu/packet.hpp>
#include <idiolect/backend/cpu/tuning.hpp>
#include <idiolect/config.hpp>
#include <idiolect/core/scalar.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/stats/row_state.hpp>

namespace idiolect::detail::inline IDIOLECT_TARGET {

template <std::floating_point A>
inline constexpr index_t block_size = 4 * packet<A>::lanes * lane_run * block_runs;

/// `n` stored scalars in the accumulation type.
template <logit_scalar T>
void widen(const T* source, index_t n, accumulator_t<T>* out) {
  using P = packet<accumulator_t<T>>;
  index_t i = 0;
  for (; i + P::lanes <= n; i += P::lanes) load_packet(source + i).store(out + i);
  for (; i < n; ++i) out[i] = load(source[i]);
}

/// The largest of the values of a block, in four registers. NaNs may or may not win.
template <std::floating_point A>
struct running_max {
  using P = packet<A>;
  P part[4] = {lowest(), lowest(), lowest(), lowest()};

  void add(index_t k, P x) { part[k] = (P::max)(part[k], x); }
  [[nodiscard]] A largest() const {
    return (P::max)((P::max)(part[0], part[1]), (P::max)(part[2], part[3])).largest();
  }

 private:
  static P lowest() { return P::all(-std::numeric_limits<A>::infinity()); }
};

/// Largest of n values; NaNs may or may not win.
template <std::floating_point A>
A block_max(const A* x, index_t n) {
  using P = packet<A>;
  constexpr index_t step = 4 * P::lanes;
  if (n < P::lanes) {
    A largest = x[0];
    for (index_t i = 1; i < n; ++i) largest = largest < x[i] ? x[i] : largest;
    return largest;
  }
  running_max<A> m;
  index_t i = 0;
  for (; i + step <= n; i += step) {
    for (index_t k = 0; k < 4; ++k) m.add(k, P::load(x + i + k * P::lanes));
  }
  for (; i + P::lanes <= n; i += P::lanes) m.add(0, P::load(x + i));
  m.add(1, P::load(x + n - P::lanes));  // the rest, and some a second time
  return m.largest();
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

/// Calls `term(i, k, n)` for `count` packets, n (a constant, 2 or 1) of them at a time, i the first
/// one's offset and k (0 or 2) the first register to use, and `end_run()` after every lane_run uses of
/// each register and at the end. Two at a time keep the processor busier than one: 4%. Inlined by force:
/// called, it would keep the sums that its callables refer to in memory, at half the speed. The two
/// calls are written out: as a loop GCC 12 gathers the streamed stores of both, 20% slower.
template <index_t Lanes, class Count, class Term, class EndRun>
EIGEN_ALWAYS_INLINE void for_packets(Count count, Term&& term, EndRun&& end_run) {
  constexpr std::integral_constant<std::size_t, 1> one;
  constexpr std::integral_constant<std::size_t, 2> two;
  const index_t fours = count / 4 * 4;
  for (index_t p = 0; p < fours;) {
    const index_t stop = (std::min)(fours, p + 4 * lane_run);
    for (; p < stop; p += 4) {
      term(p * Lanes, 0, two);
      term((p + 2) * Lanes, 2, two);
    }
    end_run();
  }
  if (fours == count) return;
  for (index_t p = fours; p < count; ++p) term(p * Lanes, 0, one);
  end_run();
}

struct block_sums {
  double sum = 0;
  double rest = 0;  ///< of a block that holds the reference: the sum but for that one's 1
  double first = 0;
  double spread = 0;
  double squares = 0;
};

/// The last packet of values whose number is no multiple of the lanes: filled up with -inf, which
/// adds nothing to a sum.
template <std::floating_point A>
struct last_packet {
  using P = packet<A>;
  index_t at;  ///< the first of them
  alignas(64) A values[P::lanes];

  last_packet(const A* x, index_t n) : at(n / P::lanes * P::lanes) {
    P::all(-std::numeric_limits<A>::infinity()).store(values);
    std::copy_n(x + at, n - at, values);
  }
};

/// A block that holds the reference and whose rest is less than this is summed again without it: in
/// a float next to 1 the rest would lose too many digits. (Up to a dozen roundings of a lane.)
inline constexpr double dominated = 0.125;

/// The sum of those exponentials that are below 1, of `count` packets at x and of `last`.
template <std::floating_point A, class Count>
double sum_below_one(const A* x, Count count, const last_packet<A>* last) {
  using P = packet<A>;
  packet_sum<A> sum;
  for_packets<P::lanes>(
      count,
      [&](index_t i, index_t k, auto n) {
        for (index_t j = 0; j < static_cast<index_t>(n); ++j) {
          sum.add(k + j, P::load(x + i + j * P::lanes).below(1));
        }
      },
      [&] { sum.end_run(); });
  if (last != nullptr) {
    sum.add(0, P::load(last->values).below(1));
    sum.end_run();
  }
  return sum.total();
}

/// The sums of `count` packets at x, and of `last` where there is one, relative to `reference`,
/// which is at least the largest of them (or NaN). With `Keep` the exponentials are stored to
/// `kept`, which may be x, and over the values of `last`. O(count).
///
/// A Count that is a constant (std::integral_constant) makes the loop's length one: 5%.
template <moments Set, bool Keep, std::floating_point A, class Count, class Ahead, class Beside>
block_sums fold_block(const A* x, Count count, A reference, A scale, A* kept,
                      std::type_identity_t<last_packet<A>*> last, Ahead&& ahead, Beside&& beside) {
  using P = packet<A>;
  constexpr bool spread = has(Set, moments::varentropy);
  constexpr bool squares = has(Set, moments::collision);
  const P reference_lanes = P::all(reference);
  const P scale_lanes = P::all(scale);
  // The spread needs t again, and kept exponentials may stand where the logits did.
  A distances[spread ? block_size<A> + P::lanes : 1];
  A exponentials[Keep ? 1 : block_size<A>];
  A* const stored = Keep ? kept : exponentials;

  packet_sum<A> sum, first, square;
  const auto add = [&]<std::size_t N>(packets<A, N> t, A* to, index_t at, index_t k) {
    for (P& z : t) z = bounded(difference(z, reference_lanes) * scale_lanes);
    const packets<A, N> e = exponential<A>::power(t);
    for (std::size_t j = 0; j < N; ++j) {
      const index_t from = static_cast<index_t>(j) * P::lanes, part = k + static_cast<index_t>(j);
      e[j].store(to + from);
      if constexpr (spread) t[j].store(distances + at + from);
      sum.add(part, e[j]);
      first.add_product(part, e[j], t[j]);
      if constexpr (squares) square.add_product(part, e[j], e[j]);
    }
  };
  const auto end_run = [&] {
    sum.end_run();
    first.end_run();
    if constexpr (squares) square.end_run();
  };
  for_packets<P::lanes>(
      count,
      [&](index_t i, index_t k, auto n) {
        packets<A, n> z;
        for (std::size_t j = 0; j < n; ++j) {
          const auto next = static_cast<index_t>(j);
          ahead(i + next * P::lanes, k + next);
          z[j] = P::load(x + i + next * P::lanes);
        }
        add(z, stored + i, i, k);
        for (std::size_t j = 0; j < n; ++j) {
          const auto next = static_cast<index_t>(j);
          beside(i + next * P::lanes, k + next);
        }
      },
      end_run);
  if (last != nullptr) {
    add(packets<A, 1>{P::load(last->values)}, last->values, count * P::lanes, 0);
    end_run();
  }

  block_sums r;
  r.sum = sum.total();
  r.first = first.total();
  r.rest = r.sum - 1;
  if (r.rest >= 0 && r.rest < dominated) [[unlikely]] {
    r.rest = sum_below_one(stored, count, last);
  }
  if constexpr (squares) r.squares = square.total();
  if constexpr (spread) {
    const P mean = P::all(r.sum > 0 ? static_cast<A>(r.first / r.sum) : A{0});
    packet_sum<A> deviation;
    const auto add_square = [&](const A* e, index_t at, index_t k) {
      const P d = P::load(distances + at) - mean;
      deviation.add_product(k, P::load(e) * d, d);
    };
    for_packets<P::lanes>(
        count,
        [&](index_t i, index_t k, auto n) {
          for (index_t j = 0; j < static_cast<index_t>(n); ++j) {
            add_square(stored + i + j * P::lanes, i + j * P::lanes, k + j);
          }
        },
        [&] { deviation.end_run(); });
    if (last != nullptr) {
      add_square(last->values, count * P::lanes, 0);
      deviation.end_run();
    }
    r.spread = deviation.total();
  }
  return r;
}

}  // namespace idiolect::detail::inline IDIOLECT_TARGET
