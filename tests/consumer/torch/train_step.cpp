// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// A host's training steps with LibTorch: a linear head learns eight tokens by IDFT.

#include <cstdio>

#include <idiolect/adapters/torch/torch.hpp>
#include <idiolect/loss/gates/idft.hpp>

int main() {
  const torch::Tensor hidden = at::eye(8), targets = at::arange(8, at::kLong);
  torch::Tensor head = at::zeros({50, 8}).requires_grad_(true);
  double first = 0, last = 0;
  for (int step = 0; step < 20; ++step) {
    auto result = idiolect::torch_loss(hidden.matmul(head.t()), targets, idiolect::idft{},
                                       {.gradient_in_logits = true});
    result.loss.backward();
    const at::NoGradGuard no_grad;
    head.sub_(head.grad(), 100);
    head.mutable_grad().reset();
    (step == 0 ? first : last) = result.report.mean_nll;
  }
  std::printf("NLL %g, then %g\n", first, last);
  return last < 0.1 && first > 3.9 ? 0 : 1;
}
