// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// CUDA's own 16-bit types as logits and gradients: include this before they are used as such. They
// have the layouts of idiolect::half and idiolect::bfloat16.

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <idiolect/backend/cuda/row_tile.hpp>
#include <idiolect/core/scalar.hpp>

namespace idiolect {

template <>
struct scalar_traits<__half> {
  using accumulator = float;
};
template <>
struct scalar_traits<__nv_bfloat16> {
  using accumulator = float;
};

// By the functions, since a program may have switched the conversion operators off.
template <>
[[nodiscard]] IDIOLECT_HD inline float load<__half>(__half x) {
  return __half2float(x);
}
template <>
[[nodiscard]] IDIOLECT_HD inline float load<__nv_bfloat16>(__nv_bfloat16 x) {
  return __bfloat162float(x);
}
template <>
[[nodiscard]] IDIOLECT_HD inline __half store<__half, float>(float x) {
  return __float2half_rn(x);
}
template <>
[[nodiscard]] IDIOLECT_HD inline __half store<__half, double>(double x) {
  return __float2half_rn(static_cast<float>(x));
}
template <>
[[nodiscard]] IDIOLECT_HD inline __nv_bfloat16 store<__nv_bfloat16, float>(float x) {
  return __float2bfloat16_rn(x);
}
template <>
[[nodiscard]] IDIOLECT_HD inline __nv_bfloat16 store<__nv_bfloat16, double>(double x) {
  return __float2bfloat16_rn(static_cast<float>(x));
}

namespace detail {
template <>
inline constexpr pair_kind pair_of<__half> = pair_kind::half;
template <>
inline constexpr pair_kind pair_of<__nv_bfloat16> = pair_kind::bfloat16;
}  // namespace detail

}  // namespace idiolect
