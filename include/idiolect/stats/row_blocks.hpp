// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A row of logits in blocks of constant length, whatever its type and length, and which of a block
// lie in an interval: loops that the compiler vectorises, and no branch that a row can mislead.

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <limits>

#include <idiolect/core/scalar.hpp>
#include <idiolect/core/types.hpp>

namespace idiolect::detail {

/// Logits that are looked at together: loops over a block have a constant length.
inline constexpr index_t select_block = 256;
/// Logits whose exponentials are taken at a time.
inline constexpr index_t select_step = 32;
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

  /// Calls f(first, values) for blocks of `select_block` values; the last is filled up with -inf.
  template <class F>
  void for_each(F&& f) const {
    value buffer[select_block];
    for (index_t i = 0; i < size_; i += select_block) {
      const index_t count = std::min(select_block, size_ - i);
      if constexpr (std::same_as<T, value>) {
        if (count == select_block) {
          f(i, row_ + i);
          continue;
        }
      }
      for (index_t k = 0; k < count; ++k) buffer[k] = load(row_[i + k]);
      std::fill(buffer + count, buffer + select_block, -std::numeric_limits<value>::infinity());
      f(i, static_cast<const value*>(buffer));
    }
  }

  /// `bound` in the type of the values, not above it.
  static value below(double bound) {
    constexpr auto most = static_cast<double>(std::numeric_limits<value>::max());
    const auto narrow = static_cast<value>(std::clamp(bound, -most, most));
    return static_cast<double>(narrow) <= bound
               ? narrow
               : std::nextafter(narrow, -std::numeric_limits<value>::max());
  }

 private:
  const T* row_;
  index_t size_;
};

/// An interval of logits, both ends in it.
template <class Value>
struct logit_interval {
  Value low;
  Value high = std::numeric_limits<Value>::max();

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

}  // namespace idiolect::detail
