// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The laws of the row state: a commutative monoid. Identity exactly; associativity, order and
// bracketing to rounding, over rows that are hard to sum; what is not finite stays so.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include <idiolect/stats/fold.hpp>
#include <idiolect/stats/row_state.hpp>
#include <idiolect/stats/row_stats.hpp>

#include "support/catch.hpp"
#include "support/oracle.hpp"
#include "support/rows.hpp"

namespace idiolect::test {
namespace {

constexpr moments everything = moments::varentropy | moments::collision;

template <class Real>
using full_state = row_state<Real, everything>;

/// In units of max(1, |value|), for rows of up to 100 logits: a merge rounds by up to 2^-24
/// (2^-53), equal terms all in one direction, and the collision counts the sum's error twice.
template <class Real>
constexpr double tolerance = 300 * (std::is_same_v<Real, float> ? 0x1.0p-24 : 0x1.0p-53);

template <class Real>
bool identical(const full_state<Real>& a, const full_state<Real>& b) {
  const auto same = [](Real x, Real y) { return std::memcmp(&x, &y, sizeof x) == 0; };
  return same(a.max, b.max) && same(a.rest, b.rest) && same(a.first, b.first) &&
         same(a.spread, b.spread) && same(a.squares, b.squares);
}

/// What a state says, compared: the largest difference of a statistic. A finite state has no NaN.
template <class Real>
double difference(const full_state<Real>& a, const full_state<Real>& b) {
  if (a.finite() != b.finite()) return infinity;
  if (!a.finite()) return 0;
  if (a.max != b.max) return infinity;
  const auto x = finish(a, a.max), y = finish(b, b.max);
  if (std::isnan(x.log_sum + x.mean_offset + x.varentropy() + x.collision())) return infinity;
  return std::max({scaled_error(x.log_sum, y.log_sum), scaled_error(x.mean_offset, y.mean_offset),
                   scaled_error(x.varentropy(), y.varentropy()),
                   scaled_error(x.collision(), y.collision())});
}

template <class Real>
std::vector<full_state<Real>> singletons(const row_values& row) {
  std::vector<full_state<Real>> states;
  for (const double z : row) states.push_back(full_state<Real>::of(static_cast<Real>(z)));
  return states;
}

/// Merges neighbours at random until one is left: every bracketing can happen.
template <class Real>
full_state<Real> merge_at_random(std::vector<full_state<Real>> states, random_source& random) {
  while (states.size() > 1) {
    const auto i = random.below(static_cast<index_t>(states.size()) - 1);
    states[static_cast<std::size_t>(i)] =
        merge(states[static_cast<std::size_t>(i)], states[static_cast<std::size_t>(i) + 1]);
    states.erase(states.begin() + i + 1);
  }
  return states.front();
}

template <class Real>
full_state<Real> merge_in_order(const std::vector<full_state<Real>>& states) {
  full_state<Real> all;
  for (const auto& s : states) all = merge(all, s);
  return all;
}

std::vector<named_row> rows_of(index_t n, double largest) {
  auto rows = adversarial_rows(n, largest);
  for (auto& row : non_finite_rows(n)) rows.push_back(std::move(row));
  return rows;
}

template <class Real>
constexpr double largest = std::is_same_v<Real, float> ? 3e38 : 8e307;

}  // namespace

TEMPLATE_TEST_CASE("the empty state is the identity exactly", "", float, double) {
  const full_state<TestType> empty;
  random_source random(1);
  bool same = identical(merge(empty, empty), empty);
  for (const auto& row : rows_of(33, largest<TestType>)) {
    auto states = singletons<TestType>(row.values);
    states.push_back(merge_at_random(states, random));
    for (const auto& s : states) {
      same = same && identical(merge(empty, s), s) && identical(merge(s, empty), s);
    }
  }
  CHECK(same);
  CHECK_FALSE(empty.finite());
  CHECK(identical(full_state<TestType>::of(-std::numeric_limits<TestType>::infinity()), empty));
}

TEMPLATE_TEST_CASE("merging is associative and commutative", "", float, double) {
  random_source random(2);
  worst_error worst;
  for (const auto& row : rows_of(60, largest<TestType>)) {
    const auto states = singletons<TestType>(row.values);
    for (int round = 0; round < 30; ++round) {
      std::vector<full_state<TestType>> parts;  // three runs of the row, each bracketed at random
      index_t cut[4] = {0, random.below(60), random.below(60), 60};
      std::ranges::sort(cut);
      for (int k = 0; k < 3; ++k) {
        parts.push_back(cut[k] == cut[k + 1]
                            ? full_state<TestType>{}
                            : merge_at_random<TestType>(
                                  {states.begin() + cut[k], states.begin() + cut[k + 1]}, random));
      }
      const auto& [a, b, c] = std::tie(parts[0], parts[1], parts[2]);
      worst.see(difference(merge(merge(a, b), c), merge(a, merge(b, c))),
                [&] { return row.name + ", (ab)c against a(bc)"; });
      worst.see(difference(merge(a, b), merge(b, a)), [&] { return row.name + ", ab against ba"; });
    }
  }
  INFO(worst.where);
  CHECK(worst.value <= tolerance<TestType>);
}

TEMPLATE_TEST_CASE("any order and bracketing gives the row's statistics", "", float, double) {
  random_source random(3);
  worst_error worst;
  for (const index_t n : {1, 2, 5, 100}) {
    for (const auto& row : rows_of(n, largest<TestType>)) {
      const auto states = singletons<TestType>(row.values);
      const auto in_order = merge_in_order(states);
      for (int round = 0; round < 10; ++round) {
        auto shuffled = states;
        for (std::size_t i = shuffled.size(); i > 1; --i) {
          std::swap(shuffled[i - 1],
                    shuffled[static_cast<std::size_t>(random.below(static_cast<index_t>(i)))]);
        }
        worst.see(difference(in_order, merge_in_order(shuffled)),
                  [&] { return row.name + ", shuffled"; });
        worst.see(difference(in_order, merge_at_random(shuffled, random)),
                  [&] { return row.name + ", shuffled and bracketed"; });
      }
    }
  }
  INFO(worst.where);
  CHECK(worst.value <= tolerance<TestType>);
}

TEST_CASE("a merged state is what its definition says") {
  worst_error worst;
  for (const auto& row : adversarial_rows(100, 8e307)) {
    const auto s = fold<everything>(row.values.data(), 100);
    const auto want = exact(row.values.data(), 100, 0);
    const long double sum = std::exp(want.log_sum);
    const auto where = [&] { return row.name; };
    worst.see(scaled_error(s.max, want.max), where);
    worst.see(scaled_error(s.sum(), sum), where);
    worst.see(scaled_error(s.first, want.mean_offset * sum), where);
    worst.see(scaled_error(s.spread, want.varentropy * sum), where);
    worst.see(scaled_error(s.squares, want.collision * sum * sum), where);
  }
  INFO(worst.where);
  CHECK(worst.value <= 1e-13);
}

TEMPLATE_TEST_CASE("what is not finite stays so in every order", "", float, double) {
  random_source random(4);
  int finite = 0, wrong_statistics = 0;
  for (const index_t n : {2, 3, 40}) {
    for (const auto& row : non_finite_rows(n)) {
      for (int round = 0; round < 10; ++round) {
        const auto s = merge_at_random(singletons<TestType>(row.values), random);
        finite += s.finite();
        const auto stats = finish(s, TestType{0});
        wrong_statistics += stats.finite() || !std::isnan(stats.log_prob()) ||
                            !std::isnan(stats.entropy()) || !std::isnan(stats.phi()) ||
                            !std::isnan(stats.lse()) || !std::isnan(stats.varentropy()) ||
                            !std::isnan(stats.collision());
      }
    }
  }
  CHECK(finite == 0);
  CHECK(wrong_statistics == 0);
}

TEST_CASE("the state of one logit is certain of it") {
  for (const double z : {0.0, -1e4, 1e4, 3e38, -3e38, 1e-310}) {
    const auto s = full_state<double>::of(z);
    const auto stats = finish(s, z, 5);
    INFO(z);
    CHECK(s.finite());
    CHECK(stats.lse() == z);
    CHECK(stats.log_prob() == 0);
    CHECK(stats.entropy() == 0);
    CHECK(stats.phi() == 0);
    CHECK(stats.varentropy() == 0);
    CHECK(stats.collision() == 1);
    CHECK(stats.target == 5);
  }
}

TEST_CASE("only the moments that are asked for are stored") {
  STATIC_REQUIRE(sizeof(row_state<float>) == 3 * sizeof(float));
  STATIC_REQUIRE(sizeof(row_state<float, moments::varentropy>) == 4 * sizeof(float));
  STATIC_REQUIRE(sizeof(row_state<float, moments::collision>) == 4 * sizeof(float));
  STATIC_REQUIRE(sizeof(full_state<float>) == 5 * sizeof(float));
  STATIC_REQUIRE(has(everything, moments::collision));
  STATIC_REQUIRE(has(everything, moments::basic));
  STATIC_REQUIRE_FALSE(has(moments::collision, moments::varentropy));
  STATIC_REQUIRE(std::is_trivially_copyable_v<full_state<double>>);
}

TEST_CASE("a masked target has probability 0 in a finite row") {
  const auto s = fold(std::vector<double>{0.0, -infinity}.data(), 2);
  const auto stats = finish(s, -infinity, 1);
  CHECK(stats.finite());
  CHECK(stats.log_prob() == -infinity);
  CHECK(stats.prob() == 0);
  CHECK(stats.phi() == -infinity);
  CHECK(stats.entropy() == 0);
}

}  // namespace idiolect::test
