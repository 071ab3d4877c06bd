// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// `torch_score`: the centred log-likelihood of given tokens, from and to tensors on the CPU.

#include <cstddef>

#include <ATen/ATen.h>
#include <torch/types.h>

#include <idiolect/adapters/torch/executor.hpp>
#include <idiolect/adapters/torch/views.hpp>
#include <idiolect/backend/cpu/cpu.hpp>
#include <idiolect/cll/score.hpp>

namespace idiolect {

/// token_score, a tensor for each number: fp64, of the targets' shape, NaN where the target is
/// ignored or the row is not finite. Natural logarithms.
struct torch_scores {
  torch::Tensor log_prob;
  torch::Tensor entropy;
  torch::Tensor varentropy;
  torch::Tensor phi;
};

/// Scores of `targets` [...] (int64 or int32) under `logits` [..., V] (fp32, fp64, fp16, bf16), any
/// strides: idiolect::score on their rows. Nothing of it is seen by autograd. Logits that are not
/// rows of adjacent elements at one distance from each other are copied once. Raises shape_error,
/// target_error naming the row, backend_error for other devices. O(N V).
[[nodiscard]] inline torch_scores torch_score(const torch::Tensor& logits,
                                              const torch::Tensor& targets,
                                              const score_options& options = {},
                                              const any_executor& executor = {}) {
  detail::check_logits(logits);
  detail::check_device("logits", logits.device(), at::kCPU);
  detail::check_per_row("targets", targets, logits);
  detail::check_integers("targets", targets);

  const at::NoGradGuard no_grad;
  const detail::tensor_rows rows = detail::rows_of(logits);
  const at::Tensor y = detail::flat(targets, at::kLong);
  const auto scores = detail::with_scalar(logits.scalar_type(), [&]<class T>() {
    return score(cpu{executor}, detail::read_view<T>(rows), detail::span_of<index_t>(y), options);
  });

  const auto column = [&](double token_score::*number) {
    auto t = at::empty(detail::leading_shape(logits), at::TensorOptions().dtype(at::kDouble));
    auto* const out = static_cast<double*>(t.data_ptr());
    for (std::size_t i = 0; i < scores.size(); ++i) out[i] = scores[i].*number;
    return t;
  };
  return {column(&token_score::log_prob), column(&token_score::entropy),
          column(&token_score::varentropy), column(&token_score::phi)};
}

}  // namespace idiolect
