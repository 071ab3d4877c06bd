// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The few SIMD operations that the CPU kernels are written in, on Eigen's packets: SSE, AVX,
// AVX-512, NEON or scalar, as the file that includes this is compiled. Nothing else of the library
// names Eigen::internal.

#include <bit>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <numbers>

#include <Eigen/Core>

#include <idiolect/core/types.hpp>

namespace idiolect::detail {

/// A register of floats times 2^k, for lanes of `shifted` = k + 1.5 * 2^23 with integer k: k is added
/// to the exponent field.
template <class Register>
Register times_power(Register x, Register shifted) {
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
  /// The larger. NaN in `a` stays, NaN in `b` may not.
  static packet max(packet a, packet b) { return {Eigen::internal::pmax(a.value, b.value)}; }

  [[nodiscard]] T lane(index_t i) const {
    T x[lanes];
    store(x);
    return x[i];
  }
  /// The lanes in double, in a fixed order: four sums of every fourth, then those in pairs.
  [[nodiscard]] double sum() const {
    T lane[lanes];
    store(lane);
    if constexpr (lanes < 4) {
      double total = 0;
      for (const T x : lane) total += static_cast<double>(x);
      return total;
    } else {
      double part[4] = {lane[0], lane[1], lane[2], lane[3]};
      for (index_t i = 4; i < lanes; i += 4) {
        for (index_t k = 0; k < 4; ++k) part[k] += static_cast<double>(lane[i + k]);
      }
      return (part[0] + part[1]) + (part[2] + part[3]);
    }
  }
  [[nodiscard]] T largest() const { return Eigen::internal::predux_max(value); }
};

/// The exponential that the kernels use, of the base that T's is fastest in: 2 for float, e for
/// double. exp(x) = power(unit x).
template <std::floating_point T>
struct exponential;

template <>
struct exponential<float> {
  static constexpr double unit = std::numbers::log2e;
  /// At and below it the power is exactly 0.
  static constexpr float floor = -127;

  /// 2^x for floor <= x <= 0, exactly 1 at 0. 2^x = 2^k p(x - k) with k = round(x); at the floor the
  /// exponent field becomes 0, and so does the number, since p(0) = 1. Relative error of p, which is
  /// minimax of degree 5 under that condition: 9.2e-8. NaN gives anything.
  static packet<float> power(packet<float> x) {
    using P = packet<float>;
    const P shift = P::all(0x1.8p23f);  // adding it rounds to an integer, held in the low bits
    const P shifted = x + shift;
    const P f = x - (shifted - shift);
    P p = P::multiply_add(P::all(0x1.5bba15d30e9p-10f), f, P::all(0x1.3cea8908aae3p-7f));
    p = P::multiply_add(p, f, P::all(0x1.c6b752e557b4dp-5f));
    p = P::multiply_add(p, f, P::all(0x1.ebf9bb864a8abp-3f));
    p = P::multiply_add(p, f, P::all(0x1.62e4292027d77p-1f));
    p = P::multiply_add(p, f, P::all(1));
    return {times_power(p.value, shifted.value)};
  }
};

template <>
struct exponential<double> {
  static constexpr double unit = 1;
  static constexpr double floor = -708.3;

  static packet<double> power(packet<double> x) {
    namespace ei = Eigen::internal;
    const auto low = ei::pcmp_le(x.value, ei::pset1<packet<double>::register_type>(floor));
    return {ei::pselect(low, ei::pzero(x.value), ei::pexp(x.value))};
  }
};

/// Asks for the cache line `bytes` beyond p, which may lie outside of the memory.
inline void prefetch(const void* p, std::size_t bytes) {
  Eigen::internal::prefetch(
      reinterpret_cast<const float*>(reinterpret_cast<std::uintptr_t>(p) + bytes));
}

/// x, raised to the floor below which the power is 0: a finite factor where x is -inf. NaN stays.
template <std::floating_point T>
packet<T> bounded(packet<T> x) {
  return packet<T>::max(x, packet<T>::all(exponential<T>::floor));
}

}  // namespace idiolect::detail
