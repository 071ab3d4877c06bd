// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The model in LibTorch against the one in Eigen, which shares no code with it: logits, the
// gradient of every parameter, generation through a cache.

#include "support.hpp"

#include <fstream>
#include <string>

#include "tiny_llama/training.hpp"
#include "torch_trainer/loss_head.hpp"

namespace idiolect::test {

namespace {

tool::any_gate gate_of_size(const char* name, index_t vocab_size) {
  tool::gate_choice choice;
  choice.loss = name;
  return tool::make_gate(choice, 1, vocab_size, 2);
}
tool::any_gate gate_of(const char* name) {
  return gate_of_size(name, tiny_shape().vocab_size);
}

void require_grad(torch_trainer::llama& model) {
  for (at::Tensor& p : model.parameters()) p.requires_grad_();
}

}  // namespace

TEST_CASE("a llama in LibTorch has the logits of the one in Eigen") {
  const bool tied = GENERATE(true, false);
  const auto weights = tiny_weights(tied);
  const auto model = in_torch(weights);
  const auto texts = random_texts(3);
  tiny_llama::batch batch;
  for (const auto& e : texts.examples) {
    batch.tokens.insert(batch.tokens.end(), e.tokens.begin(), e.tokens.end());
    batch.targets.insert(batch.targets.end(), e.targets.begin(), e.targets.end());
    batch.offsets.push_back(batch.rows());
  }
  tiny_llama::training_workspace<float> workspace;
  tiny_llama::training_forward(weights, batch, workspace, serial_executor{});
  const auto expected = workspace.logits();

  std::vector<const torch_trainer::example*> rows;
  for (const auto& e : texts.examples) rows.push_back(&e);
  const auto padded = torch_trainer::pad(rows);
  at::Tensor tokens =
      at::empty({padded.rows, padded.columns}, at::TensorOptions().dtype(at::kLong));
  std::ranges::copy(padded.tokens, static_cast<std::int64_t*>(tokens.data_ptr()));
  const at::Tensor logits = model.logits(model.hidden(tokens));
  for (std::size_t s = 0; s < rows.size(); ++s) {
    for (std::size_t i = 0; i < rows[s]->tokens.size(); ++i) {
      const auto row = batch.offsets[s] + static_cast<index_t>(i);
      for (index_t v = 0; v < 29; ++v) {
        const auto found =
            logits[static_cast<index_t>(s)][static_cast<index_t>(i)][v].item<float>();
        REQUIRE(found == Approx(expected(row, v)).margin(2e-5));
      }
    }
  }
}

TEST_CASE("the gradient of every parameter is that of the llama in Eigen") {
  const bool tied = GENERATE(true, false);
  const char* const name = GENERATE("sft", "idft");
  const auto weights = tiny_weights(tied);
  auto model = in_torch(weights);
  require_grad(model);
  const auto texts = random_texts(4);

  tiny_llama::batch batch;
  std::vector<const torch_trainer::example*> rows;
  for (const auto& e : texts.examples) {
    batch.tokens.insert(batch.tokens.end(), e.tokens.begin(), e.tokens.end());
    batch.targets.insert(batch.targets.end(), e.targets.begin(), e.targets.end());
    batch.offsets.push_back(batch.rows());
    rows.push_back(&e);
  }
  tiny_llama::weights<float> gradient;
  tiny_llama::training_workspace<float> workspace;
  const auto expected = tiny_llama::forward_backward(
      weights, batch, gradient, workspace, gate_of(name), loss_options{}, serial_executor{});

  const auto padded = torch_trainer::pad(rows);
  const auto n = static_cast<std::int64_t>(padded.targets.size());
  const auto tensor = [](const std::vector<std::int64_t>& values, at::IntArrayRef shape) {
    at::Tensor t = at::empty(shape, at::TensorOptions().dtype(at::kLong));
    std::ranges::copy(values, static_cast<std::int64_t*>(t.data_ptr()));
    return t;
  };
  const at::Tensor states = model.hidden(tensor(padded.tokens, {padded.rows, padded.columns}))
                                .reshape({padded.rows * padded.columns, -1})
                                .index_select(0, tensor(padded.positions, {n}));
  torch_trainer::head_options head;
  head.tokens = static_cast<double>(n);
  head.rows_at_once = 5;  // several pieces, the last of them smaller
  const auto report = torch_trainer::loss_backward(
      states, model.head(), tensor(padded.targets, {n}), {}, gate_of(name), head);
  CHECK(report.valid == expected.valid);
  CHECK(report.loss == Approx(expected.loss).epsilon(1e-5));
  CHECK(report.mean_nll == Approx(expected.mean_nll).epsilon(1e-5));
  CHECK(report.phi.mean == Approx(expected.phi.mean).margin(1e-5));
  for (std::size_t i = 0; i < model.infos().size(); ++i) {
    const auto& info = model.infos()[i];
    CAPTURE(info.name);
    const auto values = values_of(gradient, info, layer_of(i, weights.shape()));
    const at::Tensor found = model.parameters()[i].grad().reshape({-1});
    double largest = 0, difference = 0;
    for (std::size_t k = 0; k < values.size(); ++k) {
      const auto g = found[static_cast<index_t>(k)].item<float>();
      largest = std::max(largest, std::fabs(static_cast<double>(values[k])));
      difference = std::max(difference, std::fabs(static_cast<double>(values[k] - g)));
    }
    REQUIRE(largest > 0);
    CHECK(difference < 2e-5 * largest + 1e-8);
  }
}

TEST_CASE("texts that go on through a cache have the states of whole texts") {
  const auto model = in_torch(tiny_weights());
  const auto text = random_texts(1).examples[0].tokens;
  const at::NoGradGuard no_grad;
  const at::Tensor whole = model.hidden(row_of(text));
  const auto n = static_cast<index_t>(text.size());
  REQUIRE(n > 6);
  // A prompt, several tokens at once behind it (by plain products), then one by one.
  torch_trainer::kv_cache cache;
  std::vector<at::Tensor> parts;
  std::vector<index_t> cuts = {0, 3, 5};
  for (index_t i = 6; i <= n; ++i) cuts.push_back(i);
  for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
    parts.push_back(
        model.hidden(row_of({text.begin() + cuts[i], text.begin() + cuts[i + 1]}), cache));
  }
  CHECK(cache.length == n);
  CHECK(largest_difference(at::cat(parts, 1), whole) < 1e-5);
  CHECK_THROWS_WITH(model.hidden(row_of(std::vector<token_id>(40, 1)), cache),
                    Catch::Matchers::ContainsSubstring("the model has 32"));
}

TEST_CASE("greedy answers take the most likely token and stop at an end") {
  const auto model = in_torch(tiny_weights());
  const std::vector<token_id> prompt = {1, 5, 9};
  const auto answer = torch_trainer::greedy(model, prompt, {}, 8);
  REQUIRE(answer.size() == 8);
  std::vector<token_id> text = prompt;
  const at::NoGradGuard no_grad;
  for (const token_id t : answer) {
    const at::Tensor logits = model.logits(model.hidden(row_of(text)));
    CHECK(t == logits[0][static_cast<index_t>(text.size()) - 1].argmax().item<std::int64_t>());
    text.push_back(t);
  }
  const auto stop = answer[3];
  const auto first = std::ranges::find(answer, stop) - answer.begin();
  CHECK(torch_trainer::greedy(model, prompt, std::vector{stop}, 8) ==
        std::vector<token_id>(answer.begin(), answer.begin() + first));
  // The context ends the text where nothing else does.
  CHECK(torch_trainer::greedy(model, prompt, {}, 1000).size() == 30);
}

TEST_CASE("logits made a few rows at a time give the loss and the gradient of all at once") {
  at::manual_seed(1);
  // Logits of the size of 1: of large ones the rounding of their sums is a larger part of a weight.
  const at::Tensor head = at::randn({29, 24}).requires_grad_();
  const at::Tensor states = (0.2 * at::randn({17, 24})).requires_grad_();
  const at::Tensor targets = at::randint(29, {17}, at::TensorOptions().dtype(at::kLong));
  const at::Tensor weights = at::rand({17});
  torch_trainer::head_options o;
  o.tokens = 17;
  o.end = 3;
  targets[4] = 3;
  at::Tensor grad_head, grad_states;
  loss_report whole;
  for (const index_t rows : {17, 1, 4}) {
    o.rows_at_once = rows;
    head.mutable_grad() = at::Tensor();
    states.mutable_grad() = at::Tensor();
    const auto report =
        torch_trainer::loss_backward(states, head, targets, weights, gate_of("idft"), o);
    if (rows == 17) {
      whole = report;
      grad_head = head.grad().clone();
      grad_states = states.grad().clone();
      REQUIRE(report.end_prob.count >= 1);
      continue;
    }
    // The logits are other sums of fp32 where fewer rows are multiplied at once.
    CHECK(report.loss == Approx(whole.loss).epsilon(1e-5));
    CHECK(report.mean_nll == Approx(whole.mean_nll).epsilon(1e-6));
    CHECK(report.phi.mean == Approx(whole.phi.mean).epsilon(1e-6));
    CHECK(report.weight.mean == Approx(whole.weight.mean).epsilon(1e-6));
    CHECK(report.end_prob.count == whole.end_prob.count);
    CHECK(report.end_prob.mean == Approx(whole.end_prob.mean).epsilon(1e-6));
    CHECK(largest_difference(head.grad(), grad_head) < 1e-6);
    CHECK(largest_difference(states.grad(), grad_states) < 1e-6);
  }
  const auto scored = torch_trainer::score(states, head, targets, o);
  CHECK(scored.mean_nll == Approx(whole.mean_nll).epsilon(1e-6));
}

#if defined(__linux__)
TEST_CASE("the logits of a batch are never there as a whole") {
  const index_t rows = 1024, vocabulary = 49152, width = 64;
  const at::Tensor head = at::randn({vocabulary, width}).requires_grad_();
  const at::Tensor states = at::randn({rows, width}).requires_grad_();
  head.mutable_grad() = at::zeros({vocabulary, width});
  const at::Tensor targets = at::randint(vocabulary, {rows}, at::TensorOptions().dtype(at::kLong));
  torch_trainer::head_options o;
  o.tokens = static_cast<double>(rows);
  o.rows_at_once = 256;
  const auto mebibytes = [](const std::string& field) {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with(field)) return std::stod(line.substr(field.size() + 1)) / 1024;
    }
    return 0.0;
  };
  std::ofstream("/proc/self/clear_refs") << 5;  // the peak is now what is there
  const double before = mebibytes("VmRSS"), peak_before = mebibytes("VmHWM");
  if (peak_before > before + 16) return skip("the peak of memory cannot be reset here");
  static_cast<void>(
      torch_trainer::loss_backward(states, head, targets, {}, gate_of_size("idft", vocabulary), o));
  const double grown = mebibytes("VmHWM") - before;
  const double logits = static_cast<double>(rows * vocabulary) * 4 / (1 << 20);
  CAPTURE(grown, logits);
  // A quarter of the logits, the head's gradient of a piece, and what LibTorch's products take.
  CHECK(grown < 0.6 * logits);
}
#endif

}  // namespace idiolect::test
