// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// exp(x) for x <= 0 in plain arithmetic, without branches, tables or calls: a loop over it is
// vectorised by the compiler for whatever machine it compiles for. Runs on a
// device too.
//
//   exp(x) = 2^k exp(r),  k = round(x / ln 2),  |r| <= ln 2 / 2
//
// The polynomials are those of least relative error that begin 1 + r: 3e-16 and 3e-9. x is bounded
// as an integer, which orders numbers of one sign as their magnitudes: compilers turn
// a comparison of floating point numbers into branches and then vectorise nothing.

#include <cstdint>

#include <idiolect/config.hpp>
#include <idiolect/core/scalar.hpp>

namespace idiolect::detail {

/// Relative error below 1e-15; exactly 1 at 0, exactly 0 below -700 and for NaN.
IDIOLECT_HD inline double branchless_exp(double x) {
#if defined(__clang__)  // by which (bounded / ln 2 + shift) - shift stays: GCC's users cannot ask
#pragma clang fp reassociate(off)
#endif
  constexpr double shift = 0x1.8p52;  // adding it rounds to an integer, held in the low bits
  constexpr auto lowest = bit_cast<std::int64_t>(-700.0);
  const auto bits =
      static_cast<std::int64_t>(bit_cast<std::uint64_t>(x) | std::uint64_t{1} << 63);
  const auto bounded = bit_cast<double>(bits < lowest ? bits : lowest);
  const double shifted = bounded * 0x1.71547652b82fep0 + shift;  // 1 / ln 2
  const double k = shifted - shift;
  const double r = (bounded - k * 0x1.62e42fefap-1) - k * 0x1.cf79abc9e3b3ap-40;  // ln 2 in two
  double p = 0x1.2704752b359c9p-22;
  p = p * r + 0x1.72e9a0d3052fbp-19;
  p = p * r + 0x1.a01b80c78a721p-16;
  p = p * r + 0x1.a0198ce3aa151p-13;
  p = p * r + 0x1.6c16c0c62f907p-10;
  p = p * r + 0x1.11111125d3012p-7;
  p = p * r + 0x1.5555555589b15p-5;
  p = p * r + 0x1.5555555550729p-3;
  p = p * r + 0x1.ffffffffffecfp-2;
  p = p * r + 1;
  p = p * r + 1;
  const auto power = bit_cast<std::uint64_t>(shifted) << 52;  // into the exponent of p
  const auto normal = std::uint64_t{0} - static_cast<std::uint64_t>(bits <= lowest);
  return bit_cast<double>((bit_cast<std::uint64_t>(p) + power) & normal);
}

/// Relative error below 1e-7, on average below 1e-9; exactly 1 at 0, exactly 0 below -80 and for
/// NaN.
IDIOLECT_HD inline float branchless_exp(float x) {
#if defined(__clang__)
#pragma clang fp reassociate(off)
#endif
  constexpr float shift = 0x1.8p23f;
  constexpr auto lowest = bit_cast<std::int32_t>(-80.0f);
  const auto bits =
      static_cast<std::int32_t>(bit_cast<std::uint32_t>(x) | std::uint32_t{1} << 31);
  const auto bounded = bit_cast<float>(bits < lowest ? bits : lowest);
  const float shifted = bounded * 0x1.715476p0f + shift;
  const float k = shifted - shift;
  const float r = (bounded - k * 0x1.62e4p-1f) - k * 0x1.7f7d1cp-20f;
  float p = 0x1.6a2352p-10f;
  p = p * r + 0x1.123a6cp-7f;
  p = p * r + 0x1.5558f4p-5f;
  p = p * r + 0x1.55549p-3f;
  p = p * r + 0x1.fffffcp-2f;
  p = p * r + 1;
  p = p * r + 1;
  const auto power = bit_cast<std::uint32_t>(shifted) << 23;
  const auto normal = std::uint32_t{0} - static_cast<std::uint32_t>(bits <= lowest);
  return bit_cast<float>((bit_cast<std::uint32_t>(p) + power) & normal);
}

}  // namespace idiolect::detail
