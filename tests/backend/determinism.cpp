// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The same bits whoever runs the work: any executor, any number of threads, any order of the
// pieces, any neighbours in the batch, any other call at the same time.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <idiolect/loss/gates.hpp>
#include <idiolect/loss/loss.hpp>

#include "support/catch.hpp"
#include "support/cells.hpp"
#include "support/rows.hpp"

namespace idiolect::test {
namespace {

constexpr index_t rows = 300;  // 100 chunks of three
constexpr index_t cols = 333;

bool same_number(double a, double b) {
  return std::memcmp(&a, &b, sizeof a) == 0;
}

bool same_moments(const moment_summary& a, const moment_summary& b) {
  return a.count == b.count && a.nan_count == b.nan_count && same_number(a.mean, b.mean) &&
         same_number(a.sum_of_squares, b.sum_of_squares) && same_number(a.min, b.min) &&
         same_number(a.max, b.max);
}

bool same_report(const loss_report& a, const loss_report& b) {
  return same_number(a.loss, b.loss) && same_number(a.mean_nll, b.mean_nll) && a.valid == b.valid &&
         a.non_finite == b.non_finite && same_moments(a.phi, b.phi) &&
         same_moments(a.weight, b.weight) && same_moments(a.end_prob, b.end_prob) &&
         a.phi.bins.counts == b.phi.bins.counts && a.weight.bins.counts == b.weight.bins.counts &&
         same_bits(a.token_loss, b.token_loss);
}

/// A batch with an ignored row, one that is not finite, weights and ends of sequences.
template <class T>
struct batch {
  std::vector<T> logits;
  std::vector<token_id> targets;
  std::vector<float> weights;
  std::vector<token_id> ends{1, 2, 3, 4, 5, 6, 7};

  explicit batch(std::uint64_t seed)
      : logits(gaussian_matrix<T>(rows, cols, 2, seed)), targets(random_targets(rows, cols, seed)) {
    random_source random(seed);
    for (index_t i = 0; i < rows; ++i) weights.push_back(static_cast<float>(random.uniform(-1, 2)));
    targets[17] = -100;
    logits[static_cast<std::size_t>(205 * cols + 3)] = store<T>(not_a_number);
  }

  template <class Backend>
  std::pair<loss_report, std::vector<T>> run(const Backend& backend) const {
    std::vector<T> gradient(logits.size());
    auto report = loss_and_gradient(backend, matrix_view<const T>(logits.data(), rows, cols),
                                    targets, idft{}, matrix_view<T>(gradient.data(), rows, cols),
                                    {.reduce = reduction::none(),
                                     .on_non_finite = non_finite::skip,
                                     .weights = weights,
                                     .end_tokens = ends});
    return {std::move(report), std::move(gradient)};
  }
};

/// Every index once, in an order that changes with each call.
any_executor shuffled(std::uint64_t seed) {
  return {[seed](index_t n, const std::function<void(index_t)>& f) {
    random_source random(seed + static_cast<std::uint64_t>(n));
    std::vector<index_t> order(static_cast<std::size_t>(n));
    std::iota(order.begin(), order.end(), index_t{0});
    for (std::size_t i = order.size(); i > 1; --i) {
      std::swap(order[i - 1], order[static_cast<std::size_t>(random.below(static_cast<index_t>(i)))]);
    }
    for (const index_t i : order) f(i);
  }};
}

}  // namespace

TEMPLATE_TEST_CASE("the same bits for any executor", "", IDIOLECT_TEST_CELLS) {
  const batch<typename TestType::scalar> b(81);
  const auto [report, gradient] = b.run(TestType::backend());
  std::vector<std::pair<std::string, any_executor>> executors;
  for (const int threads : {1, 2, 3, 8}) {
    executors.emplace_back(std::to_string(threads) + " threads", any(thread_executor(threads)));
  }
  for (const std::uint64_t seed : {1u, 2u, 3u}) {
    executors.emplace_back("shuffled " + std::to_string(seed), shuffled(seed));
  }
#if defined(_OPENMP)
  executors.emplace_back("OpenMP", any(openmp_executor{}));
  executors.emplace_back("OpenMP with 3 threads", any(openmp_executor{3}));
#endif
  for (const auto& [name, executor] : executors) {
    const auto [other_report, other_gradient] = b.run(TestType::backend(executor));
    INFO(name);
    CHECK(same_report(report, other_report));
    CHECK(same_bits(gradient, other_gradient));
  }
}

TEST_CASE("policies take executors as they are") {
  const batch<float> b(82);
  const auto want = b.run(cpu{});
  const auto check = [&](const auto& policy) {
    const auto got = b.run(policy);
    CHECK(same_report(want.first, got.first));
    CHECK(same_bits(want.second, got.second));
  };
  const thread_executor pool(3);
  check(cpu{pool});
  check(cpu{serial_executor{}});
  check(cpu{executor_from{[&](index_t n, auto&& f) { pool.bulk(n, f); }}});
  STATIC_REQUIRE(sizeof(cpu<>) == 1);
  STATIC_REQUIRE(training_backend<cpu<thread_executor>>);
  STATIC_REQUIRE(training_backend<reference<thread_executor>>);
}

TEMPLATE_TEST_CASE("a row does not depend on its batch", "", cpu_float, cpu_half,
                   reference_double) {
  using T = typename TestType::scalar;
  const batch<T> b(83);
  const auto [report, gradient] = b.run(TestType::backend());
  bool same = true;
  for (const index_t i : {0, 1, 16, 128, 299}) {
    const auto k = static_cast<std::size_t>(i);
    const std::vector<T> row(b.logits.begin() + i * cols, b.logits.begin() + (i + 1) * cols);
    std::vector<T> dz(row.size());
    const auto alone =
        loss_and_gradient(TestType::backend(), row, std::vector<token_id>{b.targets[k]}, idft{}, dz,
                          {.reduce = reduction::none(), .weights = {&b.weights[k], 1}});
    same = same && same_number(alone.loss, report.token_loss[k]) &&
           same_bits(dz, {gradient.begin() + i * cols, gradient.begin() + (i + 1) * cols});
  }
  CHECK(same);
}

TEMPLATE_TEST_CASE("calls on other data run at the same time", "", cpu_float, cpu_bfloat16,
                   reference_double) {
  using T = typename TestType::scalar;
  const thread_executor pool(3);  // one pool for all callers
  std::atomic<int> wrong = 0;
  std::vector<std::thread> callers;
  for (std::uint64_t c = 0; c < 4; ++c) {
    callers.emplace_back([&wrong, pool, c] {
      const batch<T> b(84 + c);
      const auto [report, gradient] = b.run(TestType::backend());
      for (int round = 0; round < 5; ++round) {
        const auto [other_report, other_gradient] = b.run(TestType::backend(any(pool)));
        wrong += !same_report(report, other_report) || !same_bits(gradient, other_gradient);
      }
    });
  }
  for (auto& t : callers) t.join();
  CHECK(wrong == 0);
}

TEST_CASE("an exception in a user's gate reaches the caller") {
  const batch<float> b(85);
  const auto throwing = [](const auto& s) {
    if (s.target >= 0) throw std::runtime_error("from the gate");
    return 1.0;
  };
  for (const int threads : {1, 3}) {
    CHECK_THROWS_AS(
        loss(cpu{thread_executor(threads)}, matrix_view<const float>(b.logits.data(), rows, cols),
             b.targets, throwing),
        std::runtime_error);
  }
}

}  // namespace idiolect::test
