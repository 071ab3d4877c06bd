// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The few SIMD operations that the CPU kernels are written in, on Eigen's packets: SSE, AVX,
// AVX-512, NEON or scalar, as the file that includes this is compiled. Nothing else of the library
// names Eigen::internal.

#include <array>
#include <bit>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <numbers>

#include <Eigen/Core>

#include <idiolect/config.hpp>
#include <idiolect/core/types.hpp>

namespace idiolect::detail::inline IDIOLECT_TARGET {

/// x, of which the compiler knows nothing any more: (x + c) - c is not x, even where it may regroup.
template <class Register>
Register opaque_register(Register x) {
#if defined(__GNUC__) && defined(__AVX512F__)
  asm("" : "+v"(x));
#elif defined(__GNUC__) && defined(__SSE2__)
  asm("" : "+x"(x));
#elif defined(__GNUC__) && defined(__aarch64__)
  asm("" : "+w"(x));
#else
  EIGEN_OPTIMIZATION_BARRIER(x)
#endif
  return x;
}

/// A register of floats times 2^k, for lanes of `shifted` = k + 1.5 * 2^23 with integer k: k is added
/// to the exponent field.
template <class Register>
Register add_to_exponents(Register x, Register shifted) {
  namespace ei = Eigen::internal;
  if constexpr (std::same_as<Register, float>) {
    const auto power = std::bit_cast<std::uint32_t>(shifted) << 23;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) + power);
  } else {
    using integers = typename ei::unpacket_traits<Register>::integer_packet;
    const integers power = ei::plogical_shift_left<23>(ei::preinterpret<integers>(shifted));
    return ei::preinterpret<Register>(ei::padd(ei::preinterpret<integers>(x), power));
  }
}

/// One SIMD register of T. Loads and stores need no alignment.
template <std::floating_point T>
struct packet {
  using register_type = typename Eigen::internal::packet_traits<T>::type;
  static constexpr index_t lanes = Eigen::internal::unpacket_traits<register_type>::size;

  register_type value;

  static packet load(const T* p) { return {Eigen::internal::ploadu<register_type>(p)}; }
  static packet all(T x) { return {Eigen::internal::pset1<register_type>(x)}; }
  void store(T* p) const { Eigen::internal::pstoreu(p, value); }

  friend packet operator+(packet a, packet b) { return {Eigen::internal::padd(a.value, b.value)}; }
  friend packet operator-(packet a, packet b) { return {Eigen::internal::psub(a.value, b.value)}; }
  friend packet operator*(packet a, packet b) { return {Eigen::internal::pmul(a.value, b.value)}; }

  /// a * b + c
  static packet multiply_add(packet a, packet b, packet c) {
    return {Eigen::internal::pmadd(a.value, b.value, c.value)};
  }
  /// The lanes that are below the bound, 0 for the others.
  [[nodiscard]] packet below(T bound) const {
    namespace ei = Eigen::internal;
    const register_type kept = ei::pcmp_lt(value, ei::pset1<register_type>(bound));
    return {ei::pselect(kept, value, ei::pzero(value))};
  }
  /// The larger. NaN in `a` stays, NaN in `b` may not.
  static packet(max)(packet a, packet b) { return {Eigen::internal::pmax(a.value, b.value)}; }

  [[nodiscard]] T lane(index_t i) const {
    T x[static_cast<std::size_t>(lanes)];
    store(x);
    return x[i];
  }
  /// The lanes in double, in a fixed order: four sums of every fourth, then those in pairs.
  [[nodiscard]] double sum() const;
  [[nodiscard]] T largest() const { return Eigen::internal::predux_max(value); }
};

/// Writes the lanes in double.
template <std::floating_point T>
void store_double(packet<T> x, double* to) {
  T lane[packet<T>::lanes];
  x.store(lane);
  for (const T y : lane) *to++ = static_cast<double>(y);
}
#if defined(__GNUC__)
/// The same in registers, where the lanes are not spelled out by the compiler: 4 ns less.
inline void store_double(packet<float> x, double* to) {
  typedef float floats __attribute__((vector_size(4 * packet<float>::lanes)));
  typedef double doubles __attribute__((vector_size(8 * packet<float>::lanes)));
  floats narrow;
  std::memcpy(&narrow, &x.value, sizeof narrow);
  const auto wide = __builtin_convertvector(narrow, doubles);
  std::memcpy(to, &wide, sizeof wide);
}
#endif

template <std::floating_point T>
double packet<T>::sum() const {
  double lane[static_cast<std::size_t>(lanes)];
  store_double(*this, lane);
  if constexpr (lanes < 4) {
    double total = 0;
    for (const double x : lane) total += x;
    return total;
  } else {
    double part[4] = {lane[0], lane[1], lane[2], lane[3]};
    for (index_t i = 4; i < lanes; i += 4) {
      for (index_t k = 0; k < 4; ++k) part[k] += lane[i + k];
    }
    return (part[0] + part[1]) + (part[2] + part[3]);
  }
}

/// A few registers that go through the same steps side by side.
template <std::floating_point T, std::size_t N>
using packets = std::array<packet<T>, N>;

/// The exponential that the kernels use, of the base that T's is fastest in: 2 for float, e for
/// double. exp(x) = power(unit x).
template <std::floating_point T>
struct exponential;

template <>
struct exponential<float> {
  using P = packet<float>;
  static constexpr double unit = std::numbers::log2e;

  // k = round(x), in some form; k as a number; and y 2^k.
#if defined(EIGEN_VECTORIZE_AVX512)  // two instructions for the others' four: 6%
  /// At and below it the power is exactly 0: 2^-150 rounds to it.
  static constexpr float floor = -150;
  static P nearest(P x) { return {_mm512_roundscale_ps(x.value, _MM_FROUND_TO_NEAREST_INT)}; }
  static P number(P k) { return k; }
  static P times_power(P y, P k) { return {_mm512_scalef_ps(y.value, k.value)}; }
#else
  /// At and below it the power is exactly 0: the exponent field of 1 becomes 0.
  static constexpr float floor = -127;
  static constexpr float shift = 0x1.8p23f;  // adding it rounds to an integer, held in the low bits
  static P nearest(P x) { return {opaque_register((x + P::all(shift)).value)}; }
  static P number(P k) { return k - P::all(shift); }
  static P times_power(P y, P k) { return {add_to_exponents(y.value, k.value)}; }
#endif

  /// 2^x for floor <= x <= 0, exactly 1 at 0. 2^x = 2^k p(x - k) with k = round(x); p(0) = 1. Relative
  /// error of p, which is minimax of degree 5 under that condition: 9.2e-8. NaN gives anything.
  /// Inlined by force, as for_packets is: in a large file GCC otherwise calls it, at half the speed.
  template <std::size_t N>
  EIGEN_ALWAYS_INLINE static packets<float, N> power(const packets<float, N>& x) {
    packets<float, N> k, f, p;
    const auto horner = [&](float coefficient) {
      for (std::size_t i = 0; i < N; ++i) p[i] = P::multiply_add(p[i], f[i], P::all(coefficient));
    };
    for (std::size_t i = 0; i < N; ++i) k[i] = nearest(x[i]);
    for (std::size_t i = 0; i < N; ++i) f[i] = x[i] - number(k[i]);
    p.fill(P::all(0x1.5bba15d30e9p-10f));
    horner(0x1.3cea8908aae3p-7f);
    horner(0x1.c6b752e557b4dp-5f);
    horner(0x1.ebf9bb864a8abp-3f);
    horner(0x1.62e4292027d77p-1f);
    horner(1);
    for (std::size_t i = 0; i < N; ++i) p[i] = times_power(p[i], k[i]);
    return p;
  }
};

template <>
struct exponential<double> {
  static constexpr double unit = 1;
  static constexpr double floor = -708.3;

  template <std::size_t N>
  EIGEN_ALWAYS_INLINE static packets<double, N> power(const packets<double, N>& x) {
    namespace ei = Eigen::internal;
    packets<double, N> e;
    for (std::size_t k = 0; k < N; ++k) {
      const auto low = ei::pcmp_le(x[k].value, ei::pset1<packet<double>::register_type>(floor));
      e[k] = {ei::pselect(low, ei::pzero(x[k].value), ei::pexp(x[k].value))};
    }
    return e;
  }
};

/// Asks for the cache line `bytes` beyond p, which may lie outside of the memory.
inline void prefetch(const void* p, std::size_t bytes) {
  Eigen::internal::prefetch(
      reinterpret_cast<const float*>(reinterpret_cast<std::uintptr_t>(p) + bytes));
}

/// z - max: a number of its own, that no compiler multiplies out with what follows.
template <std::floating_point T>
packet<T> difference(packet<T> z, packet<T> max) {
  return {opaque_register((z - max).value)};
}

/// x, raised to the floor below which the power is 0: a finite factor where x is -inf. NaN stays.
template <std::floating_point T>
packet<T> bounded(packet<T> x) {
  return (packet<T>::max)(x, packet<T>::all(exponential<T>::floor));
}

}  // namespace idiolect::detail::inline IDIOLECT_TARGET
