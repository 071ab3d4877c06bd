// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Tensors on a CUDA device: compiled against LibTorch's headers, not run.

#include <idiolect/adapters/torch/cuda.cuh>
#include <idiolect/loss/gates/idft.hpp>

namespace idiolect::test {

// [cuda]
// Enqueued on LibTorch's current stream; nothing waits.
idiolect::torch_cuda_loss_result train_step(const torch::Tensor& logits, const torch::Tensor& targets) {
  idiolect::torch_loss_options options;
  options.gradient_in_logits = true;
  auto step = idiolect::torch_cuda_loss(logits, targets, idiolect::idft{}, options);
  step.loss.backward();
  return step;  // step.report.wait() gives the loss_report, later
}
// [cuda]

}  // namespace idiolect::test
