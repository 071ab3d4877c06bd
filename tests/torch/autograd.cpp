// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The loss under autograd: beside the published formulas written in LibTorch's operations, under
// every reduction, behind a layer, with the graph kept, and what it refuses.

#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <idiolect/loss/gates.hpp>

#include "support.hpp"
#include "support/gate_table.hpp"
#include "support/gradient_check.hpp"

namespace idiolect::test {
namespace {

constexpr index_t rows = 15;
constexpr index_t vocab = 31;

/// What a formula is made of, as tensors of one number a row. The targets are not ignored ones.
struct row_tensors {
  torch::Tensor log_prob;  ///< differentiable
  torch::Tensor entropy;   ///< differentiable
};

row_tensors rows_in_torch(const torch::Tensor& logits, const torch::Tensor& targets) {
  const auto log_p = at::log_softmax(logits, -1);
  return {log_p.gather(-1, targets.unsqueeze(-1)).squeeze(-1), -(log_p.exp() * log_p).sum(-1)};
}

using token_formula = std::function<torch::Tensor(const row_tensors&)>;

struct case_of_loss {
  std::string name;
  any_loss ours;
  token_formula theirs;  ///< the losses of rows
};

const std::vector<case_of_loss>& losses() {
  static const std::vector<case_of_loss> all{
      {"nll", erased(nll{}), [](const row_tensors& r) { return -r.log_prob; }},
      {"dft", erased(dft{}),
       [](const row_tensors& r) { return -r.log_prob.detach().exp() * r.log_prob; }},
      {"idft", erased(idft{}),
       [](const row_tensors& r) {
         const auto l = r.log_prob.detach();
         const auto gamma = at::clamp(at::exp(-(l + r.entropy.detach())), 0.1, 2.0);
         return -at::exp(gamma * l) * r.log_prob;
       }},
      {"eaft", erased(eaft(std::log(double{vocab}))),
       [](const row_tensors& r) {
         return -(r.entropy.detach() / std::log(double{vocab})) * r.log_prob;
       }},
      {"a loss that pulls the entropy", erased(half_entropy_bonus{}),
       [](const row_tensors& r) { return -r.log_prob - 0.5 * r.entropy; }}};
  return all;
}

/// Reductions of a tensor of losses, and ours.
struct case_of_reduction {
  std::string name;
  reduction ours;
  std::function<torch::Tensor(const torch::Tensor& losses, const torch::Tensor& valid)> theirs;
};

const std::vector<index_t> offsets{0, 4, 4, 9, rows};

const std::vector<case_of_reduction>& reductions() {
  static const std::vector<case_of_reduction> all{
      {"sum", reduction::sum(), [](const auto& l, const auto&) { return l.sum(); }},
      {"mean", reduction::mean(),
       [](const auto& l, const auto& valid) { return l.sum() / valid.sum(); }},
      {"mean over 40", reduction::mean_over(40),
       [](const auto& l, const auto&) { return l.sum() / 40; }},
      {"mean of sequences", reduction::sequence_mean(),
       [](const auto& l, const auto& valid) {
         torch::Tensor total = at::zeros({}, l.options());
         double sequences = 0;
         for (std::size_t k = 0; k + 1 < offsets.size(); ++k) {
           const index_t n = offsets[k + 1] - offsets[k];
           const auto count = valid.narrow(0, offsets[k], n).sum();
           if (number_of(count) == 0) continue;
           total = total + l.narrow(0, offsets[k], n).sum() / count;
           ++sequences;
         }
         return total / sequences;
       }},
      {"none", reduction::none(), [](const auto& l, const auto&) { return l; }}};
  return all;
}

void check_formulas(at::ScalarType type, double tolerance) {
  const auto targets = random_target_tensor({rows}, vocab, 1);
  const auto valid = targets.ne(-100).to(type);
  const auto weights = weight_tensor({rows}, 2);
  const auto offset_tensor =
      at::empty({static_cast<index_t>(offsets.size())}, at::TensorOptions().dtype(at::kLong));
  std::copy(offsets.begin(), offsets.end(), static_cast<std::int64_t*>(offset_tensor.data_ptr()));

  for (const auto& l : losses()) {
    for (const auto& r : reductions()) {
      INFO(l.name << ", " << r.name);
      // Behind a layer, and with a gradient of its own that comes from further on.
      const auto hidden = normal_tensor({rows, 8}, type, 3, 1).requires_grad_(true);
      const auto weight = normal_tensor({vocab, 8}, type, 4, 0.7).requires_grad_(true);
      const auto bias = normal_tensor({vocab}, type, 5, 1).requires_grad_(true);
      const std::vector<torch::Tensor> leaves{hidden, weight, bias};
      const auto further = r.ours.how == reduction::kind::none ? normal_tensor({rows}, type, 6)
                                                               : normal_tensor({}, type, 7);
      const double temperature = 1.5;

      const auto logits_of = [&] { return at::addmm(bias, hidden, weight.t()); };
      const auto row = rows_in_torch(logits_of() / temperature, targets.clamp_min(0));
      const auto per_row = l.theirs(row) * valid * weights.to(type);
      const auto expected_loss = r.theirs(per_row, valid);
      const auto expected = torch::autograd::grad({expected_loss}, leaves, {further});

      torch_loss_options options;
      options.reduce = r.ours;
      options.temperature = temperature;
      options.weights = weights;
      options.sequence_offsets = offset_tensor;
      for (const bool in_place : {false, true}) {
        options.gradient_in_logits = in_place;
        const auto found = torch_loss(logits_of(), targets, l.ours, options);
        REQUIRE(found.loss.sizes() == expected_loss.sizes());
        CHECK(distance(found.loss, expected_loss) < tolerance * 10);
        const auto got = torch::autograd::grad({found.loss}, leaves, {further});
        for (std::size_t k = 0; k < leaves.size(); ++k) {
          CHECK(distance(got[k], expected[k]) < tolerance * 10);
        }
      }
      // The logits themselves, without further arithmetic.
      const auto logits = logits_of().detach().requires_grad_(true);
      const auto theirs =
          r.theirs(l.theirs(rows_in_torch(logits / temperature, targets.clamp_min(0))) * valid *
                       weights.to(type),
                   valid);
      options.gradient_in_logits = false;
      CHECK(
          distance(gradient_of(torch_loss(logits, targets, l.ours, options).loss, logits, further),
                   gradient_of(theirs, logits, further)) < tolerance);
    }
  }
}

TEST_CASE("the gradient is autograd's of the formula in fp64") {
  check_formulas(at::kDouble, 1e-11);
}
TEST_CASE("the gradient is autograd's of the formula in fp32") {
  check_formulas(at::kFloat, 1e-6);
}

TEST_CASE("a loss in a larger graph gives what the graph asks for") {
  const auto logits = normal_tensor({rows, vocab}, at::kFloat, 10).requires_grad_(true);
  const auto targets = random_target_tensor({rows}, vocab, 11);
  const auto one = [&](const torch_loss_options& o = {}) {
    return torch_loss(logits, targets, nll{}, o).loss;
  };
  const auto gradient = gradient_of(one(), logits);

  SECTION("two losses of the same logits add up") {
    CHECK(distance(gradient_of(one() * 3 + one().square(), logits),
                   gradient * (3 + 2 * one().detach())) < 1e-6);
  }
  SECTION("a loss that does not reach the root has no gradient") {
    const auto unused = one() * 0;
    CHECK(distance(gradient_of(one() + unused.detach(), logits), gradient) == 0);
  }
  SECTION("a kept graph gives the same again, and what was given is nobody else's") {
    const auto loss = one();
    loss.backward({}, /*retain_graph=*/true);
    CHECK(same_bits(logits.grad(), gradient));
    logits.mutable_grad().mul_(0);
    loss.backward({}, /*retain_graph=*/true);
    CHECK(same_bits(logits.grad(), gradient));
    loss.backward();
    CHECK(distance(logits.grad(), 2 * gradient) < 1e-7);
    CHECK_THROWS_WITH(loss.backward(), Catch::Matchers::ContainsSubstring("second time"));
  }
  SECTION("a graph that ends gives the gradient away") {
    const auto loss = one();
    loss.backward();
    CHECK(same_bits(logits.grad(), gradient));
    CHECK(logits.grad().storage().use_count() == 1);
  }
  SECTION("per-token losses, each with a factor of its own") {
    torch_loss_options options;
    options.reduce = reduction::none();
    const auto losses = one(options);
    REQUIRE(losses.sizes() == targets.sizes());
    const auto factors = normal_tensor({rows}, at::kFloat, 12);
    factors[0] = 1;
    const auto whole = gradient_of(losses, logits, at::ones({rows}));
    CHECK(distance(gradient_of(one(options), logits, factors), whole * factors.unsqueeze(-1)) <
          1e-7);
    CHECK(number_of(losses[3]) == 0);  // ignored
    CHECK(number_of(at::isnan(losses).sum()) == 0);
  }
  SECTION("16-bit gradients are scaled in their own type") {
    const auto z = normal_tensor({rows, vocab}, at::kBFloat16, 13).requires_grad_(true);
    const auto plain = gradient_of(torch_loss(z, targets, nll{}).loss, z);
    const auto scaled = gradient_of(torch_loss(z, targets, nll{}).loss * 4, z);
    CHECK(scaled.scalar_type() == at::kBFloat16);
    CHECK(same_bits(scaled, plain * 4));
  }
  SECTION("a factor is not rounded to the gradient's type") {
    const auto z = normal_tensor({rows, vocab}, at::kHalf, 14).requires_grad_(true);
    torch_loss_options options;
    options.reduce = reduction::none();
    options.weights = at::full({rows}, 1.0 / 1024);
    const auto plain = gradient_of(torch_loss(z, targets, nll{}, options).loss.sum(), z);
    const double factor = 1 << 17;  // past fp16's largest number
    const auto expected = plain.to(at::kFloat) * factor;
    const auto one_factor =
        gradient_of(torch_loss(z, targets, nll{}, options).loss.sum() * factor, z);
    const auto per_row =
        gradient_of(torch_loss(z, targets, nll{}, options).loss, z, at::full({rows}, factor));
    CHECK(distance(per_row, expected) < 0.1);  // of numbers up to 128
    CHECK(same_bits(one_factor, per_row));
  }
}

TEST_CASE("a second derivative is refused in words") {
  const auto logits = normal_tensor({rows, vocab}, at::kFloat, 20).requires_grad_(true);
  const auto targets = random_target_tensor({rows}, vocab, 21);
  const auto expected = Catch::Matchers::ContainsSubstring(
      "(create_graph): it was computed in the forward pass. Write "
      "the loss in LibTorch's operations");
  const auto loss = torch_loss(logits, targets, idft{}).loss;
  CHECK_THROWS_WITH(torch::autograd::grad({loss}, {logits}, {}, true, /*create_graph=*/true),
                    expected);
  // Also where the second derivative would be with respect to what comes after the loss.
  const auto factor = at::ones({}).requires_grad_(true);
  CHECK_THROWS_WITH(torch::autograd::grad({loss * factor}, {logits}, {}, true, true), expected);
  CHECK_NOTHROW(torch::autograd::grad({loss}, {logits}));
}

TEST_CASE("logits that became their gradient are not taken for what they were") {
  const auto targets = random_target_tensor({rows}, vocab, 30);
  const auto leaf = normal_tensor({rows, vocab}, at::kFloat, 31).requires_grad_(true);
  torch_loss_options options;
  options.gradient_in_logits = true;

  SECTION("an operation that saved its output is told") {
    const auto logits = at::tanh(leaf);
    const auto loss = torch_loss(logits, targets, nll{}, options).loss;
    CHECK_THROWS_WITH(loss.backward(),
                      Catch::Matchers::ContainsSubstring("modified by an inplace operation"));
  }
  SECTION("one that did not is not affected") {
    const auto expected = gradient_of(torch_loss(leaf * 2, targets, nll{}).loss, leaf);
    CHECK(
        same_bits(gradient_of(torch_loss(leaf * 2, targets, nll{}, options).loss, leaf), expected));
    // A view of what an operation made.
    const auto of_leaf = gradient_of(torch_loss(leaf, targets, nll{}).loss, leaf);
    const auto wide = at::cat({leaf, leaf}, 1);
    const auto loss = torch_loss(wide.narrow(1, 0, vocab), targets, nll{}, options).loss;
    CHECK(distance(gradient_of(loss * 2, leaf), of_leaf * 2) < 1e-7);
  }
  SECTION("who writes to them before the backward pass is told") {
    const auto logits = leaf * 2;
    const auto loss = torch_loss(logits, targets, nll{}, options).loss;
    logits.detach().zero_();
    CHECK_THROWS_WITH(loss.backward(),
                      Catch::Matchers::ContainsSubstring("modified by an inplace operation"));
  }
  SECTION("leaves are not overwritten") {
    const auto before = leaf.detach().clone();
    for (const auto& logits : {leaf, leaf.view({rows, vocab}), leaf.narrow(0, 0, rows)}) {
      const auto e = raised([&] { (void)torch_loss(logits, targets, nll{}, options); });
      CHECK(e.argument() == "gradient_in_logits");
      CHECK_THAT(e.what(), Catch::Matchers::ContainsSubstring("leaf"));
    }
    CHECK(same_bits(leaf.detach(), before));
  }
  SECTION("nor is what is not rows") {
    for (const auto& logits :
         {(leaf * 2).t().contiguous().t(), (leaf * 2).narrow(0, 0, 1).expand({rows, vocab})}) {
      const auto e =
          raised<shape_error>([&] { (void)torch_loss(logits, targets, nll{}, options); });
      CHECK(e.argument() == "gradient_in_logits");
      CHECK_THAT(e.what(), Catch::Matchers::ContainsSubstring("strides"));
    }
  }
}

}  // namespace
}  // namespace idiolect::test
