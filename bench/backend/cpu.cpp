// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The CPU backend's two passes beside the limits of the machine, measured in the same run:
//
//   read_limit   every logit read once (the floor of score and loss)
//   copy_limit   every logit read and a gradient written (the floor of loss_and_gradient)
//
// Arguments: shape (index into bench::shapes), threads. `bytes_per_second` counts the logits, and
// the gradient where one is written. Results are checked against the plain backend before timing.

#include <benchmark/benchmark.h>

#include <cmath>
#include <cstring>
#include <stdexcept>

#include <idiolect/idiolect.hpp>

#include "../support/rows.hpp"

namespace idiolect::bench {
namespace {

problem make(const benchmark::State& state) { return problem(shapes[state.range(0)]); }
thread_executor workers(const benchmark::State& state) {
  return thread_executor(static_cast<int>(state.range(1)));
}
void label(benchmark::State& state, const problem& p, double passes) {
  state.SetLabel(std::to_string(p.targets.size()) + "x" + std::to_string(p.vocab) + " t" +
                 std::to_string(state.range(1)));
  state.SetBytesProcessed(static_cast<std::int64_t>(
      static_cast<double>(state.iterations()) * passes * p.bytes()));
}
void agree(double a, double b, const char* what) {
  if (!(std::abs(a - b) <= 4e-6 * std::max(1.0, std::abs(b)))) {
    throw std::runtime_error(std::string("wrong result: ") + what);
  }
}

// Pieces as the executor would get rows, so that both threads pull from memory.
constexpr index_t pieces = 64;

void read_limit(benchmark::State& state) {
  const problem p = make(state);
  const auto executor = workers(state);
  std::vector<float> largest(pieces);
  const auto n = static_cast<index_t>(p.logits.size());
  for (auto _ : state) {
    executor.bulk(pieces, [&](index_t k) {
      const index_t first = n * k / pieces;
      largest[static_cast<std::size_t>(k)] =
          detail::block_max(p.logits.data() + first, n * (k + 1) / pieces - first);
    });
    benchmark::DoNotOptimize(largest.data());
  }
  label(state, p, 1);
}

void copy_limit(benchmark::State& state) {
  const problem p = make(state);
  const auto executor = workers(state);
  std::vector<float> copy(p.logits.size());
  const auto n = p.logits.size();
  for (auto _ : state) {
    executor.bulk(pieces, [&](index_t k) {
      const auto first = n * static_cast<std::size_t>(k) / pieces;
      const auto last = n * static_cast<std::size_t>(k + 1) / pieces;
      std::memcpy(copy.data() + first, p.logits.data() + first, (last - first) * sizeof(float));
    });
    benchmark::DoNotOptimize(copy.data());
  }
  label(state, p, 2);
}

void scores(benchmark::State& state) {
  const problem p = make(state);
  const cpu policy{workers(state)};
  const auto expected = score(reference{}, p.view().block(0, 1), std::span(p.targets).first(1));
  const auto found = score(policy, p.view(), p.targets);
  agree(found[0].phi, expected[0].phi, "phi");
  agree(found[0].varentropy, expected[0].varentropy, "varentropy");
  for (auto _ : state) benchmark::DoNotOptimize(score(policy, p.view(), p.targets));
  label(state, p, 1);
}

void idft_loss(benchmark::State& state) {
  const problem p = make(state);
  const cpu policy{workers(state)};
  agree(loss(policy, p.view(), p.targets, idft{}).loss,
        loss(reference{}, p.view(), p.targets, idft{}).loss, "loss");
  for (auto _ : state) benchmark::DoNotOptimize(loss(policy, p.view(), p.targets, idft{}));
  label(state, p, 1);
}

void idft_gradient(benchmark::State& state) {
  const problem p = make(state);
  const cpu policy{workers(state)};
  std::vector<float> memory(p.logits.size());
  const matrix_view gradient(memory.data(), p.view().rows(), p.vocab);
  for (auto _ : state) {
    benchmark::DoNotOptimize(loss_and_gradient(policy, p.view(), p.targets, idft{}, gradient));
    benchmark::DoNotOptimize(memory.data());
  }
  double sum = 0;
  for (const float g : memory) sum += static_cast<double>(g);
  agree(sum, 0, "a row's gradient sums to zero");
  label(state, p, 2);
}

void arguments(benchmark::internal::Benchmark* b) {
  for (int shape = 0; shape < 4; ++shape) {
    for (const int threads : {1, 2}) b->Args({shape, threads});
  }
  b->UseRealTime()->Unit(benchmark::kMillisecond);
}

BENCHMARK(read_limit)->Apply(arguments);
BENCHMARK(copy_limit)->Apply(arguments);
BENCHMARK(scores)->Apply(arguments);
BENCHMARK(idft_loss)->Apply(arguments);
BENCHMARK(idft_gradient)->Apply(arguments);

}  // namespace
}  // namespace idiolect::bench
