// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Training a tiny model: the optimiser against the one of the model in Eigen, accumulation,
// resuming, what is frozen, what diverges.

#include "support.hpp"

#include <limits>

#include "examples/tool_support.hpp"
#include "tiny_llama/adamw.hpp"
#include "torch_trainer/trainer.hpp"
#include "torch_trainer/weights.hpp"

namespace idiolect::test {

using Catch::Matchers::ContainsSubstring;
using torch_trainer::trainer;
using torch_trainer::training;

namespace {

training settings() {
  training how;
  how.loss.loss = "idft";
  how.loss.warmup = 0.25;
  how.loss.transition = 0.5;
  how.steps = 4;
  how.batch = 8;
  how.micro_batch = 3;
  how.optimiser.learning_rate = 1e-3;
  how.logit_rows = 16;
  how.seed = 5;
  return how;
}

double half(double) {
  return 0.5;
}

void run(trainer& t, index_t to, index_t steps) {
  while (t.steps_done() < to) {
    const auto k = static_cast<double>(t.steps_done());
    t.step(k / static_cast<double>(steps - 1),
           [&](double) { return (k + 0.5) / static_cast<double>(steps); });
  }
}

}  // namespace

TEST_CASE("the optimiser steps as the one of the model in Eigen") {
  auto weights = tiny_weights();
  auto expected = weights;
  const auto gradient = tiny_llama::random_weights<float>(tiny_shape(), 3);
  tiny_llama::adamw_state<float> state;
  const tiny_llama::adamw_options theirs{.learning_rate = 0.01, .weight_decay = 0.1, .max_norm = 2};
  torch_trainer::adamw_options ours;
  ours.learning_rate = 0.01;
  ours.beta2 = theirs.beta2;
  ours.weight_decay = 0.1;
  ours.max_norm = 2;

  std::vector<float> first(weights.flat().size()), second(weights.flat().size());
  std::vector<torch_trainer::adamw_parameter> parameters;
  for (const auto kind : tiny_llama::all_tensors) {
    const auto from = static_cast<std::size_t>(weights.offset(kind));
    const auto size = static_cast<std::size_t>(tiny_llama::shape_of(weights.shape(), kind).size());
    parameters.push_back({.values = weights.flat().subspan(from, size),
                          .gradient = gradient.flat().subspan(from, size),
                          .first = std::span(first).subspan(from, size),
                          .second = std::span(second).subspan(from, size),
                          .decays = !tiny_llama::is_norm(kind)});
  }
  for (index_t t = 1; t <= 3; ++t) {
    const double norm = torch_trainer::gradient_norm(parameters, thread_executor(2));
    CHECK(norm == Approx(tiny_llama::adamw_step(expected, gradient, state, theirs)).epsilon(1e-12));
    torch_trainer::adamw_step(parameters, t, norm, ours, thread_executor(2));
  }
  double difference = 0;
  for (std::size_t i = 0; i < weights.flat().size(); ++i) {
    difference = std::max(difference, std::fabs(static_cast<double>(weights.flat()[i]) -
                                                static_cast<double>(expected.flat()[i])));
  }
  CHECK(difference < 1e-6);
}

TEST_CASE("the rate rises and falls") {
  using torch_trainer::rate_factor;
  CHECK(rate_factor(0, 0.1, 0) == 0);
  CHECK(rate_factor(0.05, 0.1, 0) == Approx(0.5));
  CHECK(rate_factor(0.1, 0.1, 0) == Approx(1));
  CHECK(rate_factor(0.55, 0.1, 0.2) == Approx(0.6));
  CHECK(rate_factor(1, 0.1, 0.2) == Approx(0.2));
  CHECK(rate_factor(0, 0, 0) == 1);
  CHECK(rate_factor(1, 1, 0.5) == Approx(0.5));
}

TEST_CASE("a step does not depend on how it is cut into micro-batches") {
  const auto texts = random_texts(20);
  const auto weights = tiny_weights();
  std::vector<torch_trainer::llama> models;
  std::vector<torch_trainer::step_report> reports;
  for (const index_t rows : {8, 1, 2, 5}) {
    models.push_back(in_torch(weights));
    training how = settings();
    how.micro_batch = rows;
    trainer t(models.back(), texts, 2, how);
    reports.push_back(t.step(1, half));
  }
  for (std::size_t i = 1; i < models.size(); ++i) {
    CHECK(reports[i].loss.valid == reports[0].loss.valid);
    CHECK(reports[i].tokens == reports[0].tokens);
    CHECK(reports[i].loss.loss == Approx(reports[0].loss.loss).epsilon(1e-6));
    CHECK(reports[i].loss.mean_nll == Approx(reports[0].loss.mean_nll).epsilon(1e-6));
    CHECK(reports[i].gradient_norm == Approx(reports[0].gradient_norm).epsilon(1e-5));
    for (std::size_t p = 0; p < models[0].parameters().size(); ++p) {
      CAPTURE(models[0].infos()[p].name);
      const at::Tensor a = models[i].parameters()[p].grad(), b = models[0].parameters()[p].grad();
      CHECK(largest_difference(a, b) < 1e-5 * b.abs().max().item<double>() + 1e-9);
    }
  }
}

TEST_CASE("a run that resumes has the bits of one that was never stopped") {
  const tool_test::scratch folder;
  const auto texts = random_texts(20);
  auto straight = in_torch(tiny_weights());
  trainer all(straight, texts, 2, settings());
  run(all, 4, 4);

  {
    auto model = in_torch(tiny_weights());
    trainer half(model, texts, 2, settings());
    run(half, 2, 4);
    half.save(folder / "state.safetensors", 1.25);
  }
  auto model = in_torch(tiny_llama::random_weights<float>(tiny_shape(), 99));
  trainer rest(model, texts, 2, settings());
  CHECK(rest.resume(folder / "state.safetensors") == 1.25);
  CHECK(rest.steps_done() == 2);
  run(rest, 4, 4);
  bool moved = false;
  const auto before = in_torch(tiny_weights());
  for (std::size_t p = 0; p < model.parameters().size(); ++p) {
    CAPTURE(model.infos()[p].name);
    CHECK(same_bits(model.parameters()[p], straight.parameters()[p]));
    moved = moved || !same_bits(model.parameters()[p], before.parameters()[p]);
  }
  CHECK(moved);
  // Also the moments: a state of both is the same file.
  all.save(folder / "a", 7);
  rest.save(folder / "b", 7);
  CHECK(tool_test::read_all(folder / "a") == tool_test::read_all(folder / "b"));
}

TEST_CASE("a run does not go on with other settings or from another file") {
  const tool_test::scratch folder;
  const auto texts = random_texts(20);
  auto model = in_torch(tiny_weights());
  trainer(model, texts, 2, settings()).save(folder / "state", 0);
  const auto error = [&](const training& how, const torch_trainer::example_set& set) {
    trainer t(model, set, 2, how);
    try {
      t.resume(folder / "state");
      return std::string("no error");
    } catch (const std::exception& e) {
      return std::string(e.what());
    }
  };
  CHECK(error(settings(), texts) == "no error");
  training how = settings();
  how.loss.beta = 2;
  CHECK_THAT(error(how, texts), ContainsSubstring("--resume: \"loss\" was"));
  how = settings();
  how.seed = 6;
  CHECK_THAT(error(how, texts), ContainsSubstring("\"seed\" was 5 and is 6"));
  auto other = texts;
  other.examples[3].targets.back() ^= 1;
  CHECK_THAT(error(settings(), other), ContainsSubstring("\"texts\" was"));
  torch_trainer::save_model(model, folder / ".", torch_trainer::dtype::f32);
  trainer t(model, texts, 2, settings());
  CHECK_THROWS_WITH(t.resume(folder / "model.safetensors"),
                    ContainsSubstring("expected a trainer's state"));
}

TEST_CASE("frozen embeddings stay and the rest is trained") {
  auto model = in_torch(tiny_weights(GENERATE(true, false)));
  const auto before = in_torch(tiny_weights(model.config().tie_word_embeddings));
  const auto texts = random_texts(20);
  training how = settings();
  how.freeze_embeddings = true;
  trainer t(model, texts, 2, how);
  run(t, 2, 4);
  for (std::size_t p = 0; p < model.parameters().size(); ++p) {
    CAPTURE(model.infos()[p].name);
    const role what = model.infos()[p].what;
    CHECK(same_bits(model.parameters()[p], before.parameters()[p]) ==
          (what == role::embedding || what == role::head));
  }
}

TEST_CASE("training learns the texts and stops where it diverges") {
  auto model = in_torch(tiny_weights());
  const auto texts = random_texts(8);
  training how = settings();
  how.loss = {};
  how.steps = 60;
  how.optimiser.learning_rate = 1e-2;
  const auto before = torch_trainer::evaluate(model, texts, 2, how);
  trainer t(model, texts, 2, how);
  run(t, 60, 60);
  const auto after = torch_trainer::evaluate(model, texts, 2, how);
  CHECK(after.valid == texts.trained());
  CHECK(after.mean_nll < before.mean_nll - 1);

  static_cast<float*>(model.parameters()[3].data_ptr())[0] =
      std::numeric_limits<float>::quiet_NaN();
  const at::Tensor kept = model.parameters()[0].detach().clone();
  CHECK_THROWS_WITH(t.step(1, half), ContainsSubstring("training diverged at step 61"));
  CHECK(same_bits(model.parameters()[0], kept));
}

TEST_CASE("a model comes back from its files") {
  const tool_test::scratch folder;
  const auto model = in_torch(tiny_weights(GENERATE(true, false)));
  torch_trainer::save_model(model, folder / ".", torch_trainer::dtype::f32);
  CHECK(folder.files() == 2);
  const auto same = torch_trainer::load_model(folder / ".");
  CHECK(same.config() == model.config());
  for (std::size_t p = 0; p < model.parameters().size(); ++p) {
    CHECK(same_bits(same.parameters()[p], model.parameters()[p]));
  }
  for (const auto type : {torch_trainer::dtype::f16, torch_trainer::dtype::bf16}) {
    torch_trainer::save_model(model, folder / ".", type);
    const auto rounded = torch_trainer::load_model(folder / ".");
    const double digits = type == torch_trainer::dtype::f16 ? 0x1p-11 : 0x1p-8;
    for (std::size_t p = 0; p < model.parameters().size(); ++p) {
      const at::Tensor& a = model.parameters()[p];
      CHECK(largest_difference(rounded.parameters()[p], a) <=
            digits * a.abs().max().item<double>() * 1.01);
    }
  }
  auto config = folder.read_json("config.json");
  config["intermediate_size"] = 41;
  static_cast<void>(folder.write("config.json", config.dump()));
  CHECK_THROWS_WITH(
      torch_trainer::load_model(folder / "."),
      ContainsSubstring("mlp.gate_proj.weight\": expected the shape [41, 24], found [40, 24]"));
  CHECK_THROWS_WITH(torch_trainer::load_model(folder / "no"), ContainsSubstring("found none"));
}

}  // namespace idiolect::test
