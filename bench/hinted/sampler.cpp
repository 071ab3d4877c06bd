// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The sampler and one step of hinted decoding over a vocabulary of 151936, on one thread.
//
//   sampler             the whole distribution, into memory that is reused
//   sampler_draw        one token of it
//   sampler_by_sorting  the same by its definition: the peer
//   two_stream_step     statistics of both rows, lambda, mixture, nucleus, draw
//
// Each by the kind of row and whether the temperature comes first:
//
//   gaussian     logits of standard deviation 2.5: a nucleus of about 13 tokens if the temperature
//                comes first, of about 30 thousand if it comes last
//   peaked       two tokens hold nearly everything
//   flat         standard deviation 0.7: 126 thousand tokens in the nucleus
//   equal        one huge tie
//
// Each is checked against the sorting definition before it is timed. `read_limit_us` is the time
// that reading the rows once takes, measured in the same run.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <idiolect/backend/cpu/cpu.hpp>
#include <idiolect/core/philox.hpp>
#include <idiolect/hinted/lambda.hpp>
#include <idiolect/hinted/policy.hpp>
#include <idiolect/stats/sampling.hpp>
#include <idiolect/stats/selection.hpp>

#include "../support/limits.hpp"
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

/// `token` is the one that `u` draws, but for u next to a border.
void check(token_id token, double u, const sampler_distribution& expected) {
  double before = 0;
  std::size_t i = 0;
  while (i < expected.tokens.size() && expected.tokens[i] != token) before += expected.probs[i++];
  if (i == expected.tokens.size() || u < before - 1e-6 || u > before + expected.probs[i] + 1e-6) {
    throw std::runtime_error("wrong result: the token");
  }
}

/// Median time of reading the rows once, microseconds: they are in the caches that they fit.
double read_limit(std::span<const std::span<const float>> rows) {
  std::vector<double> times;
  for (int round = 0; round < 51; ++round) {
    const auto start = std::chrono::steady_clock::now();
    for (const auto row : rows) {
      auto any = limits::read(reinterpret_cast<const limits::word*>(row.data()),
                              static_cast<index_t>(row.size()));
      benchmark::DoNotOptimize(any);
    }
    const std::chrono::duration<double, std::micro> time = std::chrono::steady_clock::now() - start;
    times.push_back(time.count());
  }
  std::ranges::nth_element(times, times.begin() + 25);
  return times[25];
}

void describe(benchmark::State& state, std::size_t kept,
              std::span<const std::span<const float>> rows) {
  state.counters["read_limit_us"] = read_limit(rows);
  state.SetLabel(std::string(row_names[state.range(0)]) + ", temperature " +
                 (state.range(1) != 0 ? "first, " : "last, ") + std::to_string(kept) +
                 " tokens kept");
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
  const std::span<const float> read[] = {row};
  describe(state, r.tokens.size(), read);
}

void sampler_draw(benchmark::State& state) {
  const auto row = make_row(static_cast<row_kind>(state.range(0)));
  const auto o = demo(state.range(1) != 0);
  const auto max = static_cast<double>(*std::ranges::max_element(row));
  selection_scratch scratch;
  const auto expected = sampled_distribution(row.data(), vocab, o);
  const philox random{.seed = 3};
  for (std::uint64_t i = 0; i < 100; ++i) {
    const double u = random.uniform(i);
    check(select_token(row.data(), vocab, max, o, u, scratch), u, expected);
  }
  std::uint64_t i = 0;
  for (auto _ : state) {
    auto token = select_token(row.data(), vocab, max, o, random.uniform(i++), scratch);
    benchmark::DoNotOptimize(token);
  }
  const std::span<const float> read[] = {row};
  describe(state, expected.tokens.size(), read);
}

void sampler_by_sorting(benchmark::State& state) {
  const auto row = make_row(static_cast<row_kind>(state.range(0)));
  const auto o = demo(state.range(1) != 0);
  std::size_t kept = 0;
  for (auto _ : state) kept = sampled_distribution(row.data(), vocab, o).tokens.size();
  const std::span<const float> read[] = {row};
  describe(state, kept, read);
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
  std::vector<double> mixture;
  for (std::size_t i = 0; i < p.size(); ++i) {
    mixture.push_back(0.5 * static_cast<double>(p[i]) + 0.5 * static_cast<double>(q[i]));
  }
  const auto expected = sampled_distribution(mixture.data(), vocab, o.sampler);
  const auto first_token = [&](std::uint64_t record) {
    auto text = policy.start(record);
    policy.step(text, p, q, memory);
    return text.ids[0];
  };
  for (std::uint64_t record = 0; record < 100; ++record) {
    check(first_token(record), philox{o.seed, record}.uniform(0), expected);
  }
  std::uint64_t record = 0;
  for (auto _ : state) {
    auto token = first_token(record++);
    benchmark::DoNotOptimize(token);
  }
  const std::span<const float> read[] = {p, q};
  describe(state, expected.tokens.size(), read);
}

void rows_and_orders(benchmark::internal::Benchmark* b) {
  for (const int row : {gaussian, peaked, flat, equal}) {
    for (const int first : {1, 0}) b->Args({row, first});
  }
  b->Unit(benchmark::kMicrosecond);
}

BENCHMARK(sampler)->Apply(rows_and_orders);
BENCHMARK(sampler_draw)->Apply(rows_and_orders);
BENCHMARK(sampler_by_sorting)
    ->Args({gaussian, 1})
    ->Args({gaussian, 0})
    ->Args({flat, 0})
    ->Unit(benchmark::kMicrosecond);
BENCHMARK(two_stream_step)->Apply(rows_and_orders);

}  // namespace
}  // namespace idiolect::bench
