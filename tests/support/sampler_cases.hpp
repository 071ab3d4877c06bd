// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// What selections are tried with, whoever makes them, and how near to right a drawn token is.

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include <idiolect/core/scalar.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/stats/sampling.hpp>

#include "support/rows.hpp"

namespace idiolect::test {

template <class T>
[[nodiscard]] double maximum(const std::vector<T>& row) {
  double max = -infinity;
  for (const T z : row) max = std::max(max, static_cast<double>(load(z)));
  return max;
}

/// How far `u` lies from the numbers for which `token` is the one to draw.
[[nodiscard]] inline double distance_of(double u, token_id token, const sampler_distribution& r) {
  double before = 0;
  for (std::size_t i = 0; i < r.tokens.size(); ++i) {
    if (r.tokens[i] == token) return std::max({0.0, before - u, u - (before + r.probs[i])});
    before += r.probs[i];
  }
  return infinity;
}

[[nodiscard]] inline std::string name_of(const sampler_options& o) {
  return "T " + std::to_string(o.temperature) + " k " + std::to_string(o.top_k) + " p " +
         std::to_string(o.top_p) + " min-p " + std::to_string(o.min_p) +
         (o.order == sampler_order::temperature_last ? " last" : " first");
}

/// 600 combinations for rows of n.
[[nodiscard]] inline std::vector<sampler_options> all_options(index_t n) {
  std::vector<sampler_options> result;
  for (const auto order : {sampler_order::temperature_first, sampler_order::temperature_last}) {
    for (const double temperature : {0.0, 0.05, 0.3, 1.0, 3.0}) {
      for (const index_t top_k : {index_t{0}, index_t{1}, index_t{50}, n / 2}) {
        for (const double top_p : {1.0, 1e-9, 0.5, 0.95, 0.999999}) {
          for (const double min_p : {0.0, 0.05, 1.0}) {
            result.push_back({temperature, top_k, top_p, min_p, order});
          }
        }
      }
    }
  }
  return result;
}

}  // namespace idiolect::test
