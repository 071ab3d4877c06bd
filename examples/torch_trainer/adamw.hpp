// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// AdamW (Loshchilov and Hutter, arXiv 1711.05101) with clipping by the global norm, in place:
//
//   g <- g min(1, max_norm / |g|)
//   m <- beta1 m + (1 - beta1) g           v <- beta2 v + (1 - beta2) g^2
//   w <- w (1 - rate decay) - rate m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon)
//
// One pass over each parameter and no memory beside the moments. (torch::optim::AdamW makes several
// tensors of a parameter's size on the way; the embedding's alone takes 113 MB in SmolLM2-135M.)

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <span>
#include <vector>

#include <idiolect/core/executor.hpp>
#include <idiolect/core/types.hpp>

namespace torch_trainer {

using idiolect::index_t;

struct adamw_options {
  double learning_rate = 2e-5;
  double beta1 = 0.9;
  double beta2 = 0.99;
  double epsilon = 1e-8;
  double weight_decay = 0.01;  ///< of matrices; the norms' scales are never decayed
  double max_norm = 1.0;       ///< of the whole gradient; 0 or less: no clipping
};

/// A parameter, its gradient and its moments, all of one size.
struct adamw_parameter {
  std::span<float> values;
  std::span<const float> gradient;
  std::span<float> first;
  std::span<float> second;
  bool decays = true;
};

/// Numbers that one piece of work takes. The sums of pieces are added in order, so that a norm does
/// not depend on the number of threads.
inline constexpr index_t adamw_piece = 1 << 16;

/// Euclidean norm of the whole gradient, summed in fp64.
template <idiolect::executor Executor>
[[nodiscard]] double gradient_norm(std::span<const adamw_parameter> parameters,
                                   const Executor& executor) {
  double total = 0;
  std::vector<double> sums;
  for (const adamw_parameter& p : parameters) {
    const auto size = static_cast<index_t>(p.gradient.size());
    const index_t pieces = (size + adamw_piece - 1) / adamw_piece;
    sums.assign(static_cast<std::size_t>(pieces), 0);
    executor.bulk(pieces, [&](index_t k) {
      constexpr std::size_t lanes = 8;  // independent sums, so that the additions overlap
      double part[lanes] = {};
      const index_t end = std::min(size, (k + 1) * adamw_piece);
      for (index_t i = k * adamw_piece; i < end; ++i) {
        const auto g = static_cast<double>(p.gradient[static_cast<std::size_t>(i)]);
        part[static_cast<std::size_t>(i) % lanes] += g * g;
      }
      for (const double x : part) sums[static_cast<std::size_t>(k)] += x;
    });
    for (const double x : sums) total += x;
  }
  return std::sqrt(total);
}

/// Step number `t`, counted from 1, with the gradient's norm as above. A norm that is not finite
/// must not come here: it would end up in every weight.
template <idiolect::executor Executor>
void adamw_step(std::span<const adamw_parameter> parameters, index_t t, double norm,
                const adamw_options& o, const Executor& executor) {
  const auto n = static_cast<double>(t);
  const bool clips = o.max_norm > 0 && norm > o.max_norm;
  const auto scale = static_cast<float>(clips ? o.max_norm / norm : 1.0);
  const auto beta1 = static_cast<float>(o.beta1), rest1 = static_cast<float>(1 - o.beta1);
  const auto beta2 = static_cast<float>(o.beta2), rest2 = static_cast<float>(1 - o.beta2);
  const auto rate = static_cast<float>(o.learning_rate / (1 - std::pow(o.beta1, n)));
  const auto correction = static_cast<float>(1 / (1 - std::pow(o.beta2, n)));
  const auto epsilon = static_cast<float>(o.epsilon);
  for (const adamw_parameter& p : parameters) {
    const auto keep = static_cast<float>(p.decays ? 1 - o.learning_rate * o.weight_decay : 1.0);
    const auto size = static_cast<index_t>(p.values.size());
    executor.bulk((size + adamw_piece - 1) / adamw_piece, [&](index_t k) {
      float* const w = p.values.data();
      float* const m = p.first.data();
      float* const v = p.second.data();
      const float* const g = p.gradient.data();
      const index_t end = std::min(size, (k + 1) * adamw_piece);
      for (index_t i = k * adamw_piece; i < end; ++i) {
        const float clipped = g[i] * scale;
        m[i] = beta1 * m[i] + rest1 * clipped;
        v[i] = beta2 * v[i] + rest2 * clipped * clipped;
        w[i] = w[i] * keep - rate * m[i] / (std::sqrt(v[i] * correction) + epsilon);
      }
    });
  }
}

/// The learning rate's factor at `progress` in [0, 1]: linear from 0 over the first `warmup`, then
/// half a cosine down to `floor`.
[[nodiscard]] inline double rate_factor(double progress, double warmup, double floor) {
  if (progress < warmup) return progress / warmup;
  const double rest = warmup < 1 ? (progress - warmup) / (1 - warmup) : 1;
  const double cosine = 0.5 * (1 + std::cos(std::numbers::pi * std::min(1.0, rest)));
  return floor + (1 - floor) * cosine;
}

}  // namespace torch_trainer
