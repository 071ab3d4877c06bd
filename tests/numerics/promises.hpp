// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// What holds of every row, whatever is rounded and however it was compiled: the library's promises
// about its numbers, checked without an oracle. Whoever scores and differentiates rows is a
// `Runner`:
//
//   scalar, accumulator                          types of the logits, of the sums
//   rounding                                     of a sum, in units of its terms' magnitudes
//   score(row, y, temperature)                   -> token_score
//   gradient(row, y, temperature, loss)          -> the loss's gradient in the logits' accumulator

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <type_traits>
#include <vector>

#include <idiolect/cll/score.hpp>
#include <idiolect/cll/sequence.hpp>
#include <idiolect/loss/gates.hpp>
#include <idiolect/loss/loss.hpp>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/oracle.hpp"
#include "support/rows.hpp"
#include "support/tolerance.hpp"

namespace idiolect::test {

/// Any gate behind one type, so that a backend's passes are compiled once for all of them.
struct any_gate {
  std::function<double(const row_stats<double>&)> function;
  [[nodiscard]] double weight(const row_stats<double>& s) const { return function(s); }
};

/// A backend as a Runner.
template <class Cell>
struct cell_runner {
  /// Of a sum of rounded numbers, in units of the sum of their magnitudes.
  static constexpr double rounding =
      std::is_same_v<accumulator_t<typename Cell::scalar>, float> ? 5e-6 : 1e-12;
  using scalar = typename Cell::scalar;
  using accumulator = typename Cell::accumulator;
  using gradient_type = accumulator_t<scalar>;

  static matrix_view<const scalar> view(const std::vector<scalar>& row) {
    return {row.data(), 1, static_cast<index_t>(row.size())};
  }
  static token_score score(const std::vector<scalar>& row, token_id y, double temperature) {
    return idiolect::score(Cell::backend(), view(row), std::vector{y}, {.temperature = temperature})
        .front();
  }
  template <class Loss>
  static std::vector<gradient_type> gradient(const std::vector<scalar>& row, token_id y,
                                             double temperature, const Loss& f) {
    if constexpr (gate<Loss> && !std::is_same_v<Loss, any_gate>) {
      const auto weight = [f](const row_stats<double>& s) {
        return static_cast<double>(f.weight(s));
      };
      return gradient(row, y, temperature, any_gate{weight});
    } else {
      return gradient_of(row, y, temperature, f);
    }
  }

 private:
  template <class Loss>
  static std::vector<gradient_type> gradient_of(const std::vector<scalar>& row, token_id y,
                                                double temperature, const Loss& f) {
    std::vector<gradient_type> dz(row.size());
    (void)loss_and_gradient(
        Cell::backend(), view(row), std::vector{y}, f,
        matrix_view<gradient_type>(dz.data(), 1, static_cast<index_t>(dz.size())),
        {.reduce = reduction::sum(), .temperature = temperature});
    return dz;
  }
};

template <class T>
token_id largest_of(const std::vector<T>& row) {
  std::size_t top = 0;
  for (std::size_t i = 1; i < row.size(); ++i) {
    if (load(row[i]) > load(row[top])) top = i;
  }
  return static_cast<token_id>(top);
}

/// log p <= 0, 0 <= H <= ln V (up to a sum's rounding), phi <= H, variance >= 0, and never NaN:
/// what is wrong, or nothing.
inline std::string broken_promise(const token_score& s, index_t n, double rounding) {
  if (s.status != token_status::scored) return "not scored";
  if (!(s.log_prob <= 0)) return "log p " + std::to_string(s.log_prob);
  if (!(s.entropy >= 0)) return "H " + std::to_string(s.entropy);
  if (!(s.entropy <= std::log(static_cast<double>(n)) + rounding)) return "H above ln V";
  if (!(s.phi <= s.entropy)) return "phi " + std::to_string(s.phi);
  if (!(s.varentropy >= 0)) return "variance " + std::to_string(s.varentropy);
  return {};
}

/// The sum of a row's gradient, which is 0, in units of `tolerance` times its magnitudes and those
/// of what `cancelled` in them.
template <class G>
double sum_error(const std::vector<G>& dz, double tolerance, double temperature, double cancelled) {
  long double sum = 0, magnitude = cancelled;
  for (const G x : dz) {
    sum += x;
    magnitude += std::fabs(static_cast<long double>(x));
  }
  const double flushed = std::is_same_v<G, float> ? 1e-37 : 1e-300;  // p below it is 0
  const double allowed = tolerance * static_cast<double>(magnitude) +
                         flushed * static_cast<double>(dz.size()) * std::max(1.0, 1 / temperature);
  return static_cast<double>(std::fabs(sum)) / allowed;
}

template <class Runner>
void check_promises(const Runner& run) {
  using T = typename Runner::scalar;
  std::string broken;
  worst_error sums;
  int rows = 0;
  for (const index_t n : {1, 2, 3, 7, 8, 9, 31, 100, 515, 1023, 1025, 2049, 4099}) {
    auto all = adversarial_rows(n, storage<T>::largest);
    for (const double top : {8.0, 17.0, 25.0, 60.0}) {  // one token, ever more certain
      all.push_back({"top " + std::to_string(top), two_level_row(n, top, n / 2)});
    }
    row_values possible(static_cast<std::size_t>(n), -infinity);
    possible[static_cast<std::size_t>(n - 1)] = 0.37 * static_cast<double>(n);
    all.push_back({"one possible token", possible});
    all.push_back({"far from 0", gaussian_row(n, 2, 3, 1e-3 * storage<T>::largest)});
    for (const auto& [name, values] : all) {
      const auto row = stored<T>(values);
      const token_id top = largest_of(row);
      for (const double temperature : {1e-6, 1e-3, 0.3, 0.7, 1.0, 1.7, 1e3, 1e6}) {
        for (const token_id y : {top, static_cast<token_id>(n / 3)}) {
          const auto where = [&, &name = name] {
            return name + ", V = " + std::to_string(n) + ", target " + std::to_string(y) +
                   ", temperature " + std::to_string(temperature);
          };
          const auto score = run.score(row, y, temperature);
          const auto what = broken_promise(score, n, Runner::rounding);
          if (broken.empty() && !what.empty()) broken = what + " at " + where();
          ++rows;
          const auto see = [&](const auto& loss, const char* loss_name, double cancelled = 0) {
            const auto dz = run.gradient(row, y, temperature, loss);
            sums.see(sum_error(dz, Runner::rounding, temperature, cancelled),
                     [&] { return std::string(loss_name) + ", " + where(); });
          };
          see(nll{}, "nll");
          see(idft{}, "idft");
          // Of a nearly flat row log p and H cancel in p (log p + H).
          if (std::isfinite(score.phi) && score.log_prob > -1e9) {
            see(half_entropy_bonus{}, "entropy bonus", score.entropy / temperature);
          }
        }
      }
    }
  }
  CHECK(broken == "");
  INFO(sums.where << ": " << sums.value);
  CHECK(sums.value <= 1);
  CHECK(rows > 4000);
}

/// One token is possible: every statistic is exactly 0, and the text is no surprise.
template <class Runner>
void check_certain_rows(const Runner& run) {
  using T = typename Runner::scalar;
  for (const double temperature : {0.7, 1.0, 1e-3, 0.3, 1e6}) {
    sequence_score sequence;
    int wrong = 0;
    for (int i = 1; i <= 20; ++i) {
      row_values values(100, -infinity);
      values[5] = 0.37 * i;
      const auto row = stored<T>(values);
      const auto s = run.score(row, 5, temperature);
      sequence.add(s);
      wrong += s.log_prob != 0 || s.phi != 0 || s.entropy != 0 || s.varentropy != 0;
      for (const auto x : run.gradient(row, 5, temperature, nll{})) wrong += x != 0;
    }
    INFO("temperature " << temperature);
    CHECK(wrong == 0);
    CHECK(sequence.z() == 0);
    CHECK(sequence.p_value() == 1);
    CHECK(sequence.share_above(0) == 0);
  }
}

/// The model is nearly sure of the target: what is left is known to as many digits as elsewhere.
template <class Runner>
void check_nearly_certain_rows(const Runner& run) {
  using T = typename Runner::scalar;
  constexpr bool single = std::is_same_v<accumulator_t<T>, float>;
  worst_error worst;
  for (const index_t n : {2, 9, 1000, 1500, 20000}) {
    for (const double top : {3.0, 5.0, 9.0, 15.0, 20.0, 30.0, 45.0, 70.0}) {
      for (const double temperature : {1.0, 0.7}) {
        auto values = gaussian_row(n, 0.5, 91);
        const index_t y = 2 * n / 3;
        values[static_cast<std::size_t>(y)] = top;
        const auto row = stored<T>(values);
        const auto target = static_cast<token_id>(y);
        const auto want = exact(row.data(), n, target, temperature);
        if (want.log_prob < -0.5L) continue;
        const auto score = run.score(row, target, temperature);
        const auto see = [&](const char* what, double got, long double w) {
          if (single && std::fabs(w) < 1e-35L) return;  // a float has no digits for it
          worst.see(static_cast<double>(std::fabs(got / w - 1)), [&] {
            return std::string(what) + ", V = " + std::to_string(n) + ", top " +
                   std::to_string(top) + ", temperature " + std::to_string(temperature);
          });
        };
        // -log(1 + rest), by the others: in long double 1 + rest too would lose them.
        long double rest = 0, first = 0;
        for (const T z : row) {
          const auto t = (static_cast<long double>(load(z)) -
                          static_cast<long double>(load(row[static_cast<std::size_t>(y)]))) /
                         temperature;
          if (t < 0) rest += std::exp(t), first += t * std::exp(t);
        }
        const long double log_prob = -std::log1p(rest), mean = first / (1 + rest);
        see("log p", score.log_prob, log_prob);
        see("H", score.entropy, -log_prob - mean);
        see("phi", score.phi, -mean);
        const auto element = [&](const auto& loss) {
          return static_cast<double>(
              run.gradient(row, target, temperature, loss)[static_cast<std::size_t>(y)]);
        };
        const long double dz = std::expm1(log_prob) / temperature;
        see("gradient", element(nll{}), dz);
        see("gradient of chord", element(chord{}), -dz * std::exp(log_prob) * std::expm1(log_prob));
        see("gradient of reverse", element(reverse{}), -dz * std::expm1(log_prob));
        see("gradient of dft", element(dft{}), dz * std::exp(log_prob));
      }
    }
  }
  INFO(worst.where << ": " << worst.value);
  // Terms of 70 nats: their rounded argument costs a float 70 * 2^-24 and a few more roundings.
  CHECK(worst.value <= (single ? 1.5e-5 : 1e-12));
}

/// A common offset of all logits that the type holds exactly is no part of any result.
template <class Runner>
void check_common_offset(const Runner& run) {
  using T = typename Runner::scalar;
  static_assert(std::is_same_v<T, double>);
  random_source random(1);
  for (int round = 0; round < 5; ++round) {
    std::vector<double> near(4096), far(4096);
    for (std::size_t i = 0; i < near.size(); ++i) {
      near[i] = static_cast<double>(random.below(10 << 20)) * 0x1p-20;  // so that the sum is exact
      far[i] = 1e8 + near[i];
    }
    for (const double temperature : {0.7, 1e-3, 1e-10, 1e3}) {
      CHECK(same_bits(run.gradient(near, 5, temperature, nll{}),
                      run.gradient(far, 5, temperature, nll{})));
      CHECK(run.score(near, 5, temperature).phi == run.score(far, 5, temperature).phi);
    }
  }
}

/// Temperatures from one end of the type to the other, beside the oracle.
template <class Runner>
void check_temperatures(const Runner& run) {
  using T = typename Runner::scalar;
  using A = typename Runner::accumulator;
  worst_error worst;
  const auto see = [&](const row_values& values, token_id y, double temperature) {
    const auto row = stored<T>(values);
    const auto n = static_cast<index_t>(row.size());
    const auto where = [&] { return "temperature " + std::to_string(temperature); };
    const auto want = exact(row.data(), n, y, temperature);
    const auto got = run.score(row, y, temperature);
    // Where one logit alone is possible, exp of the others is 0 in a double and not in the oracle.
    worst.see(scaled_error(got.entropy, want.entropy()) / statistic_tolerance<A>, where);
    worst.see(scaled_error(got.log_prob, want.log_prob) / statistic_tolerance<A>, where);
    worst.see(scaled_error(got.varentropy, want.varentropy) / statistic_tolerance<A>, where);
    const auto dz = run.gradient(row, y, temperature, nll{});
    const auto e = gradient_error<accumulator_t<T>>(row.data(), dz.data(), n, y,
                                                    loss_terms<double>{.a = 1}, temperature);
    worst.see(e.value, [&] { return where() + ", " + e.where; });
  };
  if constexpr (storage<T>::largest >= 3e38) {
    for (const double temperature : {8e37, 1e36, 1e30}) {  // as large as the logits
      see({3e38, -3e38}, 0, temperature);
      row_values many = gaussian_row(1200, 6e37, 92);
      many[100] = -3e38;
      many[1199] = 3e38;
      see(many, 1199, temperature);
      see(many, 7, temperature);
    }
  }
  // Logits as far apart as the temperature: below a type's resolution of 1 they would be equal.
  for (const double temperature : {1e-38, 1e-20, 1e-10, 1e-6, 1e-3, 1e3, 1e4}) {
    if (temperature * 3 > storage<T>::largest || temperature < storage<T>::smallest) continue;
    if (temperature < 1e-5 && sizeof(T) == 2) continue;
    auto values = gaussian_row(1200, 2 * temperature, 93);
    see(values, 11, temperature);
  }
  INFO(worst.where << ": " << worst.value);
  CHECK(worst.value <= 1);
}

}  // namespace idiolect::test
