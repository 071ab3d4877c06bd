// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Selection without a sort beside the sampler's plain definition: the same tokens and the same
// probabilities, but for a cut that falls within 1e-6 of the total weight between two tokens.

#include <idiolect/core/scalar.hpp>
#include <idiolect/stats/exponential.hpp>
#include <idiolect/stats/nucleus.hpp>
#include <idiolect/stats/sampling.hpp>
#include <idiolect/stats/selection.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/rows.hpp"
#include "support/sampler_cases.hpp"

namespace idiolect::test {
namespace {

// What the pruned tail may hold of the maximum's mass, and so of the whole.
constexpr double pruned = 1.2e-7;

struct comparison {
  bool equal = false;     // token by token, probabilities within tolerance
  bool near_tie = false;  // not equal, and options a hair to either side differ as well
};

template <class T>
bool same(const sampler_distribution& found, const sampler_distribution& expected,
          const std::vector<T>& row) {
  // What was pruned has next to no probability: it may be missing.
  std::size_t k = 0;
  double total = 0;
  for (std::size_t i = 0; i < expected.tokens.size(); ++i) {
    if (k < found.tokens.size() && found.tokens[k] == expected.tokens[i]) {
      const double p = expected.probs[i];
      if (std::abs(found.probs[k] - p) > 2 * pruned * p + 1e-300) return false;
      total += found.probs[k++];
    } else if (expected.probs[i] > pruned / static_cast<double>(row.size())) {
      return false;
    }
  }
  return k == found.tokens.size() && std::abs(total - 1) < 1e-9;
}

template <class T>
comparison compare(const std::vector<T>& row, const sampler_options& o) {
  const auto n = static_cast<index_t>(row.size());
  static selection_scratch scratch;  // one for all, as a caller would
  static sampler_distribution found;
  select_distribution(row.data(), n, maximum(row), o, scratch, found);
  const auto expected = sampled_distribution(row.data(), n, o);
  comparison result;
  result.equal = same(found, expected, row);
  // A draw is from this distribution: the token whose turn it is, but for u next to a border.
  static random_source random(7);
  for (const double u : {0.0, random.uniform(), random.uniform(), std::nextafter(1.0, 0.0)}) {
    const token_id token = select_token(row.data(), n, maximum(row), o, u, scratch);
    CHECK(distance_of(u, token, found) < 2 * pruned);
  }
  if (!result.equal) {  // does the definition itself change within 1e-6, or give this?
    for (const double hair : {-1e-6, 1e-6}) {
      sampler_options other = o;
      if (o.top_p < 1) other.top_p = std::clamp(o.top_p * (1 + hair), 1e-300, 1.0);
      if (o.min_p > 0) other.min_p = std::min(1.0, o.min_p * (1 + hair));
      const auto moved = sampled_distribution(row.data(), n, other);
      const auto most = std::max(moved.tokens.size(), expected.tokens.size());
      const auto least = std::min(moved.tokens.size(), expected.tokens.size());
      result.near_tie = result.near_tie || (found.tokens.size() >= least &&
                                            found.tokens.size() <= most && most > least);
    }
  }
  return result;
}

}  // namespace

TEST_CASE("the exponential is accurate from 0 down to where it vanishes") {
  CHECK(detail::branchless_exp(0.0) == 1);
  CHECK(detail::branchless_exp(-0.0) == 1);
  CHECK(detail::branchless_exp(-701.0) == 0);
  CHECK(detail::branchless_exp(-infinity) == 0);
  CHECK(detail::branchless_exp(-1e300) == 0);
  random_source random(3);
  double worst = 0;
  for (int i = 0; i < 200'000; ++i) {
    const double x = -std::exp(random.uniform(-40, std::log(700)));
    worst = std::max(worst, std::abs(detail::branchless_exp(x) / std::exp(x) - 1));
  }
  CHECK(worst < 1e-15);

  CHECK(detail::branchless_exp(0.0f) == 1);
  CHECK(detail::branchless_exp(-0.0f) == 1);
  CHECK(detail::branchless_exp(-80.5f) == 0);
  CHECK(detail::branchless_exp(-static_cast<float>(infinity)) == 0);
  CHECK(detail::branchless_exp(-3e38f) == 0);
  worst = 0;
  double bias = 0;
  const int terms = 200'000;
  for (int i = 0; i < terms; ++i) {
    const auto x = static_cast<float>(-random.uniform(0, 80));
    const double error =
        static_cast<double>(detail::branchless_exp(x)) / std::exp(static_cast<double>(x)) - 1;
    worst = std::max(worst, std::abs(error));
    bias += error / terms;
  }
  CHECK(worst < 1e-7);
  CHECK(std::abs(bias) < 1e-9);  // a sum of many is better than its terms
}

TEST_CASE("selection is the definition on hard rows for all options") {
  index_t compared = 0;
  index_t near_ties = 0;
  for (const index_t n : {1, 2, 3, 31, 257, 1000, 5003}) {
    const auto options = all_options(n);
    std::size_t turn = 0;
    for (const auto& [name, values] : adversarial_rows(n, 1e30)) {
      const auto row = stored<float>(values);
      for (std::size_t k = 0; k < options.size(); ++k) {
        if (n > 300 && (k + turn) % 7 != 0) continue;  // a seventh of them for each long row
        INFO(name << ", n " << n << ", " << name_of(options[k]));
        const auto c = compare(row, options[k]);
        if (!c.equal && !c.near_tie) FAIL("not the definition");
        near_ties += c.near_tie ? 1 : 0;
        ++compared;
      }
      ++turn;
    }
  }
  INFO(near_ties << " near ties of " << compared);
  CHECK(compared > 30'000);
  CHECK(near_ties * 200 < compared);
}

TEST_CASE("selection is the definition on rows of every scalar type") {
  random_source random(11);
  index_t near_ties = 0;
  index_t compared = 0;
  const auto check = [&]<class T>(const row_values& values, const sampler_options& o, T) {
    const auto row = stored<T>(values);
    INFO(name_of(o) << ", " << sizeof(T) << " bytes, n " << row.size());
    const auto c = compare(row, o);
    if (!c.equal && !c.near_tie) FAIL("not the definition");
    near_ties += c.near_tie ? 1 : 0;
    ++compared;
  };
  for (int round = 0; round < 400; ++round) {
    const index_t n = 1 + random.below(round % 8 == 0 ? 20'000 : 3000);
    auto values = gaussian_row(n, random.uniform(0.1, 5), random.bits(),
                               round % 3 == 0 ? 0 : random.uniform(-50, 50));
    if (round % 4 == 0) {  // many ties
      for (double& z : values) z = std::round(z * 2) / 2;
    }
    sampler_options o;
    o.temperature = std::exp(random.uniform(-3, 1.5));
    o.top_k = random.below(3) == 0 ? 1 + random.below(2 * n) : 0;
    o.top_p = random.below(4) == 0 ? 1 : 1 - random.uniform() * random.uniform();
    o.min_p = random.below(3) == 0 ? random.uniform() * random.uniform() : 0;
    o.order =
        random.below(2) == 0 ? sampler_order::temperature_first : sampler_order::temperature_last;
    check(values, o, float{});
    check(values, o, double{});
    check(values, o, half{});
    check(values, o, bfloat16{});
  }
  CHECK(near_ties * 200 < compared);
}

TEST_CASE("ties at the edge are cut by id") {
  // A huge tie at the edge of the nucleus, behind a few that are larger.
  const index_t n = 40'000;
  for (const auto order : {sampler_order::temperature_first, sampler_order::temperature_last}) {
    std::vector<float> row(static_cast<std::size_t>(n), 0.0f);
    for (const std::size_t i : {std::size_t{7}, std::size_t{20'000}, std::size_t{39'999}})
      row[i] = 2;
    for (const double top_p : {0.1, 0.5, 0.9}) {
      const sampler_options o{.temperature = 0.9, .top_p = top_p, .order = order};
      CHECK(compare(row, o).equal);
    }
    for (const index_t top_k : {index_t{2}, index_t{3}, index_t{4}, index_t{1000}, n - 1, n}) {
      const sampler_options o{.temperature = 0.9, .top_k = top_k, .order = order};
      selection_scratch scratch;
      sampler_distribution found;
      select_distribution(row.data(), n, 2, o, scratch, found);
      CHECK(found.tokens == sampled_distribution(row.data(), n, o).tokens);
    }
    const std::vector<double> equal(static_cast<std::size_t>(n), -3.5);
    for (const double top_p : {0.25, 0.5, 1.0}) {  // exact in binary
      CHECK(compare(equal, {.top_p = top_p, .order = order}).equal);
    }
  }
}

TEST_CASE("rows whose logits crowd into one bin are still ranked") {
  // Clusters within clusters: every level of bins holds nearly everything in one bin.
  const index_t n = 10'000;
  std::vector<double> row(static_cast<std::size_t>(n));
  random_source random(29);
  for (double& z : row) z = -std::exp2(-random.uniform(0, 45));
  row[5] = 0;
  row[6] = -20;
  for (const double top_p : {0.001, 0.3, 0.77, 0.9999}) {
    CHECK(compare(row, {.top_p = top_p}).equal);
    CHECK(
        compare(row, {.temperature = 0.3, .top_p = top_p, .order = sampler_order::temperature_last})
            .equal);
  }
  for (const index_t top_k : {1, 2, 77, 5000, 9999}) CHECK(compare(row, {.top_k = top_k}).equal);
}

TEST_CASE("a row that misleads the sample is still searched to the end") {
  // Gaussian where it is sampled, shifted up or down everywhere else.
  const index_t n = 20'000;
  for (const double shift : {-6.0, -1.0, 1.0, 6.0}) {
    auto values = gaussian_row(n, 1.5, 41);
    for (double& z : values) z += shift;
    for (index_t first = 0; first + detail::sample_stride <= n; first += detail::sample_stride) {
      values[static_cast<std::size_t>(detail::sampled_at(first))] -= shift;
    }
    const auto row = stored<float>(values);
    for (const double top_p : {0.2, 0.9, 0.999}) CHECK(compare(row, {.top_p = top_p}).equal);
    for (const index_t top_k : {10, 1000, 12'000}) CHECK(compare(row, {.top_k = top_k}).equal);
  }
}

TEST_CASE("extreme temperatures and logits do not overflow") {
  const std::vector<double> row = {-1.7e308, 0, 1.7e308, 1.7e308, -infinity, 5};
  for (const double temperature : {1e-310, 1e-300, 1.0, 1e300, 1.7e308}) {
    for (const auto order : {sampler_order::temperature_first, sampler_order::temperature_last}) {
      for (const sampler_options& o :
           {sampler_options{.temperature = temperature, .order = order},
            sampler_options{.temperature = temperature, .top_k = 3, .order = order},
            sampler_options{.temperature = temperature, .top_p = 0.9, .order = order},
            sampler_options{.temperature = temperature, .min_p = 0.9, .order = order}}) {
        INFO(name_of(o));
        CHECK(compare(row, o).equal);
      }
    }
  }
}

TEST_CASE("memory is reused from row to row of any length") {
  selection_scratch scratch;
  sampler_distribution found;
  for (const index_t n : {5000, 3, 20'000, 1, 300}) {
    const auto row = gaussian_row(n, 2, static_cast<std::uint64_t>(n));
    const sampler_options o{.temperature = 0.8, .top_p = 0.9};
    select_distribution(row.data(), n, maximum(row), o, scratch, found);
    CHECK(found.tokens == sampled_distribution(row.data(), n, o).tokens);
    CHECK(found.probs.size() == found.tokens.size());
  }
}

TEST_CASE("a vocabulary of 150 thousand with a wide nucleus") {
  auto values = gaussian_row(151'936, 2.5, 1);
  const auto row = stored<float>(values);
  for (const auto order : {sampler_order::temperature_first, sampler_order::temperature_last}) {
    CHECK(compare(row, {.temperature = 0.3, .top_p = 0.95, .order = order}).equal);
    CHECK(compare(row, {.temperature = 1.5, .top_k = 100'000, .top_p = 0.9, .order = order}).equal);
  }
}

}  // namespace idiolect::test
