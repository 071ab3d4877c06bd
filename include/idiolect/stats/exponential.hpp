// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// exp(x) for x <= 0 in plain arithmetic, without branches, tables or calls: a loop over it is
// vectorised by the compiler for whatever machine it compiles for.
//
//   exp(x) = 2^k exp(r),  k = round(x / ln 2),  |r| <= ln 2 / 2

#include <bit>
#include <cstdint>

namespace idiolect::detail {

/// Relative error below 3e-13; exactly 1 at 0, exactly 0 below -700.
inline double branchless_exp(double x) {
  constexpr double shift = 0x1.8p52;  // adding it rounds to an integer, held in the low bits
  const double bounded = x < -700 ? -700 : x;
  const double shifted = bounded * 0x1.71547652b82fep0 + shift;  // 1 / ln 2
  const double k = shifted - shift;
  const double r = (bounded - k * 0x1.62e42fefap-1) - k * 0x1.cf79abc9e3b3ap-40;  // ln 2 in two
  double p = 1.0 / 3628800;  // Taylor, degree 10: what is left out is below 2.3e-13
  p = p * r + 1.0 / 362880;
  p = p * r + 1.0 / 40320;
  p = p * r + 1.0 / 5040;
  p = p * r + 1.0 / 720;
  p = p * r + 1.0 / 120;
  p = p * r + 1.0 / 24;
  p = p * r + 1.0 / 6;
  p = p * r + 0.5;
  p = p * r + 1;
  p = p * r + 1;
  const auto power = std::bit_cast<double>((std::bit_cast<std::uint64_t>(shifted) + 1023) << 52);
  return x < -700 ? 0 : p * power;
}

/// Relative error below 4e-7; exactly 0 below -80.
inline float branchless_exp(float x) {
  constexpr float shift = 0x1.8p23f;
  const float bounded = x < -80 ? -80 : x;
  const float shifted = bounded * 0x1.715476p0f + shift;
  const float k = shifted - shift;
  const float r = (bounded - k * 0x1.62e4p-1f) - k * 0x1.7f7d1cp-20f;
  float p = 1.0f / 720;  // Taylor, degree 6
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1;
  p = p * r + 1;
  const auto power = std::bit_cast<float>((std::bit_cast<std::uint32_t>(shifted) + 127) << 23);
  return x < -80 ? 0 : p * power;
}

}  // namespace idiolect::detail
