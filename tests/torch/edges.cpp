// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Empty and broken batches, arguments that do not fit together, and the memory that a call holds.

#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <idiolect/loss/gates.hpp>

#include "memory.hpp"
#include "support.hpp"

namespace idiolect::test {
namespace {

using Catch::Matchers::ContainsSubstring;

constexpr index_t rows = 9;
constexpr index_t vocab = 20;

torch::Tensor some_logits(at::ScalarType type = at::kFloat) {
  return normal_tensor({rows, vocab}, type, 1).requires_grad_(true);
}
torch::Tensor some_targets() {
  return random_target_tensor({rows}, vocab, 2);
}

TEST_CASE("a batch without a trained row has no loss and no gradient") {
  const auto check = [](const torch::Tensor& logits, const torch::Tensor& targets, reduction r) {
    torch_loss_options options;
    options.reduce = r;
    const auto found = torch_loss(logits, targets, idft{}, options);
    CHECK(found.report.loss == 0);
    CHECK(found.report.valid == 0);
    CHECK(number_of(found.loss.sum()) == 0);
    CHECK(found.loss.requires_grad());
    const auto gradient = gradient_of(found.loss.sum(), logits);
    CHECK(gradient.sizes() == logits.sizes());
    CHECK(number_of(gradient.abs().sum()) == 0);
    const auto scores = torch_score(logits, targets);
    CHECK(number_of(at::isnan(scores.phi).sum()) == static_cast<double>(targets.numel()));
  };
  for (const auto r :
       {reduction::mean(), reduction::sum(), reduction::mean_over(5), reduction::none()}) {
    const auto long_type = at::TensorOptions().dtype(at::kLong);
    check(some_logits(), at::full({rows}, -100, long_type), r);
    check(at::empty({0, vocab}).requires_grad_(true), at::empty({0}, long_type), r);
    check(at::empty({2, 0, vocab}).requires_grad_(true), at::empty({2, 0}, long_type), r);
    check(at::empty({0, 0}).requires_grad_(true), at::empty({0}, long_type), r);
  }
}

TEST_CASE("a row that is not finite is treated as asked") {
  const auto targets = some_targets();
  for (const double broken : {std::numeric_limits<double>::quiet_NaN(), infinity}) {
    const auto values = some_logits().detach();
    values[4][7] = broken;
    const auto logits = values.requires_grad_(true);
    torch_loss_options options;
    auto found = torch_loss(logits, targets, nll{}, options);
    CHECK(std::isnan(number_of(found.loss)));
    CHECK(found.report.non_finite == 1);
    CHECK(number_of(at::isnan(gradient_of(found.loss, logits)).sum()) == vocab);

    options.on_non_finite = non_finite::skip;
    found = torch_loss(logits, targets, nll{}, options);
    const auto gradient = gradient_of(found.loss, logits);
    CHECK(std::isfinite(number_of(found.loss)));
    CHECK(number_of(gradient[4].abs().sum()) == 0);
    CHECK(number_of(gradient[5].abs().sum()) > 0);

    options.on_non_finite = non_finite::error;
    CHECK(raised<non_finite_error>([&] {
            (void)torch_loss(logits, targets, nll{}, options);
          }).row() == 4);
  }
}

TEST_CASE("a masked logit has no gradient") {
  const auto values = some_logits().detach();
  values.select(1, 7).fill_(-infinity);
  const auto logits = values.requires_grad_(true);
  const auto targets = some_targets().remainder(7);
  const auto gradient = gradient_of(torch_loss(logits, targets, nll{}).loss * 3, logits);
  CHECK(number_of(gradient.select(1, 7).abs().sum()) == 0);
  CHECK(number_of(at::isnan(gradient).sum()) == 0);
}

// f with one argument wrong, its name, and words of the message.
struct mistake {
  std::string argument;
  std::string words;
  torch::Tensor logits = some_logits();
  torch::Tensor targets = some_targets();
  torch_loss_options options = {};
};

TEST_CASE("what does not fit together is named") {
  const auto on_meta = at::TensorOptions().device(at::kMeta);
  const auto long_type = at::TensorOptions().dtype(at::kLong);
  torch_loss_options weights, bad_weights, offsets, bad_offsets, no_offsets, tokens, temperature,
      trained_weights, weights_elsewhere;
  weights.weights = at::ones({rows + 1});
  bad_weights.weights = at::ones({rows}, long_type);
  trained_weights.weights = at::ones({rows}).requires_grad_(true);
  weights_elsewhere.weights = at::ones({rows}, on_meta);
  offsets.reduce = bad_offsets.reduce = no_offsets.reduce = reduction::sequence_mean();
  offsets.sequence_offsets = at::arange(0, rows, long_type);
  bad_offsets.sequence_offsets = at::zeros({2, 2}, long_type);
  tokens.reduce = reduction::mean_over(0);
  temperature.temperature = 0;
  const std::vector<mistake> mistakes{
      {"logits", "undefined", torch::Tensor()},
      {"logits", "fp32, fp64, fp16 or bf16, not Int", at::zeros({rows, vocab}, at::kInt)},
      {"logits", "not Complex", at::zeros({rows, vocab}, at::kComplexFloat)},
      {"logits", "a scalar", at::zeros({})},
      {"logits", "must be dense, not Sparse", at::zeros({rows, vocab}).to_sparse()},
      {"logits", "is on meta: only tensors on the CPU", at::zeros({rows, vocab}, on_meta)},
      {"logits", "an empty vocabulary", at::zeros({rows, 0})},
      {"targets", "undefined", some_logits(), torch::Tensor()},
      {"targets", "of shape [8], but logits of shape [9, 20] have rows of shape [9]", some_logits(),
       some_targets().narrow(0, 0, 8)},
      {"targets", "must be int64 or int32, not Float", some_logits(), at::zeros({rows})},
      {"targets", "is on meta, but the logits are on the CPU", some_logits(),
       at::zeros({rows}, on_meta.dtype(at::kLong))},
      {"weights", "of shape [10]", some_logits(), some_targets(), weights},
      {"weights", "must be floating-point, not Long", some_logits(), some_targets(), bad_weights},
      {"weights", "pass weights.detach()", some_logits(), some_targets(), trained_weights},
      {"weights", "is on meta", some_logits(), some_targets(), weights_elsewhere},
      {"sequence_offsets", "must ascend from 0 to the 9 rows", some_logits(), some_targets(),
       offsets},
      {"sequence_offsets", "one dimension", some_logits(), some_targets(), bad_offsets},
      {"sequence_offsets", "sequence_mean needs them", some_logits(), some_targets(), no_offsets},
      {"reduction::mean_over", "must be > 0", some_logits(), some_targets(), tokens},
      {"temperature", "must be between", some_logits(), some_targets(), temperature}};
  for (const auto& m : mistakes) {
    INFO(m.argument << ": " << m.words);
    const auto e = raised([&] { (void)torch_loss(m.logits, m.targets, nll{}, m.options); });
    CHECK(e.argument() == m.argument);
    CHECK_THAT(e.what(), ContainsSubstring(m.words));
    if (m.argument == "logits" || m.argument == "targets") {
      const auto scored = raised([&] { (void)torch_score(m.logits, m.targets); });
      CHECK(scored.argument() == m.argument);
      CHECK_THAT(scored.what(), ContainsSubstring(m.words));
    }
  }
  // Which header takes a tensor on a GPU. (There is none here.)
  const auto e =
      raised<backend_error>([] { detail::check_device("logits", at::Device("cuda:1"), at::kCPU); });
  CHECK_THAT(e.what(), ContainsSubstring("cuda:1") && ContainsSubstring("adapters/torch/cuda.cuh"));
}

TEST_CASE("a target outside the vocabulary is named and nothing is written") {
  const auto leaf = some_logits();
  const auto logits = leaf * 1;
  const auto before = logits.detach().clone();
  torch_loss_options options;
  options.gradient_in_logits = true;
  for (const index_t bad : {vocab, index_t{-1}, index_t{1} << 40}) {
    const auto targets = some_targets();
    targets[5] = bad;
    const auto e = raised<target_error>([&] { (void)torch_loss(logits, targets, nll{}, options); });
    CHECK(e.row() == 5);
    CHECK_THAT(e.what(), ContainsSubstring(std::to_string(bad)));
    CHECK(raised<target_error>([&] { (void)torch_score(logits, targets); }).row() == 5);
  }
  CHECK(same_bits(logits.detach(), before));
  CHECK_NOTHROW(gradient_of(torch_loss(logits, some_targets(), nll{}, options).loss, leaf));
}

TEST_CASE("a loss without grad costs no gradient") {
  const auto logits = some_logits();
  const auto targets = some_targets();
  const double expected = torch_loss(logits, targets, idft{}).report.loss;
  const auto check = [&](const torch::Tensor& z) {
    std::optional<torch_loss_result> found;
    const auto held = watched([&] { found = torch_loss(z, targets, idft{}); });
    CHECK(found->report.loss == expected);
    CHECK_FALSE(found->loss.requires_grad());
    CHECK(held.most < rows * vocab * 4);
  };
  check(logits.detach());
  {
    const at::NoGradGuard no_grad;
    check(logits);
  }
  const c10::InferenceMode inference;
  check(normal_tensor({rows, vocab}, at::kFloat, 1));
}

// At a size where nothing else matters: 256 x 4096 logits, 4 MiB.
TEST_CASE("a call holds one gradient, or none where the gradient takes the logits' place") {
  constexpr index_t n = 256, v = 4096;
  constexpr double size = n * v * sizeof(float);
  const auto targets = random_target_tensor({n}, v, 3);
  const auto leaf = normal_tensor({n, v}, at::kFloat, 4).requires_grad_(true);
  const auto most = [&](auto&& loss_of, double factor) {
    const auto logits = leaf * 1;
    return static_cast<double>(watched([&] { (loss_of(logits) * factor).backward(); }).most) / size;
  };
  torch_loss_options in_place;
  in_place.gradient_in_logits = true;
  const auto apart = [&](const torch::Tensor& z) { return torch_loss(z, targets, nll{}).loss; };
  const auto over = [&](const torch::Tensor& z) {
    return torch_loss(z, targets, nll{}, in_place).loss;
  };
  const auto theirs = [&](const torch::Tensor& z) { return at::cross_entropy_loss(z, targets); };
  const double leaf_gradient = [&] {
    leaf.mutable_grad().reset();
    const auto logits = leaf * 1;
    const auto given = at::ones_like(logits);
    return static_cast<double>(watched([&] { logits.backward(given); }).most) / size;
  }();
  for (const double factor : {1.0, 0.5}) {
    INFO("grad_output " << factor);
    leaf.mutable_grad().reset();
    CHECK(most(apart, factor) < 1.01 + leaf_gradient);
    leaf.mutable_grad().reset();
    CHECK(most(over, factor) < 0.01 + leaf_gradient);
  }
  // Cross-entropy of LibTorch's: two tensors of that size.
  leaf.mutable_grad().reset();
  CHECK(most(theirs, 1) > 1.99 + leaf_gradient);

  // What is kept between the passes, and given back after the backward pass though the loss lives
  // on.
  const auto kept = [&](const torch_loss_options& o) {
    const auto logits = leaf * 1;
    torch_loss_result result;
    const auto before = watched([&] { result = torch_loss(logits, targets, nll{}, o); }).left;
    const auto after = watched([&] {
                         result.loss.backward();
                         leaf.mutable_grad().reset();
                       }).left;
    return std::pair(static_cast<double>(before) / size, static_cast<double>(after) / size);
  };
  leaf.mutable_grad().reset();
  const auto [before, after] = kept({});
  CHECK(before < 1.01);
  CHECK(after < -0.99);
  CHECK(kept(in_place).first < 0.01);
}

}  // namespace
}  // namespace idiolect::test
