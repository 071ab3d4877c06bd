// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Token scores against sums written out in long double.

#include <idiolect/cll/score.hpp>
#include <idiolect/core/executor.hpp>
#include <idiolect/core/philox.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "support/catch.hpp"
#include "support/cells.hpp"

namespace idiolect {
namespace {

using test::fast;
using test::plain;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

double normal(const philox& random, std::uint64_t position) {
  const double u = 1 - random.uniform(2 * position);
  return std::sqrt(-2 * std::log(u)) *
         std::cos(6.283185307179586 * random.uniform(2 * position + 1));
}

std::vector<double> random_row(index_t n, std::uint64_t record, double scale) {
  std::vector<double> row;
  for (index_t i = 0; i < n; ++i) {
    row.push_back(scale * normal({77, record}, static_cast<std::uint64_t>(i)));
  }
  return row;
}

std::vector<long double> softmax(const std::vector<double>& row, double temperature) {
  long double max = -infinity, total = 0;
  for (const double z : row) max = std::max(max, static_cast<long double>(z) / temperature);
  std::vector<long double> p;
  for (const double z : row) p.push_back(std::exp(static_cast<long double>(z) / temperature - max));
  for (const auto x : p) total += x;
  for (auto& x : p) x /= total;
  return p;
}

/// Scores of every token of the vocabulary at the same row.
std::vector<token_score> score_all(const std::vector<double>& row, const score_options& o) {
  const auto n = static_cast<index_t>(row.size());
  std::vector<double> rows;
  std::vector<token_id> targets;
  for (index_t i = 0; i < n; ++i) {
    rows.insert(rows.end(), row.begin(), row.end());
    targets.push_back(static_cast<token_id>(i));
  }
  return score(plain(), matrix_view(rows.data(), n, n), targets, o);
}

const std::vector<sampler_options>& samplers() {
  using enum sampler_order;
  static const std::vector<sampler_options> all = {
      {},
      {.temperature = 0.3},
      {.temperature = 2},
      {.temperature = 0},
      {.top_k = 5},
      {.temperature = 0.7, .top_p = 0.9},
      {.temperature = 0.7, .top_p = 0.9, .order = temperature_last},
      {.temperature = 0.5, .min_p = 0.1},
      {.temperature = 0.5, .min_p = 0.1, .order = temperature_last},
      {.temperature = 1.5, .top_k = 12, .top_p = 0.8, .min_p = 0.05},
      {.temperature = 1.5, .top_k = 12, .top_p = 0.8, .min_p = 0.05, .order = temperature_last}};
  return all;
}

TEST_CASE("token scores are the sums of their definitions") {
  for (const double temperature : {1.0, 0.6, 3.0}) {
    for (std::uint64_t record = 0; record < 8; ++record) {
      auto row = random_row(40, record, 4);
      row[7] = -infinity;
      const auto p = softmax(row, temperature);
      long double entropy = 0, variance = 0;
      for (const auto x : p) entropy -= x > 0 ? x * std::log(x) : 0;
      for (const auto x : p) {
        variance += x > 0 ? x * (std::log(x) + entropy) * (std::log(x) + entropy) : 0;
      }
      const auto scores = score_all(row, {.temperature = temperature});
      for (std::size_t y = 0; y < row.size(); ++y) {
        if (y == 7) continue;
        INFO("temperature " << temperature << " record " << record << " target " << y);
        const auto log_p = std::log(p[y]);
        CHECK(scores[y].status == token_status::scored);
        CHECK(scores[y].log_prob == Approx(static_cast<double>(log_p)).epsilon(1e-12));
        CHECK(scores[y].entropy == Approx(static_cast<double>(entropy)).epsilon(1e-12));
        CHECK(scores[y].varentropy == Approx(static_cast<double>(variance)).epsilon(1e-12));
        CHECK(scores[y].phi == Approx(static_cast<double>(log_p + entropy)).margin(1e-12));
      }
      CHECK(scores[7].status == token_status::scored);
      CHECK(scores[7].log_prob == -infinity);
      CHECK(scores[7].phi == -infinity);
      CHECK(scores[7].varentropy == Approx(static_cast<double>(variance)));
    }
  }
}

TEST_CASE("the mean of phi over a source is the difference of entropies less the divergence") {
  for (std::uint64_t record = 0; record < 20; ++record) {
    const auto row = random_row(30, record, 2);
    const auto p = softmax(row, 1);
    // A foreign source, one more peaked than the model, and the model.
    for (const auto& q : {softmax(random_row(30, 1000 + record, 2), 1), softmax(row, 0.3), p}) {
      long double entropy_p = 0, entropy_q = 0, divergence = 0, mean = 0;
      const auto scores = score_all(row, {});
      for (std::size_t y = 0; y < p.size(); ++y) {
        entropy_p -= p[y] * std::log(p[y]);
        entropy_q -= q[y] * std::log(q[y]);
        divergence += q[y] * std::log(q[y] / p[y]);
        mean += q[y] * scores[y].phi;
      }
      CHECK(static_cast<double>(mean) ==
            Approx(static_cast<double>(entropy_p - entropy_q - divergence)).margin(1e-12));
    }
  }
}

TEST_CASE("phi centred by a sampler has mean zero and the stated variance under that sampler") {
  for (const auto& sampler : samplers()) {
    for (const double temperature : {1.0, 0.8, 3.0}) {
      for (std::uint64_t record = 0; record < 10; ++record) {
        const auto row = random_row(30, record, 2);
        const auto r = sampled_distribution(row.data(), 30, sampler);
        const auto scores = score_all(row, {.temperature = temperature, .sampler = sampler});
        const auto plain = score_all(row, {.temperature = temperature});
        long double mean = 0, square = 0;
        for (std::size_t i = 0; i < r.tokens.size(); ++i) {
          const auto& s = scores[static_cast<std::size_t>(r.tokens[i])];
          mean += static_cast<long double>(r.probs[i]) * s.phi;
          square += static_cast<long double>(r.probs[i]) * s.phi * s.phi;
        }
        INFO("sampler temperature " << sampler.temperature << " top_k " << sampler.top_k
                                    << " top_p " << sampler.top_p << " min_p " << sampler.min_p);
        CHECK(static_cast<double>(mean) == Approx(0).margin(1e-12));
        CHECK(static_cast<double>(square) == Approx(scores[0].varentropy).margin(1e-12));
        for (std::size_t y = 0; y < row.size(); ++y) {  // only the centre and the variance change
          CHECK(scores[y].log_prob == plain[y].log_prob);
          CHECK(scores[y].entropy == plain[y].entropy);
          CHECK(scores[y].phi - scores[0].phi == Approx(plain[y].phi - plain[0].phi).margin(1e-12));
        }
      }
    }
  }
}

TEST_CASE("the plain sampler gives the plain score") {
  const auto row = random_row(50, 3, 3);
  const auto plain = score_all(row, {});
  const auto sampled = score_all(row, {.sampler = sampler_options{}});
  for (std::size_t y = 0; y < row.size(); ++y) {
    CHECK(sampled[y].phi == Approx(plain[y].phi).margin(1e-12));
    CHECK(sampled[y].varentropy == Approx(plain[y].varentropy));
  }
}

TEST_CASE("a sampler without choice has phi and variance of exactly zero") {
  // Otherwise rounding over nothing would be an infinite z.
  for (const double temperature : {1.0, 0.7, 3.0, 1.1}) {
    for (std::uint64_t record = 0; record < 50; ++record) {
      auto row = random_row(30, record, 5);
      const auto best = static_cast<std::size_t>(std::ranges::max_element(row) - row.begin());
      for (const sampler_options& sampler :
           {sampler_options{.temperature = 0}, sampler_options{.top_k = 1},
            sampler_options{.top_p = 1e-9}, sampler_options{.min_p = 1}}) {
        const auto s = score_all(row, {.temperature = temperature, .sampler = sampler})[best];
        CHECK(s.phi == 0);
        CHECK(s.varentropy == 0);
      }
      for (const std::size_t i : {3u, 11u, 20u}) row[i] = 40.1;  // three that tie
      const sampler_options three{.top_k = 3};
      const auto tied = score_all(row, {.temperature = temperature, .sampler = three})[11];
      CHECK(tied.phi == 0);
      CHECK(tied.varentropy == 0);
    }
  }
}

TEST_CASE("a mask of the lowest finite number is a mask for samplers too") {
  auto row = random_row(20, 1, 1);
  for (std::size_t i = 10; i < 20; ++i) row[i] = std::numeric_limits<double>::lowest();
  auto masked = row;
  for (std::size_t i = 10; i < 20; ++i) masked[i] = -infinity;
  for (const auto& sampler : samplers()) {
    for (const double temperature : {1.0, 0.5}) {  // divided by 0.5 it overflows to -inf
      const auto a = score_all(row, {.temperature = temperature, .sampler = sampler})[2];
      const auto b = score_all(masked, {.temperature = temperature, .sampler = sampler})[2];
      CHECK(a.phi == Approx(b.phi).margin(1e-12));
      CHECK(a.varentropy == Approx(b.varentropy).margin(1e-12));
    }
  }
}

TEST_CASE("phi centred by a sampler is shift-stable") {
  const auto row = random_row(64, 9, 3);
  auto shifted = row;
  for (double& z : shifted) z += 1e4;
  const score_options o{.sampler = sampler_options{.temperature = 0.5, .top_p = 0.95}};
  const auto a = score_all(row, o);
  const auto b = score_all(shifted, o);
  for (std::size_t y = 0; y < row.size(); ++y) {
    CHECK(b[y].phi == Approx(a[y].phi).margin(1e-10));
    CHECK(b[y].varentropy == Approx(a[y].varentropy).margin(1e-10));
  }
}

TEST_CASE("ignored and non-finite rows have a status and NaN") {
  std::vector<float> rows(5 * 3, 0.5f);
  rows[1 * 3 + 2] = static_cast<float>(nan);
  rows[2 * 3 + 0] = static_cast<float>(infinity);
  for (std::size_t j = 0; j < 3; ++j) rows[3 * 3 + j] = static_cast<float>(-infinity);
  const std::vector<std::int64_t> targets = {ignored_target, 0, 1, 2, 1};
  const std::optional<sampler_options> with_and_without[] = {std::nullopt, sampler_options{}};
  for (const auto& sampler : with_and_without) {
    const auto scores = score(fast(), matrix_view(rows.data(), 5, 3), targets, {.sampler = sampler});
    REQUIRE(scores.size() == 5);
    CHECK(scores[0].status == token_status::ignored);
    for (std::size_t i = 1; i < 4; ++i) CHECK(scores[i].status == token_status::non_finite);
    for (std::size_t i = 0; i < 4; ++i) {
      CHECK(std::isnan(scores[i].log_prob));
      CHECK(std::isnan(scores[i].entropy));
      CHECK(std::isnan(scores[i].varentropy));
      CHECK(std::isnan(scores[i].phi));
    }
    CHECK(scores[4].status == token_status::scored);
    CHECK(scores[4].phi == Approx(0).margin(1e-7));
  }
}

TEST_CASE("a vocabulary of one and no rows at all") {
  const std::vector<float> one = {3.0f};
  const std::vector<token_id> target = {0};
  const auto s = score(fast(), one, target);
  REQUIRE(s.size() == 1);
  CHECK(s[0].log_prob == 0);
  CHECK(s[0].entropy == 0);
  CHECK(s[0].phi == 0);
  CHECK(s[0].varentropy == 0);
  CHECK(score(fast(), matrix_view<const float>(nullptr, 0, 7), std::vector<token_id>{}).empty());
}

TEST_CASE("scoring names the argument that is wrong") {
  const std::vector<float> row = {1, 2, 3};
  const auto fails = [&](std::vector<token_id> targets, const score_options& o) {
    try {
      static_cast<void>(score(fast(), row, targets, o));
    } catch (const error& e) {
      return e.argument();
    }
    return std::string("nothing");
  };
  CHECK(fails({1}, {}) == "nothing");
  CHECK(fails({3}, {}) == "targets");
  CHECK(fails({-1}, {}) == "targets");
  CHECK(fails({1, 2}, {}) == "targets");
  CHECK(fails({1}, {.temperature = 0}) == "temperature");
  CHECK(fails({1}, {.temperature = infinity}) == "temperature");
  CHECK(fails({1}, {.temperature = 1e-39}) == "temperature");  // 1 / temperature is inf in float
  CHECK(fails({1}, {.temperature = 1e-38}) == "nothing");
  CHECK(fails({1}, {.sampler = sampler_options{.top_p = 0}}) == "top_p");
  CHECK(fails({-7}, {.ignore_index = -7}) == "nothing");
}

#if !defined(IDIOLECT_TEST_THRUST)
TEST_CASE("token scores have the same bits for any executor") {
  std::vector<double> rows;
  std::vector<token_id> targets;
  for (std::uint64_t i = 0; i < 64; ++i) {
    const auto row = random_row(100, i, 3);
    rows.insert(rows.end(), row.begin(), row.end());
    targets.push_back(static_cast<token_id>(i));
  }
  const matrix_view logits(rows.data(), 64, 100);
  const score_options o{.sampler = sampler_options{.temperature = 0.6, .top_p = 0.9}};
  const auto serial = score(fast(), logits, targets, o);
  const auto threads = score(cpu{thread_executor(3)}, logits, targets, o);
  for (std::size_t i = 0; i < serial.size(); ++i) {
    CHECK(std::bit_cast<std::uint64_t>(serial[i].phi) ==
          std::bit_cast<std::uint64_t>(threads[i].phi));
    CHECK(std::bit_cast<std::uint64_t>(serial[i].varentropy) ==
          std::bit_cast<std::uint64_t>(threads[i].varentropy));
  }
}
#endif

}  // namespace
}  // namespace idiolect
