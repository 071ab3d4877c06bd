// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Rows of logits that are hard to sum, and random numbers that do not come from the library.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include <idiolect/core/scalar.hpp>
#include <idiolect/core/types.hpp>

namespace idiolect::test {

inline constexpr double infinity = std::numeric_limits<double>::infinity();
inline constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

/// splitmix64.
class random_source {
 public:
  explicit random_source(std::uint64_t seed) : state_(seed) {}

  std::uint64_t bits() {
    std::uint64_t x = state_ += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
  }
  double uniform() { return static_cast<double>(bits() >> 11) * 0x1.0p-53; }
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  double normal() {
    const double radius = std::sqrt(-2 * std::log(1 - uniform()));
    return radius * std::cos(2 * std::numbers::pi * uniform());
  }
  index_t below(index_t n) { return static_cast<index_t>(uniform() * static_cast<double>(n)); }

 private:
  std::uint64_t state_;
};

using row_values = std::vector<double>;

inline row_values gaussian_row(index_t n, double scale, std::uint64_t seed, double shift = 0) {
  random_source random(seed);
  row_values row(static_cast<std::size_t>(n));
  for (double& z : row) z = shift + scale * random.normal();
  return row;
}

/// One token at 0, the others at -depth.
inline row_values two_level_row(index_t n, double depth, index_t top) {
  row_values row(static_cast<std::size_t>(n), -depth);
  row[static_cast<std::size_t>(top % n)] = 0;
  return row;
}

struct named_row {
  std::string name;
  row_values values;
};

/// Finite rows of n logits. `largest` bounds the ones that reach to the ends of a scalar type.
inline std::vector<named_row> adversarial_rows(index_t n, double largest) {
  random_source random(static_cast<std::uint64_t>(n) * 7919);
  const auto size = static_cast<std::size_t>(n);
  const auto generate = [&](auto&& f) {
    row_values row(size);
    for (std::size_t i = 0; i < size; ++i) row[i] = f(i);
    return row;
  };
  const double length = static_cast<double>(n);
  std::vector<named_row> rows;
  rows.push_back({"zeros", row_values(size, 0.0)});
  rows.push_back({"constant", row_values(size, 3.7)});
  rows.push_back({"gaussian 0.1", gaussian_row(n, 0.1, random.bits())});
  rows.push_back({"gaussian 1", gaussian_row(n, 1, random.bits())});
  rows.push_back({"gaussian 3", gaussian_row(n, 3, random.bits())});
  rows.push_back({"gaussian 10", gaussian_row(n, 10, random.bits())});
  rows.push_back({"shifted by 1e4", gaussian_row(n, 2, random.bits(), 1e4)});
  rows.push_back({"shifted by -1e4", gaussian_row(n, 2, random.bits(), -1e4)});
  row_values peaked = gaussian_row(n, 1, random.bits());
  peaked[size / 3] = 30;
  rows.push_back({"peaked", peaked});
  // Equal terms: a float sum errs in the same direction every time. At 16.64 each is just below
  // half a rounding unit of the largest.
  for (const double depth : {0.7, 5.3, 9.1, 11.9, 13.37, 15.9, 16.64}) {
    rows.push_back({"two levels " + std::to_string(depth),
                    two_level_row(n, depth + random.uniform() * 1e-3, random.below(n))});
  }
  rows.push_back(
      {"ascending", generate([](std::size_t i) { return 0.01 * static_cast<double>(i); })});
  rows.push_back(
      {"geometric", generate([](std::size_t i) { return -0.05 * static_cast<double>(i); })});
  rows.push_back({"slowly geometric", generate([&](std::size_t i) {
                    return -12.0 * static_cast<double>(i) / length;
                  })});
  rows.push_back({"mostly -inf", generate([&](std::size_t i) {
                    return i == size - 1 || random.uniform() < 0.02 ? random.normal() : -infinity;
                  })});
  rows.push_back({"first half -inf", generate([&](std::size_t i) {
                    return i < size / 2 ? -infinity : 3 * random.normal();
                  })});
  rows.push_back({"from end to end of the type", generate([&](std::size_t i) {
                    return i % 3 == 0 ? -largest : i % 3 == 1 ? 0 : largest;
                  })});
  rows.push_back({"all at the end of the type", row_values(size, -largest)});
  rows.push_back({"denormals", generate([&](std::size_t) { return 1e-40 * random.uniform(); })});
  return rows;
}

/// Rows without a distribution.
inline std::vector<named_row> non_finite_rows(index_t n) {
  const auto with = [&](double x, index_t at) {
    row_values row = gaussian_row(n, 2, 5);
    row[static_cast<std::size_t>(at)] = x;
    return row;
  };
  std::vector<named_row> rows;
  for (const index_t at : {index_t{0}, n / 2, n - 1}) {
    const std::string where = " at " + std::to_string(at);
    rows.push_back({"NaN" + where, with(not_a_number, at)});
    rows.push_back({"-NaN" + where, with(-not_a_number, at)});
    rows.push_back({"+inf" + where, with(infinity, at)});
    row_values masked(static_cast<std::size_t>(n), -infinity);
    masked[static_cast<std::size_t>(at)] = not_a_number;
    rows.push_back({"NaN among -inf" + where, masked});
    masked[static_cast<std::size_t>(at)] = infinity;
    rows.push_back({"+inf among -inf" + where, masked});
  }
  row_values both = with(infinity, 0);
  both[static_cast<std::size_t>(n - 1)] = infinity;
  rows.push_back({"+inf twice", both});
  both[static_cast<std::size_t>(n - 1)] = not_a_number;
  rows.push_back({"+inf and NaN", both});
  rows.push_back({"+inf only", row_values(static_cast<std::size_t>(n), infinity)});
  rows.push_back({"NaN only", row_values(static_cast<std::size_t>(n), not_a_number)});
  rows.push_back({"-inf only", row_values(static_cast<std::size_t>(n), -infinity)});
  return rows;
}

/// The row as a scalar type stores it.
template <class T>
std::vector<T> stored(const row_values& row) {
  std::vector<T> result;
  result.reserve(row.size());
  for (const double z : row) result.push_back(store<T>(z));
  return result;
}

/// N rows of V Gaussian logits, contiguous.
template <class T>
std::vector<T> gaussian_matrix(index_t rows, index_t cols, double scale, std::uint64_t seed) {
  return stored<T>(gaussian_row(rows * cols, scale, seed));
}

/// A target in [0, cols) for each row.
inline std::vector<token_id> random_targets(index_t rows, index_t cols, std::uint64_t seed) {
  random_source random(seed);
  std::vector<token_id> targets(static_cast<std::size_t>(rows));
  for (token_id& t : targets) t = static_cast<token_id>(random.below(cols));
  return targets;
}

}  // namespace idiolect::test
