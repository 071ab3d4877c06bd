// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A row's gradient beside the oracle's, element by element, in units of what is allowed there.

#include <cmath>
#include <concepts>
#include <string>

#include <idiolect/loss/token_loss.hpp>

#include "support/oracle.hpp"
#include "support/tolerance.hpp"

namespace idiolect::test {

/// The largest error of `gradient` over what `gradient_tolerance` allows for a loss with the given
/// partials, whose gradient was added to `start`. Right is at most 1.
template <class Accumulator, class T, class G>
worst_error gradient_error(const T* logits, const G* gradient, index_t n, token_id target,
                           const loss_terms<double>& terms, double temperature = 1,
                           double start = 0) {
  const auto z = widened_row(logits, n, static_cast<long double>(temperature));
  const auto s = exact(z, target);
  const auto want = exact_gradient(z, s, terms.a, terms.b, terms.c, temperature);
  worst_error worst;
  for (index_t j = 0; j < n; ++j) {
    const auto k = static_cast<std::size_t>(j);
    const long double log_p = z[k] - s.max - s.log_sum;
    const long double p = std::exp(log_p);
    const long double common = p > 0 ? p * (std::fabs(terms.a + terms.c) +
                                            std::fabs(terms.b) * (std::fabs(log_p) + s.entropy()))
                                     : 0;
    const long double total = want[k] + start;
    const double allowed = gradient_tolerance<Accumulator, G>(
        common / temperature, j == target ? terms.a / temperature : 0.0, total);
    const double got = static_cast<double>(load(gradient[j]));
    worst.see(static_cast<double>(std::fabs(got - total)) / allowed,
              [&] { return "element " + std::to_string(j) + ": " + std::to_string(got); });
  }
  return worst;
}

/// -l - H / 2: a loss with a pull and an entropic part.
struct half_entropy_bonus {
  static constexpr loss_terms<double> partials{.a = 1, .b = 0.5};

  template <std::floating_point Real, moments Set>
  loss_terms<Real> evaluate(const row_stats<Real, Set>& s) const {
    return {.value = -s.log_prob() - Real(0.5) * s.entropy(), .a = 1, .b = Real(0.5)};
  }
};

}  // namespace idiolect::test
