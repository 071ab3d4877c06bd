// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// What one thread of a group holds of a row: a few vectors in registers, as they came from memory,
// and of the row's edges its share. Places beyond the row's end hold -inf, which no statistic sees.

#include <cstdint>
#include <type_traits>
#include <utility>

#include <idiolect/backend/cuda/row_group.hpp>
#include <idiolect/backend/cuda/row_layout.hpp>
#include <idiolect/config.hpp>
#include <idiolect/core/scalar.hpp>

namespace idiolect::detail {

/// f(0), ..., f(N - 1), each with a constant: arrays that f indexes stay in registers.
template <int N, class F>
IDIOLECT_HD void unrolled(F&& f) {
  [&]<int... I>(std::integer_sequence<int, I...>) {
    (f(I), ...);
  }(std::make_integer_sequence<int, N>{});
}

/// 16 bytes of T, kept in words so that they stay in registers.
template <class T>
struct alignas(vector_bytes) packed {
  static_assert(sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8);
  static constexpr int width = vector_width<T>;
  static constexpr int words = vector_bytes / 4;

  std::uint32_t bits[words];

  [[nodiscard]] IDIOLECT_HD T element(int i) const {
    if constexpr (sizeof(T) == 2) {
      return bit_cast<T>(static_cast<std::uint16_t>(bits[i / 2] >> (16 * (i % 2))));
    } else if constexpr (sizeof(T) == 4) {
      return bit_cast<T>(bits[i]);
    } else {
      return bit_cast<T>(bits[2 * i] | std::uint64_t{bits[2 * i + 1]} << 32);
    }
  }
  IDIOLECT_HD void fill(T x) {
    for (int w = 0; w < words; ++w) {
      if constexpr (sizeof(T) == 2) {
        bits[w] = std::uint32_t{bit_cast<std::uint16_t>(x)} * 0x10001u;
      } else if constexpr (sizeof(T) == 4) {
        bits[w] = bit_cast<std::uint32_t>(x);
      } else {
        bits[w] = static_cast<std::uint32_t>(bit_cast<std::uint64_t>(x) >> (32 * (w % 2)));
      }
    }
  }
};

/// Reads 16 bytes at once; `p` is aligned to them.
template <class T>
[[nodiscard]] IDIOLECT_HD packed<T> load_vector(const T* p) {
  packed<T> v;
#if defined(__CUDA_ARCH__)
  const uint4 raw = *reinterpret_cast<const uint4*>(p);
  v.bits[0] = raw.x, v.bits[1] = raw.y, v.bits[2] = raw.z, v.bits[3] = raw.w;
#else
  __builtin_memcpy(v.bits, __builtin_assume_aligned(p, vector_bytes), vector_bytes);
#endif
  return v;
}

/// A type that a device has instructions for two of.
enum class pair_kind : std::uint8_t { none, half, bfloat16 };
template <class T>
inline constexpr pair_kind pair_of = pair_kind::none;
template <>
inline constexpr pair_kind pair_of<half> = pair_kind::half;
template <>
inline constexpr pair_kind pair_of<bfloat16> = pair_kind::bfloat16;

/// Two numbers in one word, each rounded to nearest even.
template <class G>
[[nodiscard]] IDIOLECT_HD std::uint32_t pack_pair(float low, float high) {
#if defined(__CUDA_ARCH__)
  if constexpr (pair_of<G> == pair_kind::bfloat16) {
    std::uint32_t pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
  } else if constexpr (pair_of<G> == pair_kind::half) {
    std::uint32_t pair;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
  }
#endif
  return bit_cast<std::uint16_t>(store<G>(low)) |
         std::uint32_t{bit_cast<std::uint16_t>(store<G>(high))} << 16;
}

/// The larger numbers of two pairs, of a number and NaN the number.
template <class T>
[[nodiscard]] IDIOLECT_HD std::uint32_t larger_pair(std::uint32_t a, std::uint32_t b) {
#if defined(__CUDA_ARCH__)
  std::uint32_t pair;
  if constexpr (pair_of<T> == pair_kind::bfloat16) {
    asm("max.bf16x2 %0, %1, %2;" : "=r"(pair) : "r"(a), "r"(b));
  } else {
    static_assert(pair_of<T> == pair_kind::half);
    asm("max.f16x2 %0, %1, %2;" : "=r"(pair) : "r"(a), "r"(b));
  }
  return pair;
#else
  const auto choose = [&](int shift) {
    const auto x = static_cast<std::uint16_t>(a >> shift),
               y = static_cast<std::uint16_t>(b >> shift);
    const float p = load(bit_cast<T>(x)), q = load(bit_cast<T>(y));
    return std::uint32_t{p < q || p != p ? y : x} << shift;
  };
  return choose(0) | choose(16);
#endif
}

/// Writes 4, 8, 16 or 32 bytes; `p` is aligned to them, or to 16.
template <int Words>
IDIOLECT_HD void store_words(void* p, const std::uint32_t (&bits)[Words]) {
#if defined(__CUDA_ARCH__)
  if constexpr (Words == 1) {
    *static_cast<std::uint32_t*>(p) = bits[0];
  } else if constexpr (Words == 2) {
    *static_cast<uint2*>(p) = make_uint2(bits[0], bits[1]);
  } else {
    unrolled<Words / 4>([&](int k) {
      const std::uint32_t* const b = bits + 4 * k;
      static_cast<uint4*>(p)[k] = make_uint4(b[0], b[1], b[2], b[3]);
    });
  }
#else
  __builtin_memcpy(p, bits, sizeof bits);
#endif
}

/// Stores `Count` numbers, which fill a multiple of 4 bytes, at `p`; `aligned` where p is aligned
/// to the smaller of those and 16 bytes.
template <int Count, class G, class Real>
IDIOLECT_HD void store_vector(G* p, const Real (&values)[Count], bool aligned) {
  constexpr int bytes = Count * static_cast<int>(sizeof(G));
  constexpr int words = bytes / 4;
  static_assert(bytes % 4 == 0);
  if (!aligned) {
    unrolled<Count>([&](int i) { p[i] = store<G>(values[i]); });
    return;
  }
  std::uint32_t bits[words];
  unrolled<Count>([&](int i) {
    if constexpr (sizeof(G) == 2) {
      if (i % 2 == 0) {
        bits[i / 2] =
            pack_pair<G>(static_cast<float>(values[i]), static_cast<float>(values[i + 1]));
      }
    } else if constexpr (sizeof(G) == 4) {
      bits[i] = bit_cast<std::uint32_t>(store<G>(values[i]));
    } else {
      const auto wide = bit_cast<std::uint64_t>(store<G>(values[i]));
      bits[2 * i] = static_cast<std::uint32_t>(wide);
      bits[2 * i + 1] = static_cast<std::uint32_t>(wide >> 32);
    }
  });
  store_words(p, bits);
}

/// x, of which a device's compiler knows nothing: it would otherwise prepare an address for each
/// vector of each tile, and run out of registers.
[[nodiscard]] IDIOLECT_HD inline int opaque(int x) {
#if defined(__CUDA_ARCH__)
  asm volatile("" : "+r"(x));
#endif
  return x;
}

/// What a thread holds: vectors, and edges at most. `whole`: the group holds every row whole.
struct tile_shape {
  int vectors;
  int edges;
  bool whole = false;
};

/// One thread's part of a tile. The row's edges belong to its first tile.
template <class T, tile_shape Shape>
struct row_tile {
  static constexpr int width = vector_width<T>;

  packed<T> vectors[Shape.vectors];
  T edges[Shape.edges];

  /// This thread's first vector of a tile, of which it has every size-th.
  [[nodiscard]] IDIOLECT_HD static int first_vector(int tile, int rank, int size) {
    return opaque(tile * capacity(size) + rank);
  }
  /// Vectors of a tile of `size` threads.
  [[nodiscard]] IDIOLECT_HD static int capacity(int size) { return Shape.vectors * size; }
  /// Tiles of a row that is not empty.
  [[nodiscard]] IDIOLECT_HD static int tiles(const row_layout<T>& layout, int size) {
    if (Shape.whole) return 1;
    const int n = (layout.vectors + capacity(size) - 1) / capacity(size);
    return n == 0 ? 1 : n;
  }

  IDIOLECT_HD void read(const T* row, const row_layout<T>& layout, int tile, int rank, int size) {
    const T masked = store<T>(-infinity<accumulator_t<T>>);
    const int first = first_vector(tile, rank, size);
    unrolled<Shape.vectors>([&](int k) {
      const int v = first + k * size;
      if (v < layout.vectors) {
        vectors[k] = load_vector(row + layout.vector(v));
      } else {
        vectors[k].fill(masked);
      }
    });
    unrolled<Shape.edges>([&](int k) {
      const int e = k * size + rank;
      edges[k] = tile == 0 && e < layout.edges() ? row[layout.edge(e)] : masked;
    });
  }

  /// Between two passes: a device's compiler forgets what it made of the vectors, which would take
  /// more registers than there are if it were kept for the next pass.
  IDIOLECT_HD void repack() {
#if defined(__CUDA_ARCH__)
    unrolled<Shape.vectors>([&](int k) {
      unrolled<packed<T>::words>([&](int w) { asm volatile("" : "+r"(vectors[k].bits[w])); });
    });
#endif
  }

  /// The largest number that this thread holds: -inf where it holds none.
  [[nodiscard]] IDIOLECT_HD accumulator_t<T> largest() const {
    using real = accumulator_t<T>;
    real max = -infinity<real>;
    if constexpr (pair_of<T> != pair_kind::none) {
      packed<T> all = vectors[0];
      unrolled<Shape.vectors - 1>([&](int k) {
        unrolled<packed<T>::words>(
            [&](int w) { all.bits[w] = larger_pair<T>(all.bits[w], vectors[k + 1].bits[w]); });
      });
      unrolled<width>([&](int i) { max = larger{}(max, load(all.element(i))); });
      unrolled<Shape.edges>([&](int k) { max = larger{}(max, load(edges[k])); });
    } else {
      for_each([&](real z) { max = larger{}(max, z); });
    }
    return max;
  }

  /// Calls f(z) for each element, in a fixed order.
  template <class F>
  IDIOLECT_HD void for_each(F&& f) const {
    unrolled<Shape.vectors>(
        [&](int k) { unrolled<width>([&](int i) { f(load(vectors[k].element(i))); }); });
    unrolled<Shape.edges>([&](int k) { f(load(edges[k])); });
  }
};

}  // namespace idiolect::detail
