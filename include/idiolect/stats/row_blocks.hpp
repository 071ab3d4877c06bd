// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A row of logits in blocks of constant length, whatever its type and length; which of a block lie
// in an interval, and the mass of those from a bound on: loops that the compiler vectorises, and no
// branch that a row can mislead.

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include <idiolect/core/scalar.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/stats/logit_mass.hpp>

namespace idiolect::detail {

/// Logits that are looked at together: loops over a block have a constant length.
inline constexpr index_t select_block = 256;
/// Sums that are kept apart, so that none waits for the one before.
inline constexpr index_t select_lanes = 32;
/// The positions of a byte's bits that are set, in order.
inline constexpr auto bit_positions = [] {
  std::array<std::array<token_id, 8>, 256> table{};
  for (std::size_t byte = 0; byte < 256; ++byte) {
    std::size_t count = 0;
    for (token_id bit = 0; bit < 8; ++bit) {
      if ((byte >> bit & 1u) != 0) table[byte][count++] = bit;
    }
  }
  return table;
}();

/// A row in blocks of the accumulation type.
template <logit_scalar T>
class row_blocks {
 public:
  using value = accumulator_t<T>;

  row_blocks(const T* row, index_t n) : row_(row), size_(n) {}

  /// The `select_block` values from `first`, a multiple of it: the row's own or in `buffer`, which
  /// holds as many; beyond the row's end -inf.
  const value* block(index_t first, value* buffer) const {
    const index_t count = (std::min)(select_block, size_ - first);
    if constexpr (std::same_as<std::remove_cv_t<T>, value>) {
      if (count == select_block) return row_ + first;
    }
    for (index_t k = 0; k < count; ++k) buffer[k] = load(row_[first + k]);
    std::fill(buffer + count, buffer + select_block, -std::numeric_limits<value>::infinity());
    return buffer;
  }

  /// Calls f(first, values) for each block.
  template <class F>
  void for_each(F&& f) const {
    value buffer[select_block];
    for (index_t i = 0; i < size_; i += select_block) f(i, block(i, buffer));
  }

  /// `bound` in the type of the values, not above it.
  static value below(double bound) {
    constexpr auto most = static_cast<double>((std::numeric_limits<value>::max)());
    const auto narrow = static_cast<value>(std::clamp(bound, -most, most));
    return static_cast<double>(narrow) <= bound
               ? narrow
               : std::nextafter(narrow, -(std::numeric_limits<value>::max)());
  }

 private:
  const T* row_;
  index_t size_;
};

/// An interval of logits, both ends in it.
template <class Value>
struct logit_interval {
  Value low;
  Value high = (std::numeric_limits<Value>::max)();

  /// 1 or 0, in arithmetic that vectorises. z is not NaN.
  [[nodiscard]] std::int32_t holds(Value z) const {
    return (z >= low ? 1 : 0) - (z > high ? 1 : 0);
  }
};

/// Writes first + k for each values[k] in the interval to `out`, which has room for 8 beyond those.
/// Returns how many.
template <class Value>
index_t positions_in(logit_interval<Value> interval, const Value* values, token_id first,
                     token_id* out) {
  std::uint8_t flags[select_block];
  for (index_t k = 0; k < select_block; ++k)
    flags[k] = static_cast<std::uint8_t>(interval.holds(values[k]));
  token_id* const begin = out;
  for (index_t k = 0; k < select_block; k += 8) {
    std::uint64_t word;
    std::memcpy(&word, flags + k, 8);
    if constexpr (std::endian::native == std::endian::big) {
      word = (word & 0x00FF00FF00FF00FFu) << 8 | (word >> 8 & 0x00FF00FF00FF00FFu);
      word = (word & 0x0000FFFF0000FFFFu) << 16 | (word >> 16 & 0x0000FFFF0000FFFFu);
      word = word << 32 | word >> 32;
    }
    const std::uint64_t byte = word * 0x0102040810204080u >> 56;  // one bit for each flag
    const auto& positions = bit_positions[byte];
    const auto base = first + static_cast<token_id>(k);
    token_id eight[8];
    for (std::size_t j = 0; j < 8; ++j) eight[j] = base + positions[j];
    std::memcpy(out, eight, sizeof eight);
    out += std::popcount(byte);
  }
  return out - begin;
}

/// How many values are `low` or more.
template <class Value>
index_t count_from(Value low, const Value* values) {
  std::int32_t count = 0;
  for (index_t k = 0; k < select_block; ++k) count += values[k] >= low ? 1 : 0;
  return count;
}

/// The masses of a block's values.
template <class Value>
std::array<float, select_block> block_masses(const Value* values, const logit_mass<Value> mass) {
  std::array<float, select_block> masses;  // not written through a pointer, which might alias
  for (std::size_t k = 0; k < select_block; ++k) masses[k] = mass(values[k]);
  return masses;
}

/// Adds the masses of those of a block's values that are `low` or more to select_lanes sums.
template <class Value>
void add_masses_from(Value low, const Value* values, const float* masses, double* lanes) {
  const auto kept = [&](index_t k) {
    const auto mask = std::uint32_t{0} - static_cast<std::uint32_t>(values[k] >= low);
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(masses[k]) & mask);
  };
  for (index_t i = 0; i < select_block; i += 2 * select_lanes) {
    for (index_t k = 0; k < select_lanes; ++k) {  // two in single precision: half the conversions
      lanes[k] += static_cast<double>(kept(i + k) + kept(i + k + select_lanes));
    }
  }
}

/// The sum of select_lanes numbers, which it overwrites.
inline double sum_of_lanes(double* lanes) {
  for (index_t k = 0; k < 16; ++k) lanes[k] += lanes[k + 16];
  for (index_t k = 0; k < 8; ++k) lanes[k] += lanes[k + 8];
  for (index_t k = 0; k < 4; ++k) lanes[k] += lanes[k + 4];
  return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}

/// The mass of the row's logits from `low` on. O(n). `store` is given each block's masses.
template <logit_scalar T, class Store>
double mass_from(const row_blocks<T>& row, accumulator_t<T> low,
                 const logit_mass<accumulator_t<T>>& mass, Store&& store) {
  double lanes[select_lanes] = {};
  row.for_each([&](index_t first, const accumulator_t<T>* values) {
    const auto masses = block_masses(values, mass);
    add_masses_from(low, values, masses.data(), lanes);
    store(first, masses);
  });
  return sum_of_lanes(lanes);
}
template <logit_scalar T>
double mass_from(const row_blocks<T>& row, accumulator_t<T> low,
                 const logit_mass<accumulator_t<T>>& mass) {
  return mass_from(row, low, mass, [](index_t, const auto&) {});
}

/// The same from masses that were stored one after the other.
template <logit_scalar T>
double mass_from(const row_blocks<T>& row, accumulator_t<T> low, const float* masses) {
  double lanes[select_lanes] = {};
  row.for_each([&](index_t first, const accumulator_t<T>* values) {
    add_masses_from(low, values, masses + first, lanes);
  });
  return sum_of_lanes(lanes);
}

/// The largest of the row's logits. O(n).
template <logit_scalar T>
accumulator_t<T> largest_of(const row_blocks<T>& row) {
  using value = accumulator_t<T>;
  value lanes[select_lanes];
  std::ranges::fill(lanes, -std::numeric_limits<value>::infinity());
  row.for_each([&](index_t, const value* values) {
    for (index_t i = 0; i < select_block; i += select_lanes) {
      for (index_t k = 0; k < select_lanes; ++k) {
        lanes[k] = lanes[k] < values[i + k] ? values[i + k] : lanes[k];
      }
    }
  });
  return *std::ranges::max_element(lanes);
}

/// How many of the row's logits are `low` or more. O(n).
template <logit_scalar T>
index_t count_from(const row_blocks<T>& row, accumulator_t<T> low) {
  index_t count = 0;
  row.for_each([&](index_t, const accumulator_t<T>* values) { count += count_from(low, values); });
  return count;
}

}  // namespace idiolect::detail
