// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Means with standard errors, and intervals: over the texts or questions of one seed (normal), and
// over seeds (Student's t, which is wide for few of them, as it should be).

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

#include "study/settings.hpp"

namespace study {

/// A number and the interval that holds it with 95%; the bounds are NaN where nothing is known.
struct measured {
  double value = std::numeric_limits<double>::quiet_NaN();
  double low = std::numeric_limits<double>::quiet_NaN();
  double high = std::numeric_limits<double>::quiet_NaN();

  [[nodiscard]] json to_json() const { return {{"value", value}, {"low", low}, {"high", high}}; }
  [[nodiscard]] static measured from(const json& j) {
    const auto number = [&](const char* key) {
      return j.at(key).is_null() ? std::numeric_limits<double>::quiet_NaN()
                                 : j.at(key).get<double>();
    };
    return {number("value"), number("low"), number("high")};
  }
  [[nodiscard]] measured negated() const { return {-value, -high, -low}; }
};

/// value +- 1.96 standard errors.
[[nodiscard]] inline measured normal_interval(double value, double standard_error) {
  return {value, value - 1.96 * standard_error, value + 1.96 * standard_error};
}

/// sum x / sum n over items that were drawn independently, each with its own n: the token-weighted
/// mean of texts. Linearised standard error of the ratio.
[[nodiscard]] inline measured ratio(std::span<const double> x, std::span<const double> n) {
  double sum_x = 0;
  double sum_n = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    sum_x += x[i];
    sum_n += n[i];
  }
  const double r = sum_x / sum_n;
  double squares = 0;
  for (std::size_t i = 0; i < x.size(); ++i) squares += (x[i] - r * n[i]) * (x[i] - r * n[i]);
  const auto count = static_cast<double>(x.size());
  const double spread = count > 1 ? std::sqrt(squares * count / (count - 1)) : 0;
  return normal_interval(r, spread / sum_n);
}

/// Mean of independent numbers.
[[nodiscard]] inline measured mean_of(std::span<const double> x) {
  return ratio(x, std::vector<double>(x.size(), 1.0));
}

/// A share of items, given as a string of 0 and 1.
[[nodiscard]] inline measured share_of(std::string_view flags) {
  std::vector<double> x;
  for (const char c : flags) x.push_back(c == '1' ? 1 : 0);
  return mean_of(x);
}

/// Share of `a` less share of `b`, the same items in both.
[[nodiscard]] inline measured paired_difference(std::string_view a, std::string_view b) {
  std::vector<double> x;
  for (std::size_t i = 0; i < a.size(); ++i) {
    x.push_back((a[i] == '1' ? 1.0 : 0.0) - (b[i] == '1' ? 1.0 : 0.0));
  }
  return mean_of(x);
}

/// Difference of two numbers that were measured on different items.
[[nodiscard]] inline measured difference(const measured& a, const measured& b) {
  const double wide = (a.high - a.low) / 2;
  const double other = (b.high - b.low) / 2;
  const double half = std::sqrt(wide * wide + other * other);
  return {a.value - b.value, a.value - b.value - half, a.value - b.value + half};
}

/// Quantile 0.975 of Student's t.
[[nodiscard]] inline double t_quantile(std::size_t freedom) {
  constexpr std::array table{12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306,
                             2.262,  2.228, 2.201, 2.179, 2.160, 2.145, 2.131};
  return freedom == 0              ? std::numeric_limits<double>::infinity()
         : freedom <= table.size() ? table[freedom - 1]
                                   : 2.0 + 1.96 / static_cast<double>(freedom);
}

/// Mean over seeds with its t interval; without bounds for one seed.
[[nodiscard]] inline measured over_seeds(std::span<const double> x) {
  const auto n = static_cast<double>(x.size());
  double mean = 0;
  for (const double v : x) mean += v / n;
  if (x.size() < 2) return {.value = mean};
  double squares = 0;
  for (const double v : x) squares += (v - mean) * (v - mean);
  const double half = t_quantile(x.size() - 1) * std::sqrt(squares / (n - 1) / n);
  return {mean, mean - half, mean + half};
}

}  // namespace study
