// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The 16-bit types, exhaustively: every pattern to float, and back by rounding to the nearest, ties
// to even, against the formats' definition.

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include <idiolect/core/scalar.hpp>

#include "support/catch.hpp"
#include "support/rows.hpp"

namespace idiolect::test {
namespace {

constexpr std::uint32_t patterns = 1u << 16;

/// A format by its definition: 1 sign bit, Exponent bits, Mantissa bits.
template <class T, int Exponent, int Mantissa>
struct format {
  using type = T;
  static constexpr int bias = (1 << (Exponent - 1)) - 1;
  static constexpr std::uint32_t infinity_bits = ((1u << Exponent) - 1) << Mantissa;

  /// Of a finite pattern; of the infinite one what would come next, as rounding sees it.
  static double value(std::uint32_t bits) {
    const auto mantissa = static_cast<double>(bits & ((1u << Mantissa) - 1));
    const int exponent = static_cast<int>((bits & 0x7fffu) >> Mantissa);
    const double magnitude =
        exponent == 0 ? std::ldexp(mantissa, 1 - bias - Mantissa)
                      : std::ldexp(mantissa + (1 << Mantissa), exponent - bias - Mantissa);
    return (bits & 0x8000u) != 0 ? -magnitude : magnitude;
  }

  /// The nearest pattern, ties to the even one, by bisection over the positive ones.
  static std::uint16_t nearest(float x) {
    const std::uint32_t sign = std::signbit(x) ? 0x8000u : 0u;
    const double magnitude = std::fabs(static_cast<double>(x));
    if (std::isinf(magnitude)) return static_cast<std::uint16_t>(sign | infinity_bits);
    std::uint32_t low = 0, high = infinity_bits;  // value(low) <= magnitude
    if (magnitude >= value(high)) return static_cast<std::uint16_t>(sign | infinity_bits);
    while (high - low > 1) {
      const std::uint32_t middle = (low + high) / 2;
      (value(middle) <= magnitude ? low : high) = middle;
    }
    const double below = magnitude - value(low), above = value(high) - magnitude;
    const bool up = above < below || (above == below && high % 2 == 0);
    return static_cast<std::uint16_t>(sign | (up ? high : low));
  }
};

using half_format = format<half, 5, 10>;
using bfloat16_format = format<bfloat16, 8, 7>;

template <class T>
T from_bits(std::uint32_t bits) {
  T x;
  x.bits = static_cast<std::uint16_t>(bits);
  return x;
}

}  // namespace

TEMPLATE_TEST_CASE("a 16-bit scalar widens exactly and comes back", "", half_format,
                   bfloat16_format) {
  using T = typename TestType::type;
  std::uint32_t wrong_values = 0, wrong_returns = 0, wrong_nans = 0, finite = 0;
  for (std::uint32_t bits = 0; bits < patterns; ++bits) {
    const T x = from_bits<T>(bits);
    const auto wide = static_cast<float>(x);
    const std::uint32_t magnitude = bits & 0x7fffu;
    if (magnitude > TestType::infinity_bits) {
      const T back{wide};
      wrong_nans += !std::isnan(wide) || (back.bits & 0x7fffu) <= TestType::infinity_bits ||
                    (back.bits & 0x8000u) != (bits & 0x8000u);
      continue;
    }
    if (magnitude == TestType::infinity_bits) {
      wrong_values += !std::isinf(wide);
    } else {
      ++finite;
      wrong_values += static_cast<double>(wide) != TestType::value(bits);
    }
    wrong_values += std::signbit(wide) != ((bits & 0x8000u) != 0);
    wrong_returns += T{wide}.bits != bits;
  }
  CHECK(finite == 2 * TestType::infinity_bits);
  CHECK(wrong_values == 0);
  CHECK(wrong_returns == 0);
  CHECK(wrong_nans == 0);
}

TEMPLATE_TEST_CASE("a 16-bit scalar rounds to nearest with ties to even", "", half_format,
                   bfloat16_format) {
  using T = typename TestType::type;
  std::uint32_t wrong = 0, ties = 0;
  float example = 0;
  const auto check = [&](float x) {
    if (T{x}.bits != TestType::nearest(x)) ++wrong, example = x;
  };
  for (std::uint32_t bits = 0; bits < TestType::infinity_bits; ++bits) {
    // The middle between neighbours is exact in float, as is the step to either side of it.
    const double middle = (TestType::value(bits) + TestType::value(bits + 1)) / 2;
    const auto tie = static_cast<float>(middle);
    ties += static_cast<double>(tie) == middle;
    for (const float sign : {1.0f, -1.0f}) {
      check(sign * tie);
      check(sign * std::nextafter(tie, 0.0f));
      check(sign * std::nextafter(tie, std::numeric_limits<float>::infinity()));
    }
  }
  random_source random(1);
  for (int i = 0; i < 500000; ++i) {
    const auto x = std::bit_cast<float>(static_cast<std::uint32_t>(random.bits()));
    if (!std::isnan(x)) check(x);
  }
  INFO("for example " << example);
  CHECK(ties == TestType::infinity_bits);
  CHECK(wrong == 0);
}

TEST_CASE("the ends of the 16-bit scalars") {
  CHECK(half(65504.0f).bits == 0x7bff);
  CHECK(half(65519.996f).bits == 0x7bff);
  CHECK(half(65520.0f).bits == 0x7c00);  // the tie goes to the even pattern, which is infinity
  CHECK(half(0x1.0p-24f).bits == 1);
  CHECK(half(0x1.0p-25f).bits == 0);
  CHECK(half(-0x1.000002p-25f).bits == 0x8001);
  CHECK(half(-0.0f).bits == 0x8000);
  CHECK(half(std::numeric_limits<float>::denorm_min()).bits == 0);
  CHECK(bfloat16(std::numeric_limits<float>::max()).bits == 0x7f80);
  CHECK(bfloat16(std::numeric_limits<float>::denorm_min()).bits == 0);
  // A NaN whose payload lies in the bits that are dropped stays a NaN.
  CHECK(std::isnan(static_cast<float>(bfloat16(std::bit_cast<float>(0x7f800001u)))));
  CHECK(std::isnan(static_cast<float>(half(std::bit_cast<float>(0xff800001u)))));
}

TEST_CASE("scalars enter and leave arithmetic in the accumulation type") {
  STATIC_REQUIRE(std::is_same_v<accumulator_t<float>, float>);
  STATIC_REQUIRE(std::is_same_v<accumulator_t<const double>, double>);
  STATIC_REQUIRE(std::is_same_v<accumulator_t<half>, float>);
  STATIC_REQUIRE(std::is_same_v<accumulator_t<bfloat16>, float>);
  STATIC_REQUIRE(logit_scalar<float>);
  STATIC_REQUIRE(logit_scalar<const half>);
  STATIC_REQUIRE_FALSE(logit_scalar<int>);
  STATIC_REQUIRE_FALSE(logit_scalar<long double>);
  STATIC_REQUIRE(std::is_same_v<decltype(load(half{})), float>);
  STATIC_REQUIRE(sizeof(half) == 2);
  STATIC_REQUIRE(sizeof(bfloat16) == 2);
  CHECK(load(store<half>(0.1)) == 0.0999755859375f);
  CHECK(load(store<bfloat16>(0.1)) == 0.10009765625f);
  CHECK(load(store<double>(0.1)) == 0.1);
}

}  // namespace idiolect::test
