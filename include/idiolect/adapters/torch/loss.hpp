// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// `torch_loss`: any token loss of tensors on the CPU, under autograd. The gradient is computed with
// the loss, in one call of `loss_and_gradient`, and kept for the backward pass: one tensor of the
// logits' size, or none where it takes the logits' place.

#include <algorithm>

#include <ATen/ATen.h>
#include <torch/types.h>

#include <idiolect/adapters/torch/arguments.hpp>
#include <idiolect/adapters/torch/gradient.hpp>
#include <idiolect/adapters/torch/options.hpp>
#include <idiolect/adapters/torch/views.hpp>
#include <idiolect/backend/cpu/cpu.hpp>
#include <idiolect/core/error.hpp>
#include <idiolect/loss/loss.hpp>
#include <idiolect/loss/report.hpp>

namespace idiolect {

/// A loss of tensors.
struct torch_loss_result {
  /// The reduced loss, a scalar; with reduction::none one a row, of the targets' shape. fp64 for
  /// fp64 logits, else fp32. Its backward pass gives the logits' gradient.
  torch::Tensor loss;
  loss_report report;
};

namespace detail {

/// The loss as a tensor.
[[nodiscard]] inline at::Tensor loss_tensor(const at::Tensor& logits, const loss_report& report,
                                            bool per_row) {
  const auto type = loss_type(logits);
  if (!per_row) return at::scalar_tensor(report.loss, at::TensorOptions().dtype(type));
  auto losses = at::empty(leading_shape(logits), at::TensorOptions().dtype(at::kDouble));
  std::copy(report.token_loss.begin(), report.token_loss.end(),
            static_cast<double*>(losses.data_ptr()));
  return losses.to(type);
}

}  // namespace detail

/// The token loss `f` of `logits` [..., V] (fp32, fp64, fp16, bf16; any strides) at `targets` [...]
/// (int64 or int32; any strides): rows as in idiolect::loss, in the order of the flattened targets.
///
/// Where the logits require grad and grad mode is on, the gradient is computed too, in the logits'
/// type, and the backward pass returns it times grad_output; a grad_output of 1 costs no pass over
/// it. A second derivative (create_graph) raises backend_error.
///
/// Rows with adjacent elements and one distance from row to row are read where they are: whole
/// tensors, slices of columns, every second row. Others (transposed, expanded, `logits[:, :-1]` of
/// several sequences) are copied once, and their gradient written into the copy.
///
/// With `gradient_in_logits` the gradient is written over the logits. Their version counter is
/// told, so that an operation which saved them for its own backward pass raises LibTorch's error
/// for variables that were modified in place. Raises shape_error, before anything is written, for
/// logits that would have to be copied or that are a leaf requiring grad (or a view of one).
/// Without grad nothing is overwritten.
///
/// Raises shape_error, target_error naming the row, backend_error for other devices, and
/// non_finite_error where asked for. O(N V). Memory: the gradient's N x V, at most.
template <class Loss>
  requires(token_loss<Loss> || gate<Loss>)
[[nodiscard]] torch_loss_result torch_loss(const torch::Tensor& logits, const torch::Tensor& targets,
                                           const Loss& f, const torch_loss_options& options = {}) {
  detail::check_logits(logits);
  detail::check_device("logits", logits.device(), at::kCPU);
  detail::check_tensors(logits, targets, options);
  const bool train = at::GradMode::is_enabled() && logits.requires_grad();

  torch_loss_result result;
  at::Tensor gradient;
  {
    const at::NoGradGuard no_grad;
    const detail::call_arguments call(targets, options);
    const detail::loss_memory memory(logits, options, train);
    const auto y = detail::span_of<index_t>(call.targets);
    const cpu backend{options.executor};
    result.report = detail::with_scalar(logits.scalar_type(), [&]<class T>() {
      const auto z = detail::read_view<T>(memory.rows);
      if (!train) return loss(backend, z, y, f, call.options);
      return loss_and_gradient(backend, z, y, f, detail::write_view<T>(memory.gradient),
                               call.options);
    });
    gradient = memory.gradient.holder;
    result.loss =
        detail::loss_tensor(logits, result.report, options.reduce.how == reduction::kind::none);
  }
  if (train) detail::attach_gradient(result.loss, logits, gradient, detail::scale_on_host);
  return result;
}

}  // namespace idiolect
