// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// What docs/guide/torch.md shows.

#include <cmath>

#include <idiolect/loss/gates/idft.hpp>
#include <idiolect/loss/gates/nll.hpp>

#include "support.hpp"

namespace idiolect::test {
namespace {

/// Stands for a language model: logits from the last token alone.
struct bigrams {
  torch::Tensor table = normal_tensor({40, 40}, at::kFloat, 1, 0.1).requires_grad_(true);
  torch::Tensor forward(const torch::Tensor& tokens) const { return at::embedding(table, tokens); }
};

TEST_CASE("a training step with LibTorch") {
  const bigrams model;
  const auto tokens = at::arange(24, at::kLong).remainder(11).view({2, 12});
  const index_t prompt = 3;
  double before = 0;
  idiolect::loss_report report;
  for (int step = 0; step < 60; ++step) {
    // [train]
    torch::Tensor logits = model.forward(tokens);  // [B, T, V]

    // Row i predicts the token after it. Shift the targets, and the logits are used as they lie;
    // -100 in the prompt of each text, and where nothing follows.
    torch::Tensor targets = at::full_like(tokens, idiolect::ignored_target);
    targets.slice(1, prompt - 1, -1).copy_(tokens.slice(1, prompt));

    idiolect::torch_loss_options options;
    options.reduce = idiolect::reduction::mean();  // mean_over(n) where a step has several batches
    options.gradient_in_logits = true;             // the model's last operation does not need them
    auto result = idiolect::torch_loss(logits, targets, idiolect::idft{}, options);
    result.loss.backward();
    // result.report: mean_nll, valid, phi, weight, ... as of idiolect::loss
    // [train]
    report = result.report;
    if (step == 0) before = report.mean_nll;
    const at::NoGradGuard no_grad;
    model.table.sub_(model.table.grad(), 30);
    model.table.mutable_grad().reset();
  }
  CHECK(report.valid == 9 + 9);
  CHECK(before > 3);
  CHECK(report.mean_nll < 0.5);
}

TEST_CASE("scores of tensors in the guide") {
  const bigrams model;
  const auto tokens = at::arange(12, at::kLong);
  const auto logits = model.forward(tokens).detach();
  // [score]
  const auto targets = at::cat({tokens.slice(0, 1), at::full({1}, -100, at::kLong)});
  const auto scores = idiolect::torch_score(logits, targets);  // log_prob, entropy, varentropy, phi
  const double mean_phi = at::nansum(scores.phi).item<double>() / 11;
  // [score]
  CHECK(std::isfinite(mean_phi));
  CHECK(number_of(at::isnan(scores.phi).sum()) == 1);
}

}  // namespace
}  // namespace idiolect::test
