// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// What is the Thrust backend's own: how it cuts rows, that the cut shows in no bit whichever system
// and however many threads take the pieces, and where its memory comes from. What it shares with
// every backend is tested with the others' sources.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#if defined(_OPENMP)
#include <omp.h>
#endif

#include <idiolect/cll/score.hpp>
#include <idiolect/loss/gates.hpp>
#include <idiolect/loss/loss.hpp>

#include "support/catch.hpp"
#include "support/cells.hpp"
#include "support/gradient_check.hpp"
#include "support/mixed_batch.hpp"
#include "support/oracle.hpp"
#include "support/rows.hpp"

namespace idiolect::test {
namespace {

using detail::thrust_steps::lane_cut;

std::vector<double> numbers_of(const std::vector<token_score>& scores) {
  std::vector<double> numbers;
  for (const auto& s : scores) {
    numbers.insert(numbers.end(), {s.log_prob, s.entropy, s.varentropy, s.phi,
                                   static_cast<double>(static_cast<int>(s.status))});
  }
  return numbers;
}

/// Rows that end before, at and after the end of a stretch.
constexpr index_t lengths[] = {1, 31, 32, 33, 8191, 8192, 8193, 8224, 16384, 20011};

}  // namespace

TEST_CASE("the lanes of a row have each of its logits once, and neighbours read neighbours") {
  for (index_t cols = 1; cols <= 17000;
       cols += cols < 300 || (cols > 8100 && cols < 8300) ? 1 : 97) {
    const lane_cut cut{cols};
    std::vector<int> seen(static_cast<std::size_t>(cols));
    bool right = true;
    for (index_t k = 0; k < cut.per_row(); ++k) {
      index_t previous = -1;
      cut.for_each(k, [&](index_t j) {
        right = right && j >= 0 && j < cols && j % lane_cut::lanes == k % lane_cut::lanes &&
                (previous < 0 || j == previous + lane_cut::lanes);
        if (right) ++seen[static_cast<std::size_t>(j)];
        previous = j;
      });
    }
    INFO(cols << " logits");
    REQUIRE(right);
    REQUIRE(std::ranges::count(seen, 1) == cols);
  }
}

TEMPLATE_TEST_CASE("scores and gradients of Thrust are those of the oracle", "",
                   IDIOLECT_TEST_CELLS) {
  using T = typename TestType::scalar;
  worst_error statistics, gradients;
  for (const index_t n : lengths) {
    for (const auto& named : adversarial_rows(n, storage<T>::largest)) {
      const auto row = stored<T>(named.values);
      const auto where = [&] { return named.name + ", V = " + std::to_string(n); };
      const auto target = static_cast<token_id>(n / 2);
      const auto want = exact(row.data(), n, target);
      const auto got = score(TestType::backend(), row, std::vector<token_id>{target}).front();
      statistics.see(scaled_error(got.log_prob, want.log_prob), where);
      statistics.see(scaled_error(got.entropy, want.entropy()), where);
      statistics.see(scaled_error(got.varentropy, want.varentropy), where);
      statistics.see(scaled_error(got.phi, want.phi), where);
      std::vector<T> dz(row.size());
      (void)loss_and_gradient(TestType::backend(), row, std::vector<token_id>{target}, nll{}, dz);
      const auto e = gradient_error<double>(row.data(), dz.data(), n, target, {.a = 1});
      gradients.see(e.value, [&] { return where() + ", " + e.where; });
    }
  }
  INFO(statistics.where << "; " << gradients.where);
  CHECK(statistics.value <= statistic_tolerance<double>);
  CHECK(gradients.value <= 1);
}

#if defined(_OPENMP)
TEMPLATE_TEST_CASE("the same bits for any number of OpenMP threads and for one", "", float, double,
                   half, bfloat16) {
  const int before = omp_get_max_threads();
  for (const mixed_batch<TestType>& b :
       {mixed_batch<TestType>(101), mixed_batch<TestType>(102, 206, 8200)}) {
    const matrix_view<const TestType> z(b.logits.data(), b.rows, b.cols);
    const thrust_system one{::thrust::cpp::par};
    const auto [report, gradient] = b.run(one);
    const auto scores = numbers_of(score(one, z, b.targets));
    for (const int threads : {1, 2, 3}) {
      omp_set_num_threads(threads);
      const thrust_system many{::thrust::omp::par};
      const auto [other_report, other_gradient] = b.run(many);
      INFO(threads << " threads, " << b.cols << " logits a row");
      CHECK(same_report(report, other_report));
      CHECK(same_bits(gradient, other_gradient));
      CHECK(same_bits(scores, numbers_of(score(many, z, b.targets))));
    }
  }
  omp_set_num_threads(before);
}

TEST_CASE("of many wrong targets the first is named, whichever thread finds one") {
  const int before = omp_get_max_threads();
  const std::vector<float> logits(1000 * 3, 0.5f);
  for (const int threads : {1, 2, 3}) {
    omp_set_num_threads(threads);
    for (const std::size_t first : {0u, 1u, 499u, 500u, 999u}) {
      std::vector<token_id> targets(1000, 2);
      for (std::size_t i = first; i < 1000; i += 7) targets[i] = 3 + static_cast<token_id>(i);
      const auto e = raised<target_error>([&] {
        (void)loss(thrust_system{::thrust::omp::par},
                   matrix_view<const float>(logits.data(), 1000, 3), targets, nll{});
      });
      CHECK(e.row() == static_cast<index_t>(first));
      CHECK(std::string(e.what()).find("target " + std::to_string(3 + first) + " ") !=
            std::string::npos);
    }
  }
  omp_set_num_threads(before);
}
#endif

TEST_CASE("a row of Thrust does not depend on its batch") {
  // In double: the last bits of a state rarely show in a number that is rounded to float.
  const auto system = thrust_cpp_double::backend();
  const mixed_batch<double> b(103, 206);
  const auto [report, gradient] = b.run(system);
  const auto scores =
      score(system, matrix_view<const double>(b.logits.data(), b.rows, b.cols), b.targets);
  for (index_t i = 0; i < b.rows; ++i) {
    if (i == 17 || i == 205) continue;  // ignored, not finite
    const auto k = static_cast<std::size_t>(i);
    const std::vector<double> row(b.logits.begin() + i * b.cols,
                                  b.logits.begin() + (i + 1) * b.cols);
    const std::vector<token_id> target{b.targets[k]};
    std::vector<double> dz(row.size());
    const auto alone =
        loss_and_gradient(system, row, target, idft{}, dz,
                          {.reduce = reduction::none(), .weights = {&b.weights[k], 1}});
    INFO("row " << i);
    CHECK(same_number(alone.loss, report.token_loss[k]));
    CHECK(same_bits(dz, {gradient.begin() + i * b.cols, gradient.begin() + (i + 1) * b.cols}));
    CHECK(same_bits(numbers_of(score(system, row, target)), numbers_of({scores[k]})));
  }
}

TEST_CASE("calls of Thrust on other data run at the same time") {
  std::vector<int> right(4, 0);
  std::vector<std::thread> callers;
  for (std::size_t c = 0; c < right.size(); ++c) {
    callers.emplace_back([&right, c] {
      const mixed_batch<float> b(104 + c);
      const auto want = b.run(thrust_cpp_float::backend());
      for (int round = 0; round < 5; ++round) {
        const auto got = b.run(thrust_cpp_float::backend());
        right[c] += same_report(want.first, got.first) && same_bits(want.second, got.second);
      }
    });
  }
  for (auto& t : callers) t.join();
  CHECK(right == std::vector<int>(right.size(), 5));
}

TEST_CASE("an exception in a user's gate leaves Thrust's C++ system") {
  const auto throwing = [](const auto& s) {
    if (s.target >= 0) throw std::runtime_error("from the gate");
    return 1.0;
  };
  CHECK_THROWS_AS(loss(thrust_cpp_float::backend(), std::vector<float>{1, 2},
                       std::vector<token_id>{0}, throwing),
                  std::runtime_error);
}

namespace {

/// Counts bytes, and has none to give beyond a limit.
struct counting_allocator {
  using value_type = char;
  std::size_t limit = SIZE_MAX;
  std::size_t held = 0;
  std::size_t most = 0;

  char* allocate(std::ptrdiff_t n) {
    if (held + static_cast<std::size_t>(n) > limit) throw std::bad_alloc();
    held += static_cast<std::size_t>(n);
    most = std::max(most, held);
    return static_cast<char*>(::operator new(static_cast<std::size_t>(n)));
  }
  void deallocate(char* p, std::size_t n) {
    held -= n;
    ::operator delete(p);
  }
};

}  // namespace

TEST_CASE("temporary memory of Thrust is its policy's and is given back") {
  const mixed_batch<float> b(108);
  const auto want = b.run(thrust_cpp_float::backend());
  counting_allocator memory;
  const thrust_system system{::thrust::cpp::par(memory)};
  const auto got = b.run(system);
  CHECK(same_report(want.first, got.first));
  CHECK(same_bits(want.second, got.second));
  CHECK(memory.held == 0);
  const std::size_t states = static_cast<std::size_t>(b.rows * 32) * 3 * sizeof(double);
  CHECK(memory.most > states);  // and not much more: a few numbers a row
  CHECK(memory.most < 2 * states);
  memory.limit = states;
  CHECK_THROWS_AS(b.run(system), std::bad_alloc);
  CHECK(memory.held == 0);
}

}  // namespace idiolect::test
