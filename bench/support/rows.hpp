// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Logits and targets to measure on: the shapes that the results pages quote.

#include <cmath>
#include <cstdint>
#include <vector>

#include <idiolect/core/matrix_view.hpp>
#include <idiolect/core/philox.hpp>
#include <idiolect/core/types.hpp>

namespace idiolect::bench {

struct shape {
  index_t rows;
  index_t vocab;

  [[nodiscard]] constexpr index_t logits() const { return rows * vocab; }
};

struct named_shape : shape {
  const char* name;
};
/// Two training batches too large for a cache, one small vocabulary, one step of generation.
inline constexpr named_shape shapes[] = {
    {{256, 32000}, "A"}, {{128, 151936}, "B"}, {{2048, 512}, "C"}, {{1, 151936}, "D"}};

/// Number `i` of an endless sequence of Gaussian logits of standard deviation 2.5, by Philox.
inline float gaussian_logit(std::uint64_t i) {
  constexpr philox random{.seed = 1};
  const double u = random.uniform(2 * i), v = random.uniform(2 * i + 1);
  return static_cast<float>(2.5 * std::sqrt(-2 * std::log1p(-u)) * std::cos(6.283185307179586 * v));
}

/// A target for each row, uniform over the vocabulary.
inline std::vector<token_id> uniform_targets(shape s) {
  constexpr philox choice{.seed = 2};
  std::vector<token_id> targets(static_cast<std::size_t>(s.rows));
  for (std::size_t i = 0; i < targets.size(); ++i) {
    targets[i] = static_cast<token_id>(choice.below(static_cast<std::uint64_t>(s.vocab), i));
  }
  return targets;
}

/// Logits and targets of one shape, in memory of their own.
struct problem {
  std::vector<float> logits;
  std::vector<token_id> targets;
  index_t vocab;

  explicit problem(shape s)
      : logits(static_cast<std::size_t>(s.logits())), targets(uniform_targets(s)), vocab(s.vocab) {
    for (std::size_t i = 0; i < logits.size(); ++i) logits[i] = gaussian_logit(i);
  }
  [[nodiscard]] matrix_view<const float> view() const {
    return {logits.data(), static_cast<index_t>(targets.size()), vocab};
  }
};

}  // namespace idiolect::bench
