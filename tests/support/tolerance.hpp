// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// What is allowed, by scalar type, in one place for all backends; and what is compared with it.

#include <cmath>
#include <concepts>
#include <cstring>
#include <vector>

#include <idiolect/core/error.hpp>
#include <idiolect/core/scalar.hpp>

namespace idiolect::test {

/// Of a statistic, in units of max(1, |value|): what the library promises for sums in float, where
/// a likelihood (log p, lse), an entropy (H, phi) and a square (varentropy, collision) differ. In
/// double: 151936 roundings of 1.1e-16, were all in one direction, are 1.7e-11.
template <std::floating_point Accumulator>
inline constexpr double statistic_tolerance = std::same_as<Accumulator, float> ? 2e-6 : 2e-11;
template <std::floating_point Accumulator>
inline constexpr double likelihood_tolerance = std::same_as<Accumulator, float> ? 1e-6 : 2e-11;
template <std::floating_point Accumulator>
inline constexpr double entropy_tolerance = std::same_as<Accumulator, float> ? 1.5e-6 : 2e-11;

/// What a type can store: half a unit in the last place, the smallest step, the largest number.
template <class T>
struct storage;
template <>
struct storage<float> {
  static constexpr double rounding = 0x1.0p-24, smallest = 0x1.0p-149, largest = 3e38;
};
template <>
struct storage<double> {
  static constexpr double rounding = 0x1.0p-53, smallest = 0x1.0p-1074,
                          largest = 8e307;  // twice is finite
};
template <>
struct storage<half> {
  static constexpr double rounding = 0x1.0p-11, smallest = 0x1.0p-24, largest = 65504;
};
template <>
struct storage<bfloat16> {
  static constexpr double rounding = 0x1.0p-8, smallest = 0x1.0p-133, largest = 3e38;
};

/// Of an element dz = common + pull of a gradient that is stored as G. The parts' relative error is
/// a statistic's (log p, up to 90 nats below the maximum, costs float another 90 * 2^-23 of p);
/// below 1e-37 float flushes to zero; then it is rounded once to G (bounds twice that: the
/// reference goes by way of float to a 16-bit type).
template <std::floating_point Accumulator, class G>
double gradient_tolerance(long double common, long double pull, long double dz) {
  constexpr bool single = std::same_as<Accumulator, float>;
  const double parts = static_cast<double>(std::fabs(common) + std::fabs(pull));
  return (single ? 1.2e-5 * static_cast<double>(std::fabs(common)) +
                       2e-6 * static_cast<double>(std::fabs(pull)) + 1e-37
                 : 2e-11 * parts) +
         1.001 * storage<G>::rounding * static_cast<double>(std::fabs(dz)) + storage<G>::smallest;
}

/// Whether two ranges of numbers are the same, bit for bit.
template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(static_cast<const void*>(a.data()),
                                   static_cast<const void*>(b.data()), a.size() * sizeof(T)) == 0);
}

/// The error that f raises; `argument()` is "nothing was raised" where none is.
template <class Error = error, class F>
Error raised(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e;
  }
  return Error("nothing was raised", "");
}

}  // namespace idiolect::test
