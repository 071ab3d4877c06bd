// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The few SIMD operations that the CPU kernels are written in, on Eigen's packets: SSE, AVX,
// AVX-512, NEON or scalar, as the file that includes this is compiled. Nothing else of the library
// names Eigen's internals.

#include <cmath>
#include <concepts>

#include <Eigen/Core>

#include <idiolect/core/types.hpp>

namespace idiolect::detail {

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
  static packet max(packet a, packet b) { return {Eigen::internal::pmax(a.value, b.value)}; }

  /// The lanes one by one, in order, added up in double.
  [[nodiscard]] double sum() const {
    T lane[lanes];
    store(lane);
    double total = 0;
    for (const T x : lane) total += static_cast<double>(x);
    return total;
  }
  [[nodiscard]] T largest() const { return Eigen::internal::predux_max(value); }
};

/// Below this exponent exp is taken as exactly 0: it would not be a normal number.
template <std::floating_point T>
inline constexpr T exp_floor = std::same_as<T, float> ? T(-87.3) : T(-708.3);

/// x where x is at least the floor (or NaN), 0 elsewhere: the factor in x exp(x), where -inf times
/// zero would otherwise appear.
template <std::floating_point T>
packet<T> bounded(packet<T> x) {
  namespace ei = Eigen::internal;
  const auto low = ei::pcmp_lt(x.value, ei::pset1<decltype(x.value)>(exp_floor<T>));
  return {ei::pselect(low, ei::pzero(x.value), x.value)};
}

/// exp(x) for x <= 0; exactly 0 below the floor. NaN gives anything: it is found in `bounded`.
template <std::floating_point T>
packet<T> exp_nonpositive(packet<T> x) {
  namespace ei = Eigen::internal;
  const auto low = ei::pcmp_lt(x.value, ei::pset1<decltype(x.value)>(exp_floor<T>));
  return {ei::pselect(low, ei::pzero(x.value), ei::pexp(x.value))};
}

/// The same for one number.
template <std::floating_point T>
T bounded(T x) {
  return x < exp_floor<T> ? T{0} : x;
}
template <std::floating_point T>
T exp_nonpositive(T x) {
  return x < exp_floor<T> ? T{0} : std::exp(x);
}

}  // namespace idiolect::detail
