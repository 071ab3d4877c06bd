// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The tiny Llama in tokens per second, at the size of the default model: a training step, reading a
// text, and generating with some streams at once. Arguments: streams (or sequences), threads.
// Results are checked before timing: training and inference agree on the logits.

#include <benchmark/benchmark.h>

#include <cmath>
#include <stdexcept>
#include <vector>

#include <idiolect/core/executor.hpp>
#include <idiolect/core/philox.hpp>
#include <idiolect/loss/gates.hpp>

#include "tiny_llama/adamw.hpp"
#include "tiny_llama/model.hpp"
#include "tiny_llama/training.hpp"

namespace tiny_llama {
namespace {

using idiolect::thread_executor;

constexpr index_t text_length = 60;
const config shape{.dim = 96,
                   .hidden_dim = 256,
                   .layers = 2,
                   .heads = 4,
                   .kv_heads = 4,
                   .vocab_size = 40,
                   .context_size = 256};

std::vector<token_id> text_of(index_t record, index_t length) {
  const idiolect::philox draws{1, static_cast<std::uint64_t>(record)};
  std::vector<token_id> text;
  for (index_t i = 0; i < length; ++i) {
    text.push_back(static_cast<token_id>(
        draws.below(static_cast<std::uint64_t>(shape.vocab_size), static_cast<std::uint64_t>(i))));
  }
  return text;
}

batch batch_of(index_t sequences) {
  batch b;
  for (index_t s = 0; s < sequences; ++s)
    b.append(text_of(s, text_length + 1));
  return b;
}

void count(benchmark::State& state, index_t tokens) {
  state.SetItemsProcessed(state.iterations() * tokens);
}

void check_agreement(const weights<float>& w) {
  const auto b = batch_of(3);
  training_workspace<float> workspace;
  training_forward(w, b, workspace, idiolect::serial_executor{});
  model<float> m(w);
  for (index_t s = 0; s < b.sequences(); ++s) {
    const index_t first = b.offsets[static_cast<std::size_t>(s)];
    const auto stream = m.open();
    const idiolect::chunk all{
        stream, std::span(b.tokens).subspan(static_cast<std::size_t>(first), text_length),
        idiolect::want_logits::all};
    if (m.forward({&all, 1}) != idiolect::forward_status::ok) throw std::runtime_error("forward");
    for (index_t i = 0; i < text_length; ++i) {
      for (index_t j = 0; j < shape.vocab_size; ++j) {
        const float difference = m.logits(stream)(i, j) - workspace.logits()(first + i, j);
        if (!(std::abs(difference) < 1e-3f)) throw std::runtime_error("wrong result: logits");
      }
    }
  }
}

void training_step(benchmark::State& state) {
  const thread_executor workers(static_cast<int>(state.range(1)));
  auto w = random_weights<float>(shape, 1);
  check_agreement(w);
  const auto b = batch_of(state.range(0));
  weights<float> gradient;
  training_workspace<float> workspace;
  adamw_state<float> optimiser;
  for (auto _ : state) {
    forward_backward(w, b, gradient, workspace, idiolect::nll{}, {}, workers);
    adamw_step(w, gradient, optimiser, {.learning_rate = 1e-4});
  }
  count(state, b.rows());
}
BENCHMARK(training_step)
    ->ArgNames({"sequences", "threads"})
    ->ArgsProduct({{16, 64}, {1, 2}})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

void generation(benchmark::State& state) {
  const auto w = random_weights<float>(shape, 1);
  check_agreement(w);
  model<float, thread_executor> m(w, {}, thread_executor(static_cast<int>(state.range(1))));
  std::vector<idiolect::chunk> chunks;
  const std::vector<token_id> token = {3};
  for (index_t s = 0; s < state.range(0); ++s)
    chunks.push_back({m.open(), token});
  for (auto _ : state) {
    for (index_t i = 0; i < text_length; ++i)
      benchmark::DoNotOptimize(m.forward(chunks));
    for (const auto& c : chunks)
      m.truncate(c.stream, 0);
  }
  count(state, text_length * state.range(0));
}
BENCHMARK(generation)
    ->ArgNames({"streams", "threads"})
    ->ArgsProduct({{1, 2, 8, 64}, {1}})
    ->Args({64, 2})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

void reading(benchmark::State& state) {
  const auto w = random_weights<float>(shape, 1);
  check_agreement(w);
  model<float, thread_executor> m(w, {}, thread_executor(static_cast<int>(state.range(1))));
  const auto text = text_of(0, state.range(0));
  const auto stream = m.open();
  const idiolect::chunk all{stream, text, idiolect::want_logits::all};
  for (auto _ : state) {
    benchmark::DoNotOptimize(m.forward({&all, 1}));
    m.truncate(stream, 0);
  }
  count(state, state.range(0));
}
BENCHMARK(reading)
    ->ArgNames({"tokens", "threads"})
    ->ArgsProduct({{60, 240}, {1, 2}})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace tiny_llama
