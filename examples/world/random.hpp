// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The world's only source of chance: a cursor over one record's counter-based random numbers.
// What is drawn for a record depends on (seed, purpose, record) and on nothing else.

#include <cstddef>
#include <cstdint>
#include <span>

#include <idiolect/core/philox.hpp>

namespace world {

/// What random numbers are for. The purpose is part of the key, so that the same record can be
/// asked in the same way and answered in two styles, and test questions never meet training ones.
enum class purpose : std::uint64_t {
  pretraining = 1,
  base_question,
  target_question,
  outcome,
  surface,
  sampling
};

/// Successive draws for one record.
class draws {
 public:
  draws(std::uint64_t seed, purpose what, std::uint64_t record)
      : numbers_{seed, (static_cast<std::uint64_t>(what) << 56) ^ record} {}

  /// Uniform in [0, 1).
  double uniform() { return numbers_.uniform(position_++); }

  /// True with the given probability.
  bool chance(double probability) { return uniform() < probability; }

  /// Uniform in {first, ..., last}, both included.
  int between(int first, int last) {
    return first + static_cast<int>(
                       numbers_.below(static_cast<std::uint64_t>(last - first + 1), position_++));
  }

  /// Index i with probability weights[i] / sum of weights.
  std::size_t pick(std::span<const double> weights) {
    double total = 0;
    for (const double w : weights) total += w;
    double left = uniform() * total;
    for (std::size_t i = 0; i + 1 < weights.size(); ++i) {
      left -= weights[i];
      if (left < 0) return i;
    }
    return weights.size() - 1;
  }

 private:
  idiolect::philox numbers_;
  std::uint64_t position_ = 0;
};

}  // namespace world
