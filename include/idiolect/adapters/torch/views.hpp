// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Tensors as the library's views: what is checked of them, when rows are used in place and when
// they are copied, and the choice of a scalar type at run time.

#include <cstddef>
#include <optional>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

#include <ATen/ATen.h>

#include <idiolect/core/error.hpp>
#include <idiolect/core/matrix_view.hpp>
#include <idiolect/core/scalar.hpp>
#include <idiolect/core/types.hpp>

namespace idiolect::detail {

/// As LibTorch prints it: a shape, a type, a device.
template <class T>
[[nodiscard]] std::string printed(const T& x) {
  std::ostringstream out;
  out << x;
  return out.str();
}

/// Raises backend_error unless `found` is `wanted`.
inline void check_device(std::string_view argument, at::Device found, at::Device wanted) {
  require<backend_error>(found == wanted, argument, [&] {
    std::string message = "is on " + found.str();
    if (!wanted.is_cpu()) return message + ", but the logits are on " + wanted.str();
    if (argument != "logits") return message + ", but the logits are on the CPU";
    return message + (found.is_cuda() ? ", but this call is for the CPU; "
                                        "idiolect/adapters/torch/cuda.cuh, in a unit that nvcc "
                                        "compiles, is for CUDA's tensors"
                                      : ": only tensors on the CPU and on CUDA devices are taken");
  });
}

/// Raises shape_error unless there is a dense tensor.
inline void check_dense(std::string_view argument, const at::Tensor& t) {
  require(t.defined(), argument, "an undefined tensor");
  require(t.layout() == at::kStrided, argument,
          [&] { return "must be dense, not " + printed(t.layout()); });
}

/// Raises shape_error for anything that are no rows of logits, [..., V] of fp32, fp64, fp16 or
/// bf16.
inline void check_logits(const at::Tensor& logits) {
  check_dense("logits", logits);
  const auto type = logits.scalar_type();
  require(type == at::kFloat || type == at::kDouble || type == at::kHalf || type == at::kBFloat16,
          "logits",
          [&] { return "must be fp32, fp64, fp16 or bf16, not " + std::string(toString(type)); });
  require(logits.dim() > 0, "logits", "a scalar, but rows of the vocabulary's size are needed");
}

/// The shape of what has one entry a row.
[[nodiscard]] inline at::IntArrayRef leading_shape(const at::Tensor& logits) {
  return logits.sizes().slice(0, static_cast<std::size_t>(logits.dim() - 1));
}

/// Raises shape_error, or backend_error, unless `t` has one entry a row and is where they are.
inline void check_per_row(std::string_view argument, const at::Tensor& t,
                          const at::Tensor& logits) {
  check_dense(argument, t);
  check_device(argument, t.device(), logits.device());
  require(t.sizes() == leading_shape(logits), argument, [&] {
    return "of shape " + printed(t.sizes()) + ", but logits of shape " + printed(logits.sizes()) +
           " have rows of shape " + printed(leading_shape(logits));
  });
}

/// Raises shape_error unless `t` holds int32 or int64.
inline void check_integers(std::string_view argument, const at::Tensor& t) {
  const auto type = t.scalar_type();
  require(type == at::kLong || type == at::kInt, argument,
          [&] { return "must be int64 or int32, not " + std::string(toString(type)); });
}

/// Logits as N x V: `holder` owns the memory, and is a copy where the tensor's own rows cannot be
/// used.
struct tensor_rows {
  at::Tensor holder;
  index_t rows = 0;
  index_t cols = 0;
  index_t stride = 0;
  bool copied = false;
};

/// The distance of one row to the next, in elements, where all rows have adjacent elements, lie
/// apart, and have one such distance. O(dimensions).
[[nodiscard]] inline std::optional<index_t> row_stride(const at::Tensor& logits) {
  const auto last = logits.dim() - 1;
  const index_t cols = logits.size(last);
  if (logits.numel() == 0) return cols;
  if (cols > 1 && logits.stride(last) != 1) return std::nullopt;
  index_t step = cols;
  index_t rows = 1;
  for (auto d = last - 1; d >= 0; --d) {
    const index_t n = logits.size(d);
    if (n == 1) continue;
    if (rows == 1) {
      step = logits.stride(d);
    } else if (logits.stride(d) != step * rows) {
      return std::nullopt;
    }
    rows *= n;
  }
  if (step < cols) return std::nullopt;
  return step;
}

/// Logits as rows: the tensor's own where `row_stride` has a distance, else those of a contiguous
/// copy. Values whose negation is pending are copied too.
[[nodiscard]] inline tensor_rows rows_of(const at::Tensor& logits) {
  tensor_rows r;
  r.cols = logits.size(-1);
  r.rows = 1;
  for (const auto n : leading_shape(logits)) r.rows *= n;
  const auto own = row_stride(logits);
  r.copied = !own || logits.is_neg();
  r.holder = r.copied ? logits.resolve_neg().clone(at::MemoryFormat::Contiguous) : logits;
  r.stride = r.copied ? r.cols : *own;
  return r;
}

/// Memory to read. Asking a tensor that shares its memory until written for writable memory would
/// copy it.
template <class Tensor>
[[nodiscard]] const void* memory_of(const Tensor& t) {
  if constexpr (requires { t.const_data_ptr(); }) {
    return t.const_data_ptr();
  } else {
    return t.data_ptr();
  }
}

template <class T>
[[nodiscard]] matrix_view<const T> read_view(const tensor_rows& r) {
  return {static_cast<const T*>(memory_of(r.holder)), r.rows, r.cols, r.stride};
}
template <class T>
[[nodiscard]] matrix_view<T> write_view(const tensor_rows& r) {
  return {static_cast<T*>(r.holder.data_ptr()), r.rows, r.cols, r.stride};
}

/// A tensor with one entry a row as a contiguous one of another type, flattened.
[[nodiscard]] inline at::Tensor flat(const at::Tensor& t, at::ScalarType type) {
  return t.detach().to(type).reshape({-1}).contiguous();
}

template <class T>
[[nodiscard]] std::span<const T> span_of(const at::Tensor& flat) {
  return {static_cast<const T*>(memory_of(flat)), static_cast<std::size_t>(flat.numel())};
}

/// f.operator()<T>() for the scalar that a checked tensor of logits stores. LibTorch's 16-bit types
/// have the layout of the library's.
template <class F>
decltype(auto) with_scalar(at::ScalarType type, F&& f) {
  switch (type) {
    case at::kDouble:
      return f.template operator()<double>();
    case at::kHalf:
      return f.template operator()<half>();
    case at::kBFloat16:
      return f.template operator()<bfloat16>();
    default:
      return f.template operator()<float>();
  }
}

/// The type of losses: double for double logits, else fp32.
[[nodiscard]] inline at::ScalarType loss_type(const at::Tensor& logits) {
  return logits.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

}  // namespace idiolect::detail
