// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// What the scores claim about the model's own text, on thousands of sequences that a synthetic
// language model really generates: each token changes the distribution of the next.

#include <idiolect/backend/cpu/cpu.hpp>
#include <idiolect/cll/corpus.hpp>
#include <idiolect/cll/sequence.hpp>
#include <idiolect/core/philox.hpp>

#include <array>
#include <cmath>
#include <span>
#include <vector>

#include "support/catch.hpp"

namespace idiolect {
namespace {

constexpr index_t vocabulary = 24;

/// Logits that depend on the last two tokens: from nearly certain to nearly flat rows.
std::array<double, vocabulary> logits_after(token_id last, token_id before) {
  const philox random{1234, static_cast<std::uint64_t>(last * vocabulary + before)};
  const double scale = 0.3 + 3.5 * random.uniform(999);
  std::array<double, vocabulary> row;
  for (std::size_t i = 0; i < row.size(); ++i) {
    const double u = 1 - random.uniform(2 * i);
    row[i] = scale * std::sqrt(-2 * std::log(u)) *
             std::cos(6.283185307179586 * random.uniform(2 * i + 1));
  }
  return row;
}

struct scored_corpus {
  corpus_summary summary;
  std::vector<double> p_values;
};

/// `sequences` texts of `length` tokens drawn with `sampler`, scored with options `o`.
scored_corpus generate(const sampler_options& sampler, const score_options& o, int sequences,
                       index_t length) {
  scored_corpus result;
  for (int record = 0; record < sequences; ++record) {
    const philox random{42, static_cast<std::uint64_t>(record)};
    std::vector<double> rows;
    std::vector<token_id> tokens;
    auto last = static_cast<token_id>(random.below(vocabulary, 1'000'000));
    token_id before = 0;
    for (index_t t = 0; t < length; ++t) {
      const auto row = logits_after(last, before);
      const auto token = sampled_distribution(row.data(), vocabulary, sampler)
                             .draw(random.uniform(static_cast<std::uint64_t>(t)));
      rows.insert(rows.end(), row.begin(), row.end());
      tokens.push_back(token);
      before = last;
      last = token;
    }
    const auto scores = score(cpu{}, matrix_view(rows.data(), length, vocabulary), tokens, o);
    result.summary.add(scores);
    result.p_values.push_back(score_sequence(scores).p_value());
  }
  return result;
}

/// z over n sequences has mean 0 and variance 1: within four standard deviations of the mean of n,
/// and of their variance (2 / n for normal z; z of short sequences has slightly heavier tails).
void check_standard(const moment_summary& z) {
  const auto n = static_cast<double>(z.count);
  CHECK(std::abs(z.mean) < 4 / std::sqrt(n));
  CHECK(std::abs(z.variance() - 1) < 4 * std::sqrt(3 / n));
}

TEST_CASE("the own text of a model has z of mean 0 and variance 1 and uniform p-values") {
  const int n = 4000;
  const auto corpus = generate({}, {}, n, 64);
  REQUIRE(corpus.summary.z.count == n);
  check_standard(corpus.summary.z);
  CHECK(std::abs(corpus.summary.all_tokens.z()) < 4);
  CHECK(std::abs(corpus.summary.all_tokens.mean_phi()) <
        4 * corpus.summary.all_tokens.standard_error());

  // Chi-squared over 20 bins of the p-value: 19 degrees of freedom, 43.8 at 0.001.
  std::array<int, 20> bins{};
  for (const double p : corpus.p_values)
    ++bins[std::min<std::size_t>(19, static_cast<std::size_t>(20 * p))];
  double chi_squared = 0;
  for (const int count : bins) {
    chi_squared += (count - n / 20.0) * (count - n / 20.0) / (n / 20.0);
  }
  CHECK(chi_squared < 43.8);
}

TEST_CASE("text from a filtered sampler is above zero unless phi is centred by that sampler") {
  using enum sampler_order;
  const sampler_options samplers[] = {
      {.temperature = 0.3},
      {.top_k = 6},
      {.top_p = 0.8},
      {.min_p = 0.15},
      {.temperature = 0.7, .top_p = 0.9},
      {.temperature = 0.7, .top_p = 0.9, .order = temperature_last},
      {.temperature = 0.6, .min_p = 0.1},
      {.temperature = 0.6, .min_p = 0.1, .order = temperature_last},
      {.temperature = 1.4, .top_k = 8, .top_p = 0.9, .min_p = 0.02},
      {.temperature = 1.4, .top_k = 8, .top_p = 0.9, .min_p = 0.02, .order = temperature_last}};
  for (const auto& sampler : samplers) {
    INFO("temperature " << sampler.temperature << " top_k " << sampler.top_k << " top_p "
                        << sampler.top_p << " min_p " << sampler.min_p << " last "
                        << (sampler.order == temperature_last));
    const auto plain = generate(sampler, {}, 300, 48).summary;
    const auto centred = generate(sampler, {.sampler = sampler}, 1200, 48).summary;
    if (sampler.temperature <= 1) {
      CHECK(plain.all_tokens.mean_phi() > 0.05);
      CHECK(plain.all_tokens.z() > 10);
    }
    check_standard(centred.z);
    CHECK(std::abs(centred.all_tokens.z()) < 4);
    CHECK(centred.mean_log_prob.mean > -3);  // the likelihood stays the model's
  }
}

TEST_CASE("greedy text centred by the greedy sampler has z of exactly zero") {
  const sampler_options greedy{.temperature = 0};
  const auto plain = generate(greedy, {}, 50, 32).summary;
  const auto centred = generate(greedy, {.sampler = greedy}, 50, 32).summary;
  CHECK(plain.all_tokens.mean_phi() > 0.05);
  CHECK(centred.z.count == 50);
  CHECK(centred.z.min == 0);
  CHECK(centred.z.max == 0);
}

TEST_CASE("text hotter than the model is below zero") {
  const sampler_options hot{.temperature = 2};
  CHECK(generate(hot, {}, 100, 48).summary.all_tokens.z() < -10);
  check_standard(generate(hot, {.temperature = 2}, 1200, 48).summary.z);  // the model at 2
}

TEST_CASE("the running sum stays in its band as often as a normal number") {
  // Share of positions outside one sigma: 0.317 for a normal sum.
  int outside = 0, total = 0;
  for (std::uint64_t record = 0; record < 2000; ++record) {
    const philox random{7, record};
    token_id last = static_cast<token_id>(record % 24), before = 0;
    std::vector<double> rows;
    std::vector<token_id> tokens;
    for (std::uint64_t t = 0; t < 64; ++t) {
      const auto row = logits_after(last, before);
      rows.insert(rows.end(), row.begin(), row.end());
      before = last;
      last = sampled_distribution(row.data(), vocabulary, {}).draw(random.uniform(t));
      tokens.push_back(last);
    }
    const auto path =
        cumulative_path(score(cpu{}, matrix_view(rows.data(), 64, vocabulary), tokens));
    outside += std::abs(path.phi[63]) > path.sigma[63];
    ++total;
  }
  CHECK(static_cast<double>(outside) / total == Approx(0.317).margin(0.042));  // 4 deviations
}

}  // namespace
}  // namespace idiolect
