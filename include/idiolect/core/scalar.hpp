// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Scalar types of logits and gradients. Arithmetic happens in the accumulation type: float for
// fp32, fp16 and bf16, double for fp64; a 16-bit type is only ever loaded and stored.
//
// Another library's half or bfloat16 takes part by specialising `scalar_traits`.

#include <concepts>
#include <cstdint>
#include <limits>
#include <type_traits>

#include <idiolect/config.hpp>

namespace idiolect {

namespace detail {
/// std::bit_cast, which a device compiler takes for host code.
template <class To, class From>
  requires(sizeof(To) == sizeof(From) && std::is_trivially_copyable_v<To> &&
           std::is_trivially_copyable_v<From>)
[[nodiscard]] IDIOLECT_HD constexpr To bit_cast(const From& from) {
  return __builtin_bit_cast(To, from);
}
/// Members of std::numeric_limits, for the same reason.
template <class Real>
inline constexpr Real infinity = std::numeric_limits<Real>::infinity();
template <class Real>
inline constexpr Real quiet_nan = std::numeric_limits<Real>::quiet_NaN();
template <class Real>
inline constexpr Real largest_finite = (std::numeric_limits<Real>::max)();

/// Neither infinite nor NaN. By comparison: x - x may be folded away where sums may be regrouped.
template <class Real>
[[nodiscard]] IDIOLECT_HD constexpr bool is_finite(Real x) {
  return x < infinity<Real> && x > -infinity<Real>;
}
}  // namespace detail

/// IEEE 754 binary16, storage only.
struct half {
  std::uint16_t bits = 0;

  half() = default;
  IDIOLECT_HD explicit half(float x) : bits(round(x)) {}
  IDIOLECT_HD explicit operator float() const { return widen(bits); }

 private:
  IDIOLECT_HD static float widen(std::uint16_t h) {
#if defined(__CUDA_ARCH__)
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(h));
    return wide;
#else
    const std::uint32_t sign = static_cast<std::uint32_t>(h & 0x8000u) << 16;
    const std::uint32_t magnitude = static_cast<std::uint32_t>(h & 0x7fffu) << 13;
    if (magnitude >= 0x0f800000u) return detail::bit_cast<float>(sign | 0x7f800000u | (magnitude & 0x007fffffu));
    // The exponent is rebiased by a multiplication, which also normalises subnormals.
    const float value = detail::bit_cast<float>(magnitude) * detail::bit_cast<float>(0x77800000u);  // 2^112
    return detail::bit_cast<float>(detail::bit_cast<std::uint32_t>(value) | sign);
#endif
  }
  IDIOLECT_HD static std::uint16_t round(float x) {
#if defined(__CUDA_ARCH__)
    std::uint16_t narrow;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(narrow) : "f"(x));
    return narrow;
#else
    const std::uint32_t bits = detail::bit_cast<std::uint32_t>(x);
    const std::uint32_t sign = (bits >> 16) & 0x8000u;
    const std::uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7e00u);   // NaN
    if (magnitude >= 0x477ff000u) return static_cast<std::uint16_t>(sign | 0x7c00u);  // to inf
    std::uint32_t rounded;
    if (magnitude < 0x38800000u) {  // subnormal half: let the float adder round to even
      const float shifted = detail::bit_cast<float>(magnitude) + 0.5f;
      rounded = detail::bit_cast<std::uint32_t>(shifted) - 0x3f000000u;
    } else {
      rounded = (magnitude - 0x38000000u + 0x0fffu + ((magnitude >> 13) & 1u)) >> 13;
    }
    return static_cast<std::uint16_t>(sign | rounded);
#endif
  }
};

/// The upper half of an fp32, storage only.
struct bfloat16 {
  std::uint16_t bits = 0;

  bfloat16() = default;
  IDIOLECT_HD explicit bfloat16(float x) {
    const std::uint32_t word = detail::bit_cast<std::uint32_t>(x);
    bits = (word & 0x7fffffffu) > 0x7f800000u
               ? static_cast<std::uint16_t>((word >> 16) | 0x0040u)  // NaN stays NaN
               : static_cast<std::uint16_t>((word + 0x7fffu + ((word >> 16) & 1u)) >> 16);
  }
  IDIOLECT_HD explicit operator float() const {
    return detail::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  }
};

/// How a stored scalar enters and leaves arithmetic.
template <class T>
struct scalar_traits;

template <>
struct scalar_traits<float> {
  using accumulator = float;
};
template <>
struct scalar_traits<double> {
  using accumulator = double;
};
template <>
struct scalar_traits<half> {
  using accumulator = float;
};
template <>
struct scalar_traits<bfloat16> {
  using accumulator = float;
};

/// A type that logits and gradients may be stored in.
template <class T>
concept logit_scalar = std::is_trivially_copyable_v<T> && requires {
  typename scalar_traits<std::remove_cv_t<T>>::accumulator;
};

/// The type that arithmetic on stored `T`s is done in.
template <class T>
using accumulator_t = typename scalar_traits<std::remove_cv_t<T>>::accumulator;

template <logit_scalar T>
[[nodiscard]] IDIOLECT_HD accumulator_t<T> load(T x) {
  return static_cast<accumulator_t<T>>(x);
}

template <logit_scalar T, std::floating_point Real>
[[nodiscard]] IDIOLECT_HD T store(Real x) {
  return static_cast<T>(static_cast<accumulator_t<T>>(x));
}

}  // namespace idiolect
