// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The sampler and one step of hinted decoding over a vocabulary of 151936, on one thread.
//
//   gaussian     logits of standard deviation 2.5: a nucleus of about 13 tokens if the temperature
//                comes first, of about 30 thousand if it comes last
//   peaked       two tokens hold nearly everything
//   flat         standard deviation 0.7: 126 thousand tokens in the nucleus
//   equal        one huge tie
//
// Each is checked against the sorting definition before it is timed.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <idiolect/backend/cpu/cpu.hpp>
#include <idiolect/hinted/lambda.hpp>
#include <idiolect/hinted/policy.hpp>
#include <idiolect/stats/sampling.hpp>
#include <idiolect/stats/selection.hpp>

#include "../support/rows.hpp"

namespace idiolect::bench {
namespace {

constexpr index_t vocab = 151936;
enum row_kind { gaussian, peaked, flat, equal };
constexpr const char* row_names[] = {"gaussian", "peaked", "flat", "equal"};

std::vector<float> make_row(row_kind kind) {
  auto row = problem({1, vocab}).logits;
  const float factor = kind == gaussian ? 1.0f : kind == peaked ? 0.4f : kind == flat ? 0.28f : 0;
  for (float& z : row) z *= factor;
  if (kind == peaked) {
    row[777] = 30;
    row[99'999] = 29;
  }
  return row;
}

constexpr sampler_options demo(bool temperature_first) {
  return {.temperature = 0.3,
          .top_p = 0.95,
          .order = temperature_first ? sampler_order::temperature_first
                                     : sampler_order::temperature_last};
}

void check(const sampler_distribution& found, const sampler_distribution& expected) {
  bool same = found.tokens == expected.tokens;
  for (std::size_t i = 0; same && i < expected.probs.size(); ++i) {
    same = std::abs(found.probs[i] - expected.probs[i]) <= 1e-6 * expected.probs[i];
  }
  if (!same) throw std::runtime_error("wrong result: the distribution");
}

void sampler(benchmark::State& state) {
  const auto row = make_row(static_cast<row_kind>(state.range(0)));
  const auto o = demo(state.range(1) != 0);
  const auto max = static_cast<double>(*std::ranges::max_element(row));
  selection_scratch scratch;
  sampler_distribution r;
  select_distribution(row.data(), vocab, max, o, scratch, r);
  check(r, sampled_distribution(row.data(), vocab, o));
  for (auto _ : state) {
    select_distribution(row.data(), vocab, max, o, scratch, r);
    benchmark::DoNotOptimize(r.probs.data());
  }
  state.SetLabel(std::string(row_names[state.range(0)]) + ", temperature " +
                 (state.range(1) != 0 ? "first, " : "last, ") + std::to_string(r.tokens.size()) +
                 " tokens kept");
}

void sampler_by_sorting(benchmark::State& state) {
  const auto row = make_row(gaussian);
  const auto o = demo(state.range(0) != 0);
  for (auto _ : state) benchmark::DoNotOptimize(sampled_distribution(row.data(), vocab, o));
}

struct no_pieces {
  [[nodiscard]] index_t vocab_size() const { return vocab; }
  void encode(std::string_view, std::vector<token_id>&) const {}
  void append_piece(token_id, std::string&) const {}
};

void two_stream_step(benchmark::State& state) {
  const auto teacher = make_row(static_cast<row_kind>(state.range(0)));
  auto student = teacher;  // elsewhere in detail, as likely in all
  std::ranges::rotate(student, student.begin() + 1000);
  const no_pieces pieces;
  hinted_options o;
  o.sampler = demo(state.range(1) != 0);
  o.repetition.times = 0;
  o.teacher_first_token = false;
  const hinted_policy policy(cpu{}, pieces, constant_lambda{0.5}, o);
  decltype(policy)::scratch memory;
  const std::span<const float> p(teacher), q(student);
  for (auto _ : state) {
    auto text = policy.start(1);
    policy.step(text, p, q, memory);
    benchmark::DoNotOptimize(text.ids.data());
  }
  state.SetLabel(std::string(row_names[state.range(0)]) + ", temperature " +
                 (state.range(1) != 0 ? "first, " : "last, ") +
                 std::to_string(memory.distribution.tokens.size()) + " tokens kept");
}

void rows_and_orders(benchmark::internal::Benchmark* b) {
  for (const int row : {gaussian, peaked, flat, equal}) {
    for (const int first : {1, 0}) b->Args({row, first});
  }
  b->Unit(benchmark::kMicrosecond);
}

BENCHMARK(sampler)->Apply(rows_and_orders);
BENCHMARK(sampler_by_sorting)->Arg(1)->Arg(0)->Unit(benchmark::kMicrosecond);
BENCHMARK(two_stream_step)->Apply(rows_and_orders);

}  // namespace
}  // namespace idiolect::bench
