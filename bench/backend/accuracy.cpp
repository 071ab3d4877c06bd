// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The largest errors of the fp32 passes against long double, over the rows that the tests use
// because they are hard to sum (tests/support/rows.hpp). Counters of the benchmark `accuracy`:
//
//   log_prob, entropy   in units of max(1, |value|)
//   gradient            of plain likelihood, in units of its weight 1/N
//   gradient_idft       of IDFT, in units of w/N; w = p^gamma has the error of gamma log p on top
//
// (Not a time: the benchmark carries the numbers to where the times are.)

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <type_traits>
#include <vector>

#include <idiolect/backend/cpu/cpu.hpp>
#include <idiolect/loss/gates/idft.hpp>
#include <idiolect/loss/gates/nll.hpp>
#include <idiolect/loss/loss.hpp>

#include "../../tests/support/oracle.hpp"
#include "../../tests/support/rows.hpp"
#include "../support/rows.hpp"

namespace idiolect::bench {
namespace {

// A loss whose value is a statistic, so that the rows' statistics come out of the pass itself.
struct reveal_log_prob {
  template <class Stats>
  loss_terms<typename Stats::real> evaluate(const Stats& s) const {
    return {.value = s.log_prob()};
  }
};
struct reveal_entropy {
  template <class Stats>
  loss_terms<typename Stats::real> evaluate(const Stats& s) const {
    return {.value = s.entropy()};
  }
};

struct errors {
  double log_prob = 0, entropy = 0, gradient = 0, gradient_idft = 0;
};

void see(double& worst, double error) {
  worst = std::isnan(error) ? error : std::max(worst, error);
}

// One row, so that N = 1. The weight is 0 where it leaves what a float can hold, and no unit then.
template <class Loss>
double gradient_error(const std::vector<float>& row, const test::exact_stats& s, const Loss& f) {
  long double w = 1;
  if constexpr (std::is_same_v<Loss, idft>) w = std::exp(f.gamma(s.phi) * s.log_prob);
  if (!(w > 1e-20L)) return 0;
  std::vector<float> gradient(row.size());
  loss_and_gradient(cpu{}, row, std::span(&s.target, 1), f, gradient);
  const auto z = test::widened_row(row.data(), static_cast<index_t>(row.size()));
  const auto expected = test::exact_gradient(z, s, w, 0, 0);
  double worst = 0;
  for (std::size_t j = 0; j < row.size(); ++j) {
    const auto got = static_cast<long double>(gradient[j]);
    see(worst, static_cast<double>(std::fabs(got - expected[j]) / w));
  }
  return worst;
}

void see_row(errors& worst, const std::vector<float>& row, token_id y) {
  const auto exact = test::exact(row.data(), static_cast<index_t>(row.size()), y);
  const std::span target(&y, 1);
  see(worst.log_prob,
      test::scaled_error(loss(cpu{}, row, target, reveal_log_prob{}).loss, exact.log_prob));
  see(worst.entropy,
      test::scaled_error(loss(cpu{}, row, target, reveal_entropy{}).loss, exact.entropy()));
  see(worst.gradient, gradient_error(row, exact, nll{}));
  see(worst.gradient_idft, gradient_error(row, exact, idft{}));
}

void accuracy(benchmark::State& state) {
  errors worst;
  for (auto _ : state) {
    for (const index_t vocab : {1, 2, 31, 33, 512, 2049, 32000, 151936}) {
      for (const auto& r : test::adversarial_rows(vocab, 1e30)) {
        const std::vector<float> row(r.values.begin(), r.values.end());
        see_row(worst, row, uniform_targets({1, vocab})[0]);
        see_row(worst, row, static_cast<token_id>(std::ranges::max_element(row) - row.begin()));
      }
    }
  }
  state.counters["log_prob"] = worst.log_prob;
  state.counters["entropy"] = worst.entropy;
  state.counters["gradient"] = worst.gradient;
  state.counters["gradient_idft"] = worst.gradient_idft;
}
BENCHMARK(accuracy)->Iterations(1)->Repetitions(1)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace idiolect::bench
