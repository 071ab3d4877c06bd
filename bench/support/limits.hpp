// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// What this machine's memory allows, whatever the arithmetic: the floors that the passes are
// compared with. Each works on 32-bit words, n of them, and does nothing but move them.
//
// With their prefetch these are the fastest ways found on Zen 5 (of plain loops, 1 to 12 KiB of
// prefetch, several streams at once): a read gains 30% by it on one thread, the others 15%.

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include <idiolect/core/types.hpp>

namespace idiolect::bench::limits {

using word = std::uint32_t;

inline constexpr index_t line = 16;         ///< words in a cache line
inline constexpr index_t ahead = 4096 / 4;  ///< words from a prefetch to its use
inline constexpr index_t step = 4 * line;   ///< words a turn: enough independent accumulators

inline void prefetch([[maybe_unused]] const word* p) {
#if defined(__GNUC__)
  for (index_t k = 0; k < step; k += line) __builtin_prefetch(p + ahead + k);
#endif
}

/// Reads: returns the bitwise or of all, which needs every one and costs next to nothing.
template <bool Prefetch = true>
word read(const word* p, index_t n) {
  word any[step] = {};
  index_t i = 0;
  for (; i + step <= n; i += step) {
    if constexpr (Prefetch) prefetch(p + i);
    for (index_t k = 0; k < step; ++k) any[k] |= p[i + k];
  }
  word all = 0;
  for (; i < n; ++i) all |= p[i];
  for (const word a : any) all |= a;
  return all;
}

/// Reads, and writes to other memory past the caches: the destination is not read first.
/// Where the instruction set is not known to have such stores, a plain copy.
inline void copy_streaming(word* to, const word* from, index_t n) {
#if defined(__SSE2__)
#if defined(__AVX512F__)
  using vector = __m512i;
  const auto move = [](word* a, const word* b) {
    _mm512_stream_si512(reinterpret_cast<vector*>(a), _mm512_loadu_si512(b));
  };
#elif defined(__AVX__)
  using vector = __m256i;
  const auto move = [](word* a, const word* b) {
    _mm256_stream_si256(reinterpret_cast<vector*>(a),
                        _mm256_loadu_si256(reinterpret_cast<const vector*>(b)));
  };
#else
  using vector = __m128i;
  const auto move = [](word* a, const word* b) {
    _mm_stream_si128(reinterpret_cast<vector*>(a),
                     _mm_loadu_si128(reinterpret_cast<const vector*>(b)));
  };
#endif
  constexpr index_t width = sizeof(vector) / sizeof(word);
  index_t i = 0;
  for (; i < n && reinterpret_cast<std::uintptr_t>(to + i) % sizeof(vector) != 0; ++i)
    to[i] = from[i];
  for (; i + step <= n; i += step) {
    prefetch(from + i);
    for (index_t k = 0; k < step; k += width) move(to + i + k, from + i + k);
  }
  for (; i < n; ++i) to[i] = from[i];
  _mm_sfence();
#else
  std::memcpy(to, from, static_cast<std::size_t>(n) * sizeof(word));
#endif
}

/// Reads and writes to other memory, as the C library does it.
inline void copy(word* to, const word* from, index_t n) {
  std::memcpy(to, from, static_cast<std::size_t>(n) * sizeof(word));
}

/// Reads and writes back. `zero` is 0, which the compiler must not know: the words keep their
/// values.
inline void rewrite(word* p, index_t n, word zero) {
  index_t i = 0;
  for (; i + step <= n; i += step) {
    prefetch(p + i);
    for (index_t k = 0; k < step; ++k) p[i + k] += zero;
  }
  for (; i < n; ++i) p[i] += zero;
}

}  // namespace idiolect::bench::limits
