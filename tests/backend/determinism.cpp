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

#include <idiolect/cll/score.hpp>
#include <idiolect/loss/gates.hpp>
#include <idiolect/loss/loss.hpp>

#include "support/catch.hpp"
#include "support/cells.hpp"
#include "support/mixed_batch.hpp"
#include "support/rows.hpp"

namespace idiolect::test {
namespace {

constexpr index_t rows = 300;  // a mixed_batch's
constexpr index_t cols = 333;

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
  const mixed_batch<typename TestType::scalar> b(81);
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

TEMPLATE_TEST_CASE("few long rows have the same bits however many threads share them", "",
                   cpu_float, cpu_double, cpu_bfloat16, reference_half) {
  using T = typename TestType::scalar;
  constexpr index_t v = 100003;  // six segments of the CPU backend and a tail
  const auto entropic = [](const auto& backend, const auto& z, const auto& y, const auto& dz) {
    return loss_and_gradient(backend, z, y, through_weight(eaft(10)), dz).loss;
  };
  for (const index_t n : {1, 2, 3}) {
    auto logits = gaussian_matrix<T>(n, v, 3, 87);
    for (index_t j = 0; j < 40000; ++j) logits[static_cast<std::size_t>(j)] = store<T>(-infinity);
    const auto targets = random_targets(n, v, 88);
    const matrix_view<const T> z(logits.data(), n, v);
    const auto run = [&](const auto& backend) {
      std::vector<std::vector<T>> gradients(4, std::vector<T>(logits.size(), store<T>(0.25)));
      const auto to = [&](std::size_t k) { return matrix_view<T>(gradients[k].data(), n, v); };
      std::vector<double> numbers;
      for (const auto& s : score(backend, z, targets)) {
        numbers.insert(numbers.end(), {s.log_prob, s.entropy, s.varentropy, s.phi});
      }
      numbers.push_back(loss(backend, z, targets, deft{}).loss);
      numbers.push_back(loss_and_gradient(backend, z, targets, idft{}, to(0)).loss);
      (void)loss_and_gradient(backend, z, targets, idft{}, to(1), {.accumulate = true});
      gradients[2] = logits;
      (void)loss_and_gradient(backend, to(2), targets, idft{}, to(2));
      numbers.push_back(entropic(backend, z, targets, to(3)));
      return std::pair{numbers, gradients};
    };
    const auto want = run(TestType::serial());
    CHECK(same_bits(want.second[0], want.second[2]));  // in place and out of place
    for (const int threads : {2, 3, 8}) {
      const auto got = run(TestType::backend(any(thread_executor(threads))));
      INFO(n << " rows, " << threads << " threads");
      CHECK(same_bits(want.first, got.first));
      for (std::size_t k = 0; k < 4; ++k) CHECK(same_bits(want.second[k], got.second[k]));
    }
  }
}

// Gradients larger than the caches are written past them, a row late: whatever the alignment of
// rows, ignored rows and rows that are not finite in between.
TEMPLATE_TEST_CASE("a large gradient has the bits of one in place", "", cpu_float, cpu_double) {
  using T = typename TestType::scalar;
  const index_t n = 37;
  const auto v = static_cast<index_t>(36'000'000 / sizeof(T)) / n + 1;  // 36 MB
  const auto targets = [&] {
    auto y = random_targets(n, v, 90);
    y[0] = y[5] = y[36] = -100;
    y[7] = 0;
    y[8] = static_cast<token_id>(v - 1);
    return y;
  }();
  for (const index_t padding : {0, 1, 6}) {
    const index_t stride = v + padding;
    auto logits = gaussian_matrix<T>(n, stride, 2, 89);
    logits[static_cast<std::size_t>(9 * stride + 70)] = store<T>(not_a_number);
    const loss_options options{.on_non_finite = non_finite::skip};
    std::vector<T> apart(logits.size() + 3, T{7});
    T* const start = apart.data() + padding % 4;
    const matrix_view<T> z(logits.data(), n, v, stride), dz(start, n, v, stride);
    const auto out = loss_and_gradient(TestType::serial(), z, targets, idft{}, dz, options);
    std::vector<T> threaded(logits.size(), T{7});
    (void)loss_and_gradient(TestType::backend(any(thread_executor(3))), z, targets, idft{},
                            matrix_view<T>(threaded.data(), n, v, stride), options);
    const auto in = loss_and_gradient(TestType::serial(), z, targets, idft{}, z, options);
    bool same = true, clean = true;
    for (index_t i = 0; i < n; ++i) {
      same = same && std::memcmp(z.row(i), dz.row(i), static_cast<std::size_t>(v) * sizeof(T)) == 0;
      same = same && std::memcmp(z.row(i), threaded.data() + i * stride,
                                 static_cast<std::size_t>(v) * sizeof(T)) == 0;
      for (index_t j = v; j < stride; ++j) clean = clean && dz.row(i)[j] == T{7};
    }
    INFO("padding " << padding);
    CHECK(same);
    CHECK(clean);
    CHECK(in.loss == out.loss);
    CHECK(out.non_finite == 1);
  }
}

TEST_CASE("policies take executors as they are") {
  const mixed_batch<float> b(82);
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
  const mixed_batch<T> b(83);
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
      const mixed_batch<T> b(84 + c);
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
  const mixed_batch<float> b(85);
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
  // With a gradient of the row before still to be written, and with one in place.
  const index_t v = 36'000'000 / 4 / 37;
  auto logits = gaussian_matrix<float>(37, v, 2, 91);
  std::vector<float> gradient(logits.size());
  const matrix_view<float> z(logits.data(), 37, v), dz(gradient.data(), 37, v);
  const auto late = [](const auto& s) {
    if (s.target == 1) throw std::runtime_error("from the gate");
    return 1.0;
  };
  std::vector<token_id> targets(37, 0);
  targets[20] = 1;
  for (const int threads : {1, 3}) {
    const cpu policy{thread_executor(threads)};
    CHECK_THROWS_AS(loss_and_gradient(policy, z, targets, late, dz), std::runtime_error);
    CHECK_THROWS_AS(loss_and_gradient(policy, z, targets, late, z), std::runtime_error);
    CHECK_NOTHROW(loss_and_gradient(policy, dz, std::vector<token_id>(37, 0), late, dz));
  }
}

}  // namespace idiolect::test
