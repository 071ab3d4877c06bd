// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Every statistic of a row against the long double oracle: both backends, every scalar type, rows
// that are hard to sum, from one token to the largest vocabularies.

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <idiolect/stats/fold.hpp>
#include <idiolect/stats/row_stats.hpp>

#include "support/catch.hpp"
#include "support/cells.hpp"
#include "support/oracle.hpp"
#include "support/rows.hpp"

namespace idiolect::test {
namespace {

constexpr moments everything = moments::varentropy | moments::collision;

/// The largest error of each statistic, in units of max(1, |value|).
struct statistic_errors {
  worst_error lse, log_prob, entropy, phi, varentropy, collision;
};

template <class Cell>
void compare(const std::vector<typename Cell::scalar>& row, const std::string& name,
             double temperature, statistic_errors& worst) {
  const auto n = static_cast<index_t>(row.size());
  const auto state = Cell::backend().template fold<everything>(row.data(), n, 1 / temperature);
  const auto z = widened_row(row.data(), n, static_cast<long double>(temperature));
  const auto largest = static_cast<index_t>(std::ranges::max_element(z) - z.begin());
  const exact_stats row_truth = exact(z, 0);
  for (const index_t target : {index_t{0}, n / 2, n - 1, largest}) {
    const auto k = static_cast<std::size_t>(target);
    const exact_stats want = row_truth.at(static_cast<token_id>(target), z[k]);
    const auto got = finish(state, static_cast<double>(load(row[k])), 0, 1 / temperature);
    const auto where = [&] {
      return name + ", V = " + std::to_string(n) + ", temperature " + std::to_string(temperature);
    };
    worst.lse.see(scaled_error(got.lse(), want.lse()), where);
    worst.log_prob.see(scaled_error(got.log_prob(), want.log_prob), where);
    worst.entropy.see(scaled_error(got.entropy(), want.entropy()), where);
    worst.phi.see(scaled_error(got.phi(), want.phi), where);
    worst.varentropy.see(scaled_error(got.varentropy(), want.varentropy), where);
    worst.collision.see(scaled_error(got.collision(), want.collision), where);
  }
}

template <class Accumulator>
void check(const statistic_errors& worst) {
  const auto one = [&](const char* name, const worst_error& e, double tolerance) {
    INFO(name << " is wrong by " << e.value << " at " << e.where);
    CHECK(e.value <= tolerance);
  };
  one("lse", worst.lse, likelihood_tolerance<Accumulator>);
  one("log p", worst.log_prob, likelihood_tolerance<Accumulator>);
  one("entropy", worst.entropy, entropy_tolerance<Accumulator>);
  one("phi", worst.phi, entropy_tolerance<Accumulator>);
  one("varentropy", worst.varentropy, statistic_tolerance<Accumulator>);
  one("collision", worst.collision, statistic_tolerance<Accumulator>);
}

}  // namespace

TEMPLATE_TEST_CASE("statistics are those of the oracle", "", IDIOLECT_TEST_CELLS) {
  using T = typename TestType::scalar;
  statistic_errors worst;
  for (const index_t n : {1, 2, 3, 31, 32, 33, 1000, 4097}) {
    for (const auto& row : adversarial_rows(n, storage<T>::largest)) {
      compare<TestType>(stored<T>(row.values), row.name, 1, worst);
    }
  }
  check<typename TestType::accumulator>(worst);
}

TEMPLATE_TEST_CASE("statistics at a temperature are those of the oracle", "", IDIOLECT_TEST_CELLS) {
  using T = typename TestType::scalar;
  statistic_errors worst;
  for (const index_t n : {3, 67, 3000}) {
    for (const auto& row : adversarial_rows(n, storage<T>::largest)) {
      if (row.name.find("end of the type") != std::string::npos) continue;  // z / 0.3 is infinite
      for (const double temperature : {0.3, 0.7, 1.3, 40.0}) {
        compare<TestType>(stored<T>(row.values), row.name, temperature, worst);
      }
    }
  }
  check<typename TestType::accumulator>(worst);
}

// The oracle takes most of the time: the large vocabularies once for sums in float, once in double.
TEMPLATE_TEST_CASE("statistics of large vocabularies are those of the oracle", "", cpu_float,
                   cpu_half, reference_double) {
  using T = typename TestType::scalar;
  statistic_errors worst;
  for (const index_t n : {32000, 151936}) {
    for (const auto& row : adversarial_rows(n, storage<T>::largest)) {
      if (n > 32000 && row.name.find("1e4") == std::string::npos &&
          row.name.find("levels") == std::string::npos &&
          row.name.find("10") == std::string::npos) {
        continue;
      }
      compare<TestType>(stored<T>(row.values), row.name, 1, worst);
    }
  }
  check<typename TestType::accumulator>(worst);
}

// Equal terms are the worst case of a float sum: each is rounded in the same direction. Depths are
// chosen at random, since the direction depends on the term's last bits.
TEMPLATE_TEST_CASE("sums of equal terms do not drift", "", cpu_float, cpu_bfloat16) {
  using T = typename TestType::scalar;
  random_source random(11);
  statistic_errors worst;
  for (int round = 0; round < 150; ++round) {
    const double depth = random.uniform(0.01, 17.5);
    const row_values row = two_level_row(2048 + 64 * (round % 3), depth, random.below(2048));
    compare<TestType>(stored<T>(row), "depth " + std::to_string(depth), 1, worst);
  }
  check<float>(worst);
}

TEMPLATE_TEST_CASE("moments that are left out change nothing", "", IDIOLECT_TEST_CELLS) {
  using T = typename TestType::scalar;
  const auto row = gaussian_matrix<T>(1, 5000, 2, 12);
  const auto backend = TestType::backend();
  const auto basic = backend.template fold<moments::basic>(row.data(), 5000, 1.0);
  const auto all = backend.template fold<everything>(row.data(), 5000, 1.0);
  const auto squares = backend.template fold<moments::collision>(row.data(), 5000, 1.0);
  // Not bit for bit: what is stored is rounded, what is not a compiler may fuse into the sum.
  constexpr double tolerance = statistic_tolerance<typename TestType::accumulator>;
  CHECK(basic.max == all.max);
  CHECK(scaled_error(basic.sum() / all.sum(), 1) <= tolerance);
  CHECK(scaled_error(basic.first / all.first, 1) <= tolerance);
  CHECK(scaled_error(squares.squares / all.squares, 1) <= tolerance);
}

TEMPLATE_TEST_CASE("rows without a distribution are not finite", "", IDIOLECT_TEST_CELLS) {
  using T = typename TestType::scalar;
  const auto backend = TestType::backend();
  worst_error finite;
  for (const index_t n : {1, 2, 5, 64, 130, 2048, 5000}) {
    for (const auto& row : non_finite_rows(n)) {
      const auto z = stored<T>(row.values);
      const auto state = backend.template fold<everything>(z.data(), n, 1.0);
      const auto warm = backend.template fold<moments::basic>(z.data(), n, 0.7);
      finite.see(state.finite() || warm.finite() || finish(state, 0.0).finite() ? 1 : 0,
                 [&] { return row.name + ", V = " + std::to_string(n); });
    }
  }
  INFO(finite.where);
  CHECK(finite.value == 0);
}

TEMPLATE_TEST_CASE("a logit that the temperature takes out of range is still a logit", "",
                   reference_double, cpu_double) {
  const auto fold_of = [](const std::vector<double>& z) {
    return TestType::backend().template fold<everything>(z.data(), static_cast<index_t>(z.size()),
                                                         2.0);
  };
  const auto one = finish(fold_of({1, 1e308}), 1e308, 1, 2);
  CHECK(one.log_prob() == 0);
  CHECK(one.entropy() == 0);
  const auto tied = finish(fold_of({-1e308, -1e308}), -1e308, 1, 2);
  CHECK(tied.log_prob() == -std::log(2.0));
  CHECK(tied.phi() == 0);
  std::vector<double> masked(3000, -1e308);  // the CPU backend's first block, and more
  masked[2999] = 1;
  const auto state = fold_of(masked);
  CHECK(state.max == 1);
  CHECK(state.rest == 0);
}

TEMPLATE_TEST_CASE("the state of nothing is the identity", "", IDIOLECT_TEST_CELLS) {
  using T = typename TestType::scalar;
  const T unread{};
  const auto state = TestType::backend().template fold<everything>(&unread, 0, 1.0);
  CHECK(state.sum() == 0);
  CHECK(state.max == -infinity);
  CHECK_FALSE(state.finite());
}

TEST_CASE("the plain fold works in float as well") {
  for (const auto& row : adversarial_rows(300, 3e38)) {
    const auto z = stored<float>(row.values);
    const auto got = finish(fold<everything, float>(z.data(), 300), z[7]);
    const auto want = exact(z.data(), 300, 7);
    const double worst =
        std::max({scaled_error(got.log_sum, want.log_sum), scaled_error(got.phi(), want.phi),
                  scaled_error(got.entropy(), want.entropy()),
                  scaled_error(got.varentropy(), want.varentropy),
                  scaled_error(got.collision(), want.collision)});
    INFO(row.name);
    CHECK(worst < 3e-5);  // 300 merges, each rounding the sum and its scale: 300 * 2^-24 = 1.8e-5
  }
}

TEST_CASE("what is a folding backend") {
  STATIC_REQUIRE(folding_backend<cpu<>>);
  STATIC_REQUIRE(folding_backend<reference<>>);
  STATIC_REQUIRE(folding_backend<cpu<thread_executor>>);
  STATIC_REQUIRE_FALSE(folding_backend<cpu<int>>);  // requirement (1)
  STATIC_REQUIRE_FALSE(folding_backend<serial_executor>);
}

}  // namespace idiolect::test
