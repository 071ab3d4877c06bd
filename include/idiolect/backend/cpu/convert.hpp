// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Packets of the accumulation type from and to stored scalars: 16-bit types are widened and rounded
// in registers. A type that this file does not know goes lane by lane through load() and store().

#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include <idiolect/backend/cpu/packet.hpp>
#include <idiolect/config.hpp>
#include <idiolect/core/scalar.hpp>
#include <idiolect/core/types.hpp>

namespace idiolect {

/// Eigen's 16-bit types store logits as the library's own do.
template <>
struct scalar_traits<Eigen::half> {
  using accumulator = float;
};
template <>
struct scalar_traits<Eigen::bfloat16> {
  using accumulator = float;
};

namespace detail::inline IDIOLECT_TARGET {

template <class T>
concept half_like = std::same_as<T, half> || std::same_as<T, Eigen::half>;
template <class T>
concept bfloat16_like = std::same_as<T, bfloat16> || std::same_as<T, Eigen::bfloat16>;

#if defined(__GNUC__)
inline constexpr bool has_vector_words = packet<float>::lanes > 1;

/// As many unsigned words as a packet of float has lanes.
typedef std::uint32_t wide_words __attribute__((vector_size(4 * packet<float>::lanes)));
typedef std::uint16_t narrow_words __attribute__((vector_size(2 * packet<float>::lanes)));

inline wide_words load_words(const void* p) {
  narrow_words narrow;
  std::memcpy(&narrow, p, sizeof narrow);
  return __builtin_convertvector(narrow, wide_words);
}
inline void store_words(void* p, wide_words words) {
  const narrow_words narrow = __builtin_convertvector(words, narrow_words);
  std::memcpy(p, &narrow, sizeof narrow);
}
inline packet<float> as_floats(wide_words words) {
  packet<float> x;
  std::memcpy(&x.value, &words, sizeof words);
  return x;
}
inline wide_words as_words(packet<float> x) {
  wide_words words;
  std::memcpy(&words, &x.value, sizeof words);
  return words;
}
#else
inline constexpr bool has_vector_words = false;
#endif

/// `lanes` stored scalars, widened.
template <logit_scalar T>
packet<accumulator_t<T>> load_packet(const T* p) {
  using P = packet<accumulator_t<T>>;
  if constexpr (std::same_as<T, accumulator_t<T>>) {
    return P::load(p);
#if defined(__F16C__)
  } else if constexpr (half_like<T> && P::lanes == 8) {
    return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
#if defined(__AVX512F__)
  } else if constexpr (half_like<T> && P::lanes == 16) {
    return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
#endif
#endif
#if defined(__GNUC__)
  } else if constexpr (bfloat16_like<T> && has_vector_words) {
    return as_floats(load_words(p) << 16);
  } else if constexpr (half_like<T> && has_vector_words) {
    const wide_words h = load_words(p);
    const wide_words magnitude = (h & 0x7fffu) << 13;
    // The exponent is rebiased by a multiplication by 2^112, which also normalises subnormals.
    const P value = as_floats(magnitude) * P::all(0x1p112f);
    const auto special = reinterpret_cast<wide_words>(magnitude >= 0x0f800000u) & 0x7f800000u;
    return as_floats(as_words(value) | special | (h & 0x8000u) << 16);
#endif
  } else {
    accumulator_t<T> lane[P::lanes];
    for (index_t i = 0; i < P::lanes; ++i) lane[i] = idiolect::load(p[i]);
    return P::load(lane);
  }
}

/// Rounds `x` to `lanes` stored scalars.
template <logit_scalar G, std::floating_point A>
void store_packet(G* p, packet<A> x) {
  if constexpr (std::same_as<G, A>) {
    x.store(p);
#if defined(__F16C__)
  } else if constexpr (half_like<G> && std::same_as<A, float> && packet<A>::lanes == 8) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(x.value, _MM_FROUND_TO_NEAREST_INT));
#if defined(__AVX512F__)
  } else if constexpr (half_like<G> && std::same_as<A, float> && packet<A>::lanes == 16) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm512_cvtps_ph(x.value, _MM_FROUND_TO_NEAREST_INT));
#endif
#endif
#if defined(__GNUC__)
  } else if constexpr (bfloat16_like<G> && std::same_as<A, float> && has_vector_words) {
    const wide_words w = as_words(x);
    const auto nan = reinterpret_cast<wide_words>((w & 0x7fffffffu) > 0x7f800000u);
    const wide_words rounded = w + 0x7fffu + ((w >> 16) & 1u);
    store_words(p, ((rounded & ~nan) | ((w | 0x00400000u) & nan)) >> 16);
#endif
  } else {
    A lane[packet<A>::lanes];
    x.store(lane);
    for (index_t i = 0; i < packet<A>::lanes; ++i) p[i] = idiolect::store<G>(lane[i]);
  }
}

/// Adds `x` to `lanes` stored scalars, in the wider of the two accumulation types.
template <logit_scalar G, std::floating_point A>
void add_packet(G* p, packet<A> x) {
  if constexpr (std::same_as<accumulator_t<G>, A>) {
    store_packet(p, x + load_packet(p));
  } else {
    A lane[packet<A>::lanes];
    x.store(lane);
    for (index_t i = 0; i < packet<A>::lanes; ++i) {
      p[i] = idiolect::store<G>(lane[i] + idiolect::load(p[i]));
    }
  }
}

/// The same for one number, written or added.
template <logit_scalar G, std::floating_point A>
void write_scalar(G& to, A x, bool accumulate) {
  to = accumulate ? idiolect::store<G>(x + idiolect::load(to)) : idiolect::store<G>(x);
}

/// Writes x to aligned memory around the caches where the processor can.
template <std::floating_point A>
void stream(A* p, packet<A> x) {
#if defined(__AVX512F__)
  if constexpr (sizeof x.value == 64) {
    _mm512_stream_si512(reinterpret_cast<__m512i*>(p), std::bit_cast<__m512i>(x.value));
    return;
  }
#endif
#if defined(__AVX__)
  if constexpr (sizeof x.value == 32) {
    _mm256_stream_si256(reinterpret_cast<__m256i*>(p), std::bit_cast<__m256i>(x.value));
    return;
  }
#endif
#if defined(__SSE2__)
  if constexpr (sizeof x.value == 16) {
    _mm_stream_si128(reinterpret_cast<__m128i*>(p), std::bit_cast<__m128i>(x.value));
    return;
  }
#endif
  x.store(p);
}

/// What was streamed is seen by whoever sees a later write of this thread.
inline void finish_streaming() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

}  // namespace detail::inline IDIOLECT_TARGET
}  // namespace idiolect
