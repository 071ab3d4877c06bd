// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Logits and targets to measure on: the shapes that the results pages quote.

#include <cmath>
#include <vector>

#include <idiolect/core/matrix_view.hpp>
#include <idiolect/core/philox.hpp>
#include <idiolect/core/types.hpp>

namespace idiolect::bench {

struct shape {
  index_t rows;
  index_t vocab;
};
inline constexpr shape shapes[] = {{256, 32000}, {128, 151936}, {2048, 512}, {1, 151936}};

/// Gaussian logits of standard deviation 2.5 and a target for each row, by Philox.
struct problem {
  std::vector<float> logits;
  std::vector<token_id> targets;
  index_t vocab;

  explicit problem(shape s)
      : logits(static_cast<std::size_t>(s.rows * s.vocab)),
        targets(static_cast<std::size_t>(s.rows)),
        vocab(s.vocab) {
    const philox random{.seed = 1};
    for (std::size_t i = 0; i < logits.size(); ++i) {
      const double u = random.uniform(2 * i), v = random.uniform(2 * i + 1);
      logits[i] = static_cast<float>(2.5 * std::sqrt(-2 * std::log1p(-u)) *
                                     std::cos(6.283185307179586 * v));
    }
    const philox choice{.seed = 2};
    for (std::size_t i = 0; i < targets.size(); ++i) {
      targets[i] = static_cast<token_id>(choice.below(static_cast<std::uint64_t>(vocab), i));
    }
  }
  [[nodiscard]] matrix_view<const float> view() const {
    return {logits.data(), static_cast<index_t>(targets.size()), vocab};
  }
  [[nodiscard]] double bytes() const { return static_cast<double>(logits.size() * sizeof(float)); }
};

}  // namespace idiolect::bench
