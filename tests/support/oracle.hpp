// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// What everything is compared with: each statistic of a row by its definition, in long double and
// two passes, and gradients by the formula. Nothing here is shared with the library but the loads
// of 16-bit types, which have tests of their own.

#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <idiolect/core/scalar.hpp>
#include <idiolect/core/types.hpp>

namespace idiolect::test {

/// The statistics of softmax(z) and of a target y in it, where z = logits / temperature.
struct exact_stats {
  long double max = 0;
  long double log_sum = 0;      ///< lse - max
  long double mean_offset = 0;  ///< E_p[z] - max
  long double varentropy = 0;
  long double collision = 0;
  long double log_prob = 0;
  long double phi = 0;
  token_id target = 0;
  long double external = 1;

  [[nodiscard]] long double lse() const { return max + log_sum; }
  [[nodiscard]] long double entropy() const { return log_sum - mean_offset; }
  [[nodiscard]] long double prob() const { return std::exp(log_prob); }

  /// The same row with another target.
  [[nodiscard]] exact_stats at(token_id y, long double z) const {
    exact_stats s = *this;
    s.target = y;
    s.log_prob = z - max - log_sum;
    s.phi = z - max - mean_offset;
    return s;
  }
};

/// Statistics of finite rows (-inf is a token of probability 0).
inline exact_stats exact(const std::vector<long double>& z, token_id target) {
  constexpr long double inf = std::numeric_limits<long double>::infinity();
  exact_stats s;
  s.max = -inf;
  for (const long double x : z) s.max = x > s.max ? x : s.max;
  long double sum = 0, first = 0, squares = 0;
  for (const long double x : z) {
    if (x == -inf) continue;
    const long double e = std::exp(x - s.max);
    sum += e;
    first += e * (x - s.max);
    squares += e * e;
  }
  s.log_sum = std::log(sum);
  s.mean_offset = first / sum;
  s.collision = squares / (sum * sum);
  long double spread = 0;
  for (const long double x : z) {
    if (x == -inf) continue;
    const long double distance = x - s.max - s.mean_offset;
    spread += std::exp(x - s.max) * distance * distance;
  }
  s.varentropy = spread / sum;
  return s.at(target, z[static_cast<std::size_t>(target)]);
}

/// Stored logits as the numbers they stand for, divided by a temperature.
template <class T>
std::vector<long double> widened_row(const T* row, index_t n, long double temperature = 1) {
  std::vector<long double> z(static_cast<std::size_t>(n));
  for (index_t i = 0; i < n; ++i) {
    z[static_cast<std::size_t>(i)] = static_cast<long double>(load(row[i])) / temperature;
  }
  return z;
}

template <class T>
exact_stats exact(const T* row, index_t n, token_id target, long double temperature = 1) {
  return exact(widened_row(row, n, temperature), target);
}

/// dz = a (p - e_y) + b p (log p + H) + c p, divided by the temperature; z is already divided.
inline std::vector<long double> exact_gradient(const std::vector<long double>& z,
                                               const exact_stats& s, long double a, long double b,
                                               long double c, long double temperature = 1) {
  std::vector<long double> dz(z.size());
  for (std::size_t i = 0; i < z.size(); ++i) {
    const long double log_p = z[i] - s.max - s.log_sum;
    const long double p = std::exp(log_p);
    dz[i] = p > 0 ? (a + c) * p + b * p * (log_p + s.entropy()) : 0;
    if (static_cast<token_id>(i) == s.target) dz[i] -= a;
    dz[i] /= temperature;
  }
  return dz;
}

/// The derivative of any function of a row of logits (before the temperature), by a five-point
/// difference in long double: good to about 1e-12 of the function's scale. 0 at a masked logit.
template <class F>
std::vector<long double> finite_difference(std::vector<long double> z, F&& f) {
  constexpr long double step = 1e-3L;
  std::vector<long double> dz(z.size(), 0);
  for (std::size_t i = 0; i < z.size(); ++i) {
    const long double at = z[i];
    if (std::isinf(at)) continue;
    const auto moved = [&](long double by) {
      z[i] = at + by;
      const long double value = f(std::as_const(z));
      z[i] = at;
      return value;
    };
    dz[i] = (8 * (moved(step) - moved(-step)) - (moved(2 * step) - moved(-2 * step))) / (12 * step);
  }
  return dz;
}

/// |got - want| in units of max(1, |want|); 0 where both are the same infinity or NaN.
inline double scaled_error(double got, long double want) {
  if (std::isnan(got) && std::isnan(want)) return 0;
  if (static_cast<long double>(got) == want) return 0;
  const long double unit = std::fabs(want) > 1 ? std::fabs(want) : 1;
  return static_cast<double>(std::fabs(static_cast<long double>(got) - want) / unit);
}

/// The largest of many errors and where it was seen: one assertion after a loop. NaN is largest.
struct worst_error {
  double value = 0;
  std::string where = "nowhere";

  template <class Where>
  void see(double error, Where&& describe) {
    if (std::isnan(value) || error <= value) return;
    value = error;
    where = describe();
  }
};

}  // namespace idiolect::test
