// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The distribution of a sampler: its definition written out a second way, and the frequency of
// draws.

#include <idiolect/core/philox.hpp>
#include <idiolect/core/scalar.hpp>
#include <idiolect/stats/sampling.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "support/catch.hpp"

namespace idiolect {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
using rows = std::vector<double>;
using ids = std::vector<token_id>;

sampler_distribution distribution(const rows& row, const sampler_options& o) {
  return sampled_distribution(row.data(), static_cast<index_t>(row.size()), o);
}

/// Logits with the given probabilities.
rows logits_of(const rows& probs) {
  rows row;
  for (const double p : probs) row.push_back(std::log(p) + 5);
  return row;
}

/// The definition token by token: who comes before whom, and the mass before them. O(n^2).
std::vector<long double> by_definition(const rows& row, const sampler_options& o) {
  const std::size_t n = row.size();
  const long double max = *std::ranges::max_element(row);
  const auto before = [&](std::size_t i, std::size_t j) {
    return row[i] != row[j] ? row[i] > row[j] : i < j;
  };
  const bool first = o.order == sampler_order::temperature_first;
  const auto score = [&](std::size_t i, bool tempered) {
    return std::exp((row[i] - max) / (tempered ? static_cast<long double>(o.temperature) : 1));
  };
  std::vector<bool> kept(n);
  for (std::size_t i = 0; i < n; ++i) {
    index_t rank = 0;
    for (std::size_t j = 0; j < n; ++j) rank += before(j, i);
    kept[i] = row[i] > -infinity && (o.top_k == 0 || rank < o.top_k);
  }
  long double total = 0;
  for (std::size_t i = 0; i < n; ++i) total += kept[i] ? score(i, first) : 0;
  const auto after_top_k = kept;
  for (std::size_t i = 0; i < n; ++i) {
    long double ahead = 0;
    for (std::size_t j = 0; j < n; ++j) {
      ahead += after_top_k[j] && before(j, i) ? score(j, first) : 0;
    }
    if (o.top_p < 1 && ahead >= o.top_p * total) kept[i] = false;
    if (score(i, first) < o.min_p) kept[i] = false;
  }
  std::vector<long double> r(n, 0);
  long double mass = 0;
  for (std::size_t i = 0; i < n; ++i) mass += kept[i] ? score(i, true) : 0;
  for (std::size_t i = 0; i < n; ++i) r[i] = kept[i] ? score(i, true) / mass : 0;
  return r;
}

TEST_CASE("the plain sampler draws from the softmax") {
  const auto r = distribution(logits_of({0.5, 0.125, 0.375}), {});
  CHECK(r.tokens == ids{0, 1, 2});
  CHECK(r.probs[0] == Approx(0.5));
  CHECK(r.probs[1] == Approx(0.125));
  CHECK(r.probs[2] == Approx(0.375));
}

TEST_CASE("temperature sharpens and zero takes the most likely with the smaller id") {
  const auto row = logits_of({0.2, 0.4, 0.4});
  const auto half = distribution(row, {.temperature = 0.5});
  CHECK(half.probs[0] == Approx(0.04 / 0.36));
  CHECK(half.probs[1] == Approx(0.16 / 0.36));
  for (const auto order : {sampler_order::temperature_first, sampler_order::temperature_last}) {
    const auto greedy = distribution({1, 7, 7, 3}, {.temperature = 0, .top_k = 3, .order = order});
    CHECK(greedy.tokens == ids{1});
    CHECK(greedy.probs == rows{1});
  }
  // So small that 1 / temperature is infinite: greedy, and ties stay even.
  const auto tiny = distribution({1, 7, 7, 3}, {.temperature = 1e-310});
  CHECK(tiny.probs == rows{0, 0.5, 0.5, 0});
  const auto hot = distribution({1, 7, 7, 3}, {.temperature = 1e300});
  CHECK(hot.probs[0] == Approx(0.25));
}

TEST_CASE("top-k keeps the smaller ids of those that tie") {
  const rows row = {2, 5, 3, 5, 3, 3};
  CHECK(distribution(row, {.top_k = 1}).tokens == ids{1});
  CHECK(distribution(row, {.top_k = 2}).tokens == ids{1, 3});
  CHECK(distribution(row, {.top_k = 3}).tokens == ids{1, 2, 3});
  CHECK(distribution(row, {.top_k = 4}).tokens == ids{1, 2, 3, 4});
  CHECK(distribution(row, {.top_k = 6}).tokens.size() == 6);
  CHECK(distribution(row, {.top_k = 1000}).tokens.size() == 6);
  CHECK(distribution(row, {.top_k = 0}).tokens.size() == 6);
}

TEST_CASE("top-p keeps the shortest descending prefix that reaches the mass") {
  const auto row = logits_of({0.125, 0.5, 0.25, 0.125});
  CHECK(distribution(row, {.top_p = 0.49}).tokens == ids{1});
  CHECK(distribution(row, {.top_p = 0.51}).tokens == ids{1, 2});
  CHECK(distribution(row, {.top_p = 0.74}).tokens == ids{1, 2});
  CHECK(distribution(row, {.top_p = 0.76}).tokens == ids{0, 1, 2});
  CHECK(distribution(row, {.top_p = 0.88}).tokens == ids{0, 1, 2, 3});
  CHECK(distribution(row, {.top_p = 1e-12}).tokens == ids{1});
  CHECK(distribution(row, {.top_p = 1}).tokens == ids{0, 1, 2, 3});
  // Reached exactly, in numbers without rounding: no further token.
  CHECK(distribution({0, 0, 0, 0}, {.top_p = 0.5}).tokens == ids{0, 1});
  // Of what top-k left: 0.5 / 0.75 of it is two thirds.
  CHECK(distribution(row, {.top_k = 2, .top_p = 0.66}).tokens == ids{1});
  CHECK(distribution(row, {.top_k = 2, .top_p = 0.67}).tokens == ids{1, 2});
}

TEST_CASE("min-p keeps what is likely enough beside the largest") {
  const auto row = logits_of({0.1, 0.5, 0.25, 0.15});
  CHECK(distribution(row, {.min_p = 0.19}).tokens == ids{0, 1, 2, 3});
  CHECK(distribution(row, {.min_p = 0.21}).tokens == ids{1, 2, 3});
  CHECK(distribution(row, {.min_p = 0.49}).tokens == ids{1, 2});
  CHECK(distribution(row, {.min_p = 0.51}).tokens == ids{1});
  CHECK(distribution({4, 4, 1}, {.min_p = 1}).tokens == ids{0, 1});
}

TEST_CASE("the order decides which distribution is cut") {
  const auto row = logits_of({0.4, 0.3, 0.2, 0.1});
  // At temperature 0.5 the masses are 16, 9, 4, 1 of 30.
  sampler_options o{.temperature = 0.5, .top_p = 0.8};
  CHECK(distribution(row, o).tokens == ids{0, 1});
  o.order = sampler_order::temperature_last;
  const auto last = distribution(row, o);
  CHECK(last.tokens == ids{0, 1, 2});
  CHECK(last.probs[0] == Approx(16.0 / 29));
  CHECK(last.probs[2] == Approx(4.0 / 29));
  sampler_options m{.temperature = 0.5, .min_p = 0.4};
  CHECK(distribution(row, m).tokens == ids{0, 1});
  m.order = sampler_order::temperature_last;
  CHECK(distribution(row, m).tokens == ids{0, 1, 2});
}

TEST_CASE("every combination is its definition") {
  for (std::uint64_t record = 0; record < 400; ++record) {
    const philox random{12, record};
    rows row;
    for (std::uint64_t i = 0; i < 20; ++i) {
      row.push_back(std::floor(8 * random.uniform(i)) / (record % 2 == 0 ? 1 : 7.3));  // with ties
    }
    if (record % 3 == 0) row[static_cast<std::size_t>(random.below(20, 50))] = -infinity;
    sampler_options o;
    o.temperature = 0.2 + 2 * random.uniform(30);
    o.top_k = static_cast<index_t>(random.below(24, 31));
    o.top_p = record % 4 == 0 ? 1 : 1 - random.uniform(32);
    o.min_p = record % 5 == 0 ? 0 : 0.3 * random.uniform(33);
    o.order = record % 7 < 3 ? sampler_order::temperature_last : sampler_order::temperature_first;
    const auto expected = by_definition(row, o);
    const auto r = distribution(row, o);
    ids tokens;
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (expected[i] > 0) tokens.push_back(static_cast<token_id>(i));
    }
    INFO("record " << record);
    REQUIRE(r.tokens == tokens);
    double total = 0;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      const auto token = static_cast<std::size_t>(tokens[i]);
      CHECK(r.probs[i] == Approx(static_cast<double>(expected[token])).epsilon(1e-12));
      total += r.probs[i];
    }
    CHECK(total == Approx(1).epsilon(1e-14));
  }
}

TEST_CASE("a masked token is never kept and a row of nothing is empty") {
  const auto r = distribution({-infinity, 0, -infinity, 0}, {.top_k = 4});
  CHECK(r.tokens == ids{1, 3});
  CHECK(r.probs == rows{0.5, 0.5});
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const double temperature : {1.0, 0.0}) {
    const sampler_options o{.temperature = temperature};
    CHECK(distribution({-infinity, -infinity}, o).empty());
    CHECK(distribution({0, nan, 1}, o).empty());
    CHECK(distribution({0, infinity, 1}, o).empty());
    CHECK(distribution({}, o).empty());
    CHECK_FALSE(distribution({0}, o).empty());
  }
}

TEST_CASE("a shift of the row changes nothing") {
  rows row;
  for (std::uint64_t i = 0; i < 50; ++i)
    row.push_back(std::floor(64 * philox{2, 0}.uniform(i)) / 8);
  auto shifted = row;
  for (double& z : shifted) z += 4096;  // exact
  const sampler_options o{.temperature = 0.7, .top_k = 30, .top_p = 0.9, .min_p = 0.01};
  const auto a = distribution(row, o);
  const auto b = distribution(shifted, o);
  CHECK(a.tokens == b.tokens);
  CHECK(a.probs == b.probs);
}

TEST_CASE("rows of 16-bit and single precision numbers sample as their values do") {
  const rows values = {0.5, -1, 2.25, 2.25, -infinity};
  std::vector<half> halves;
  std::vector<bfloat16> brains;
  std::vector<float> singles;
  for (const double x : values) {
    halves.emplace_back(static_cast<float>(x));
    brains.emplace_back(static_cast<float>(x));
    singles.push_back(static_cast<float>(x));
  }
  const sampler_options o{.temperature = 0.8, .top_k = 3};
  const auto expected = distribution(values, o);
  for (const auto& r :
       {sampled_distribution(halves.data(), 5, o), sampled_distribution(brains.data(), 5, o),
        sampled_distribution(singles.data(), 5, o)}) {
    CHECK(r.tokens == expected.tokens);
    CHECK(r.probs == expected.probs);
  }
}

TEST_CASE("options out of range are named") {
  const auto fails = [](const sampler_options& o) {
    try {
      static_cast<void>(distribution({1, 2}, o));
    } catch (const shape_error& e) {
      return e.argument();
    }
    return std::string("nothing");
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(fails({}) == "nothing");
  for (const double x : {-0.1, infinity, nan}) CHECK(fails({.temperature = x}) == "temperature");
  CHECK(fails({.top_k = -1}) == "top_k");
  for (const double x : {0.0, -1.0, 1.1, nan}) CHECK(fails({.top_p = x}) == "top_p");
  for (const double x : {-0.1, 1.1, nan}) CHECK(fails({.min_p = x}) == "min_p");
}

TEST_CASE("a draw is the inverse of the cumulative distribution") {
  const sampler_distribution r{{3, 5, 9}, {0.25, 0.5, 0.25}};
  CHECK(r.draw(0) == 3);
  CHECK(r.draw(0.2499) == 3);
  CHECK(r.draw(0.25) == 5);
  CHECK(r.draw(0.7499) == 5);
  CHECK(r.draw(0.75) == 9);
  CHECK(r.draw(std::nextafter(1.0, 0.0)) == 9);
  // Rounding may leave the sum short of u; a token of probability 0 is not the answer.
  const sampler_distribution low{{0, 1, 2}, {0.5, 0.4999, 0}};
  CHECK(low.draw(0.99999) == 1);
  const sampler_distribution leading{{0, 1}, {0, 1}};
  CHECK(leading.draw(0) == 1);
}

TEST_CASE("draws are as frequent as their probabilities") {
  const auto row = logits_of({0.02, 0.3, 0.08, 0.2, 0.15, 0.25});
  for (const sampler_options& o :
       {sampler_options{}, sampler_options{.temperature = 0.6, .top_p = 0.95},
        sampler_options{.temperature = 1.5, .top_k = 4, .order = sampler_order::temperature_last},
        sampler_options{.min_p = 0.2}}) {
    const auto r = distribution(row, o);
    const int n = 200'000;
    std::vector<int> counts(row.size());
    for (int i = 0; i < n; ++i) {
      const auto token = r.draw(philox{17, 5}.uniform(static_cast<std::uint64_t>(i)));
      ++counts[static_cast<std::size_t>(token)];
    }
    double chi_squared = 0;
    int drawn = 0;
    for (std::size_t i = 0; i < r.tokens.size(); ++i) {
      const int count = counts[static_cast<std::size_t>(r.tokens[i])];
      const double expected = n * r.probs[i];
      chi_squared += (count - expected) * (count - expected) / expected;
      drawn += count;
    }
    CHECK(drawn == n);          // nothing else
    CHECK(chi_squared < 20.5);  // 5 degrees of freedom at most: 0.001
  }
}

}  // namespace
}  // namespace idiolect
