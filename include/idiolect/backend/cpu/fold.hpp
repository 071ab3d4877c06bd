// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The statistics of a row in one pass. A row is cut into segments, a segment into blocks; blocks are
// summed in SIMD lanes relative to the largest logit of the segment so far, and segments are merged
// as row states are. While a block is exponentiated the largest logit of the next one is found, so
// that memory and arithmetic are busy at the same time. Segments, blocks, lanes and their order are
// fixed: a row's bits depend on nothing but the row and the instruction set.

#include <algorithm>
#include <cmath>
#include <concepts>
#include <limits>
#include <span>
#include <type_traits>

#include <idiolect/backend/cpu/block.hpp>
#include <idiolect/backend/cpu/packet.hpp>
#include <idiolect/backend/cpu/tuning.hpp>
#include <idiolect/config.hpp>
#include <idiolect/core/scalar.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/stats/fold.hpp>
#include <idiolect/stats/row_state.hpp>

namespace idiolect::detail::inline IDIOLECT_TARGET {

/// unit / temperature, in the type of the logits, and how to get back.
template <std::floating_point A>
struct fold_scale {
  explicit fold_scale(double inverse)
      : per_logit(static_cast<A>((std::min)(inverse * exponential<A>::unit,
                                          static_cast<double>((std::numeric_limits<A>::max)())))),
        inverse_temperature(inverse),
        nats(inverse / static_cast<double>(per_logit)),
        wide(std::same_as<A, float> && inverse < 0x1p-100) {}

  A per_logit;                 ///< t = (z - m) per_logit
  double inverse_temperature;  ///< of the states
  double nats;  ///< a t in nats; from the rounded scale, so that its rounding cancels
  bool wide;    ///< differences of floats may overflow that the temperature would make small
};

/// The sums of a segment as far as it has been read.
template <moments Set, std::floating_point A>
class running_sums {
 public:
  explicit running_sums(const fold_scale<A>& scale) : scale_(scale) {}

  /// The largest logit so far; -inf before the first that is not masked.
  [[nodiscard]] A reference() const { return reference_; }

  /// The same for arithmetic: masked so far, any finite number does.
  [[nodiscard]] A finite_reference() const {
    return reference_ == -std::numeric_limits<A>::infinity() ? A{0} : reference_;
  }

  /// A block with this maximum comes next. NaN becomes the reference, and then all sums.
  void raise(A largest) {
    if (largest <= reference_) return;
    const double before = sums_.sum + top_;
    if (before != 0) {
      const double shift =
          (static_cast<double>(reference_) - static_cast<double>(largest)) * scale_.per_logit;
      const double factor = std::same_as<A, float> ? std::exp2(shift) : std::exp(shift);
      sums_.first *= factor;
      if (factor != 0) sums_.first += factor * shift * before;  // the shift may be infinite
      sums_.sum = before * factor;
      if constexpr (has(Set, moments::varentropy)) sums_.spread *= factor;
      if constexpr (has(Set, moments::collision)) sums_.squares *= factor * factor;
    }
    reference_ = largest;
    top_ = 0;
    raised_ = true;
  }

  /// `block` is relative to the reference.
  void add(const block_sums& block) {
    if constexpr (has(Set, moments::varentropy)) {  // Chan, Golub, LeVeque 1979
      sums_.spread += block.spread;
      const double before = sums_.sum + top_;
      if (before > 0 && block.sum > 0) {
        const double distance = block.first / block.sum - sums_.first / before;
        sums_.spread += distance * distance * (block.sum * (before / (before + block.sum)));
      }
    }
    if constexpr (has(Set, moments::collision)) sums_.squares += block.squares;
    sums_.first += block.first;
    sums_.sum += raised_ ? block.rest : block.sum;
    if (raised_) top_ = 1;
    raised_ = false;
  }

  [[nodiscard]] row_state<double, Set> state() const {
    using state_type = row_state<double, Set>;
    // NaN and +inf arrive in `first`: their distance to any maximum is NaN.
    if (std::isnan(sums_.first)) return state_type::of(sums_.first);
    if (top_ == 0) return {};
    state_type s;
    s.max = static_cast<double>(reference_);
    s.rest = sums_.sum;
    s.first = sums_.first * scale_.nats;
    if constexpr (has(Set, moments::varentropy)) s.spread = sums_.spread * scale_.nats * scale_.nats;
    if constexpr (has(Set, moments::collision)) s.squares = sums_.squares;
    return s;
  }

 private:
  fold_scale<A> scale_;
  A reference_ = -std::numeric_limits<A>::infinity();
  block_sums sums_;      // its `sum` without the reference's own 1
  double top_ = 0;       // that 1, once the block that holds it was added
  bool raised_ = false;  // the next block holds the reference
};

/// Nothing is written beside the fold.
struct no_writer {
  static auto begin(index_t) {
    return [](index_t, index_t) {};
  }
  static void end() {}
  static void write(index_t) {}
};

/// Exponentials that a fold keeps for the gradient: for each of V logits 2^((z - r) per_logit), and
/// for each block its r, with room for a packet beyond the last.
template <std::floating_point A>
struct kept_row {
  A* exponentials = nullptr;
  A* references = nullptr;
};

/// Nothing is looked at beside the fold.
inline constexpr auto nothing_ahead = [](index_t, index_t) {};

/// The sums of n values, at most a block. `ahead` as in fold_block, for whole packets.
template <moments Set, bool Keep, std::floating_point A, class Ahead>
block_sums fold_part(const A* x, index_t n, A reference, A scale, A* kept, Ahead&& ahead) {
  constexpr index_t lanes = packet<A>::lanes;
  const auto nothing = [](index_t, index_t) {};
  if (n % lanes == 0) {
    return fold_block<Set, Keep>(x, n / lanes, reference, scale, kept, nullptr, ahead, nothing);
  }
  last_packet<A> last(x, n);
  const auto sums = fold_block<Set, Keep>(x, n / lanes, reference, scale, kept, &last, ahead, nothing);
  if constexpr (Keep) std::copy_n(last.values, n - last.at, kept + last.at);
  return sums;
}

/// What fold_row does, in double and one logit after the other: for a scale that is `wide`.
template <moments Set, bool Keep, logit_scalar T, class Writer>
row_state<double, Set> fold_wide_row(const T* row, index_t n,
                                     const fold_scale<accumulator_t<T>>& scale,
                                     kept_row<accumulator_t<T>> kept, Writer& writer) {
  using A = accumulator_t<T>;
  constexpr index_t size = block_size<A>;
  row_state<double, Set> state;
  for (index_t first = 0; first < n; first += segment_size) {
    const index_t end = (std::min)(n, first + segment_size);
    const auto segment = fold<Set, double>(row + first, end - first, scale.inverse_temperature);
    state = merge(state, segment, scale.inverse_temperature);
    const double reference = segment.empty() ? 0 : segment.max;
    for (index_t i = first; i < end; ++i) {
      if constexpr (Keep) {
        const double offset = static_cast<double>(load(row[i])) - reference;
        if (i % size == 0) kept.references[i / size] = static_cast<A>(segment.max);
        kept.exponentials[i] = static_cast<A>(std::exp(offset * scale.inverse_temperature));
      }
      if (i % size == 0) writer.write(i / size);
    }
  }
  return state;
}

/// State of a row of n logits at a temperature. With `Keep` the exponentials go to `kept`, which
/// may be the row itself. `writer` writes another row of n, block by block. O(n); a few blocks on
/// the stack.
template <moments Set, bool Keep, logit_scalar T, class Writer>
row_state<double, Set> fold_row(const T* row, index_t n, const fold_scale<accumulator_t<T>>& scale,
                                kept_row<accumulator_t<T>> kept, Writer& writer) {
  using A = accumulator_t<T>;
  using P = packet<A>;
  constexpr index_t size = block_size<A>;
  constexpr bool direct = std::same_as<T, A>;
  static_assert(segment_size % size == 0);
  alignas(64) A widened[2][static_cast<std::size_t>(direct ? 1 : size)];
  row_state<double, Set> state;
  if (n == 0) return state;
  if (scale.wide) [[unlikely]]
    return fold_wide_row<Set, Keep>(row, n, scale, kept, writer);

  // The values of the block that starts at i: the row's own, or widened by `look_at`.
  const auto values = [&](index_t i) -> const A* {
    if constexpr (direct) {
      return row + i;
    } else {
      return widened[i / size % 2];
    }
  };
  const auto look_at = [&](index_t i) {
    const index_t count = (std::min)(size, n - i);
    if constexpr (!direct) widen(row + i, count, widened[i / size % 2]);
    return block_max(values(i), count);
  };

  running_sums<Set, A> sums(scale);
  A largest = look_at(0);
  for (index_t i = 0, block = 0; i < n; i += size, ++block) {
    if (i > 0 && i % segment_size == 0) {
      state = merge(state, sums.state(), scale.inverse_temperature);
      sums = running_sums<Set, A>(scale);
    }
    sums.raise(largest);
    const A finite = sums.finite_reference();
    if constexpr (Keep) kept.references[block] = sums.reference();
    A* const out = Keep ? kept.exponentials + i : nullptr;

    if (i + 2 * size <= n) {  // a whole block, and another to look at
      const T* const next = row + i + size;
      A* const next_widened = widened[(block + 1) % 2];
      running_max<A> m;
      const auto beside = writer.begin(block);
      sums.add(fold_block<Set, Keep>(
          values(i), std::integral_constant<index_t, size / P::lanes>{}, finite, scale.per_logit,
          out, nullptr,
          [&](index_t k, index_t turn) {
            prefetch(next + k, prefetch_bytes);
            const P z = load_packet(next + k);
            if constexpr (!direct) z.store(next_widened + k);
            m.add(turn, z);
          },
          beside));
      writer.end();
      largest = m.largest();
      continue;
    }

    const index_t count = (std::min)(size, n - i);
    sums.add(fold_part<Set, Keep>(values(i), count, finite, scale.per_logit, out, nothing_ahead));
    writer.write(block);
    if (i + size < n) largest = look_at(i + size);
  }
  return merge(state, sums.state(), scale.inverse_temperature);
}

/// How many rows of n logits are folded together.
[[nodiscard]] inline index_t short_rows(index_t n) {
  return std::clamp<index_t>(n > 0 ? batch_size / n : 1, 1, max_batch);
}

/// States of a few rows of n logits, at most a block. While a row is exponentiated the largest logit of
/// the one after the next is found: of the next, it would be waited for. The same bits as fold_row's.
template <moments Set, bool Keep, std::floating_point A>
void fold_short_rows(std::span<const A* const> rows, index_t n, const fold_scale<A>& scale,
                     const std::type_identity_t<kept_row<A>>* kept,
                     row_state<double, Set>* states) {
  using P = packet<A>;
  if (scale.wide) [[unlikely]] {
    no_writer nothing;
    for (std::size_t k = 0; k < rows.size(); ++k) {
      const kept_row<A> to = Keep ? kept[k] : kept_row<A>{};
      states[k] = fold_wide_row<Set, Keep>(rows[k], n, scale, to, nothing);
    }
    return;
  }
  A largest[max_batch];
  for (std::size_t k = 0; k < (std::min<std::size_t>)(rows.size(), 2); ++k) {
    largest[k] = block_max(rows[k], n);
  }
  for (std::size_t k = 0; k < rows.size(); ++k) {
    running_sums<Set, A> sums(scale);
    sums.raise(largest[k]);
    if constexpr (Keep) kept[k].references[0] = sums.reference();
    A* const out = Keep ? kept[k].exponentials : nullptr;
    const auto fold = [&](auto&& ahead) {
      return fold_part<Set, Keep>(rows[k], n, sums.finite_reference(), scale.per_logit, out, ahead);
    };
    if (k + 2 < rows.size() && n >= P::lanes) {
      running_max<A> m;
      sums.add(fold([&, next = rows[k + 2]](index_t i, index_t turn) {
        prefetch(next + i, prefetch_bytes);
        m.add(turn, P::load(next + i));
      }));
      m.add(1, P::load(rows[k + 2] + n - P::lanes));  // the rest, and some a second time
      largest[k + 2] = m.largest();
    } else {
      sums.add(fold(nothing_ahead));
      if (k + 2 < rows.size()) largest[k + 2] = block_max(rows[k + 2], n);
    }
    states[k] = sums.state();
  }
}

}  // namespace idiolect::detail::inline IDIOLECT_TARGET
