// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// `torch_cuda_loss`: any token loss of tensors on a CUDA device, under autograd, for units that nvcc
// compiles against a LibTorch with CUDA. Compiled, not yet run on a GPU.
//
// Everything is enqueued on LibTorch's current stream of the logits' device, and memory is its caching
// allocator's. Nothing waits: the report stays on the device until it is asked for.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/types.h>

#include <idiolect/adapters/torch/arguments.hpp>
#include <idiolect/adapters/torch/gradient.hpp>
#include <idiolect/adapters/torch/options.hpp>
#include <idiolect/adapters/torch/views.hpp>
#include <idiolect/backend/cuda/loss.cuh>
#include <idiolect/core/error.hpp>

namespace idiolect {

/// A loss of tensors on a device.
struct torch_cuda_loss_result {
  torch::Tensor loss;  ///< on the device; as torch_loss_result's
  /// `report.wait()` waits for the stream and gives the loss_report, or raises what the device found:
  /// a target outside the vocabulary, bad offsets, and rows that are not finite where asked for.
  cuda_loss report;
  torch::Tensor workspace;  ///< what the report lies in; keep it until after `wait`
};

namespace detail {

/// Multiplies a row-major gradient by one factor, or by one a row. Where there is one factor and it is
/// 1, which only the device knows, nothing is read or written.
template <class T>
__global__ void scale_rows(T* gradient, index_t rows, index_t cols, index_t stride,
                           const float* factors, bool per_row) {
  if (!per_row && factors[0] == 1) return;
  for (auto i = static_cast<index_t>(blockIdx.y); i < rows; i += gridDim.y) {
    const auto factor = static_cast<accumulator_t<T>>(factors[per_row ? i : 0]);
    if (factor == 1) continue;
    T* const row = gradient + i * stride;
    for (auto j = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x; j < cols;
         j += static_cast<index_t>(gridDim.x) * blockDim.x) {
      row[j] = store<T>(load(row[j]) * factor);
    }
  }
}

/// See scale_gradient. fp64 gradients keep LibTorch's multiplication, which has fp64 factors.
inline void scale_on_device(at::Tensor& gradient, const at::Tensor& factor) {
  if (gradient.scalar_type() == at::kDouble) {
    gradient.mul_(factor.dim() == 0 ? factor : factor.unsqueeze(-1));
    return;
  }
  const c10::cuda::CUDAGuard device(gradient.device());
  const tensor_rows r = rows_of(gradient);
  if (r.rows == 0 || r.cols == 0) return;
  const at::Tensor factors = flat(factor, at::kFloat);
  constexpr unsigned threads = 256;
  const auto blocks = [](index_t n, index_t most) {
    return static_cast<unsigned>(n < most ? n : most);
  };
  const dim3 grid(blocks((r.cols + threads - 1) / threads, 32), blocks(r.rows, 65535));
  with_scalar(gradient.scalar_type(), [&]<class T>() {
    scale_rows<T><<<grid, threads, 0, c10::cuda::getCurrentCUDAStream()>>>(
        static_cast<T*>(r.holder.data_ptr()), r.rows, r.cols, r.stride,
        static_cast<const float*>(factors.data_ptr()), factor.dim() > 0);
  });
  check(cudaGetLastError(), "scale_rows");
}

/// A number of the call's workspace as a tensor that keeps the workspace alive.
inline at::Tensor tensor_in(const at::Tensor& workspace, const double* at_address,
                            at::IntArrayRef shape) {
  return at::from_blob(const_cast<double*>(at_address), shape, [workspace](void*) {},
                       workspace.options().dtype(at::kDouble));
}

}  // namespace detail

/// torch_loss for tensors on one CUDA device: arguments, layouts, dtypes and gradients as there, with
/// weights and sequence offsets on the device too. `f` is trivially copyable and its functions are
/// IDIOLECT_HD; at most 16 end tokens; `options.executor` is not used.
///
/// Does not wait for the device, and so cannot raise what only the device sees: see the result's
/// `report`. In the backward pass a grad_output of 1 costs a kernel that looks at it and returns.
template <class Loss>
  requires(token_loss<Loss> || gate<Loss>)
[[nodiscard]] torch_cuda_loss_result torch_cuda_loss(const torch::Tensor& logits,
                                                     const torch::Tensor& targets, const Loss& f,
                                                     const torch_loss_options& options = {}) {
  detail::check_logits(logits);
  require<backend_error>(logits.is_cuda(), "logits", [&] {
    return "is on " + logits.device().str() + ", but this call is for CUDA's tensors";
  });
  detail::check_tensors(logits, targets, options);
  const bool train = at::GradMode::is_enabled() && logits.requires_grad();
  const bool per_row = options.reduce.how == reduction::kind::none;

  const at::NoGradGuard no_grad;
  const c10::cuda::CUDAGuard device(logits.device());
  const detail::call_arguments call(targets, options);
  const detail::loss_memory memory(logits, options, train);
  const std::size_t bytes = loss_workspace_bytes(memory.rows.rows, call.options);
  const at::Tensor workspace =
      at::empty({static_cast<index_t>(bytes)}, logits.options().dtype(at::kByte));
  const cuda where{c10::cuda::getCurrentCUDAStream(),
                   device_workspace{workspace.data_ptr(), bytes}};
  const auto y = detail::span_of<index_t>(call.targets);

  const cuda_loss report = detail::with_scalar(logits.scalar_type(), [&]<class T>() {
    const auto z = detail::read_view<T>(memory.rows);
    if (!train) return loss(where, z, y, f, call.options);
    return loss_and_gradient(where, z, y, f, detail::write_view<T>(memory.gradient), call.options);
  });
  at::Tensor value = per_row ? detail::tensor_in(workspace, report.device_token_loss(),
                                                 detail::leading_shape(logits))
                             : detail::tensor_in(workspace, &report.device()->sums.loss, {});
  torch_cuda_loss_result result{value.to(detail::loss_type(logits), false, /*copy=*/true), report,
                                workspace};
  if (train) {
    detail::attach_gradient(result.loss, logits, memory.gradient.holder, detail::scale_on_device);
  }
  return result;
}

}  // namespace idiolect
