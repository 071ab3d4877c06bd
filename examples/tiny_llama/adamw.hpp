// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// AdamW (Loshchilov and Hutter, arXiv 1711.05101) with clipping by the global norm:
//
//   g <- g min(1, max_norm / |g|)
//   m <- beta1 m + (1 - beta1) g           v <- beta2 v + (1 - beta2) g^2
//   w <- w (1 - rate decay) - rate m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon)

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>

#include "tiny_llama/weights.hpp"

namespace tiny_llama {

struct adamw_options {
  double learning_rate = 3e-3;
  double beta1 = 0.9;
  double beta2 = 0.99;
  double epsilon = 1e-8;
  double weight_decay = 0.01;  ///< of matrices; the norms' scales are never decayed
  double max_norm = 1.0;       ///< of the whole gradient; 0 or less: no clipping
};

/// What AdamW remembers from step to step.
template <class Real = float>
struct adamw_state {
  weights<Real> first;   ///< running mean of the gradient
  weights<Real> second;  ///< running mean of its square
  index_t steps = 0;
};

/// Euclidean norm of a gradient, summed in fp64 in the order of the parameters.
template <class Real>
[[nodiscard]] double global_norm(const weights<Real>& gradient) {
  constexpr std::size_t lanes = 8;  // independent sums, so that the additions overlap
  double sums[lanes] = {};
  const auto g = gradient.flat();
  for (std::size_t i = 0; i < g.size(); ++i) {
    sums[i % lanes] += static_cast<double>(g[i]) * static_cast<double>(g[i]);
  }
  double total = 0;
  for (const double s : sums)
    total += s;
  return std::sqrt(total);
}

/// One step. Returns the norm of the gradient before clipping. A gradient that is not finite
/// changes nothing: the norm returned then says so.
template <class Real>
double adamw_step(weights<Real>& w, const weights<Real>& gradient, adamw_state<Real>& state,
                  const adamw_options& options) {
  idiolect::require(gradient.shape() == w.shape() && gradient.size() == w.size(), "gradient",
                    "is not shaped like the weights");
  if (state.first.shape() != w.shape() || state.first.size() == 0) {
    state = {weights<Real>(w.shape()), weights<Real>(w.shape()), 0};
  }
  const double norm = global_norm(gradient);
  if (!std::isfinite(norm)) return norm;
  ++state.steps;
  const auto t = static_cast<double>(state.steps);
  const bool clips = options.max_norm > 0 && norm > options.max_norm;
  const auto scale = static_cast<Real>(clips ? options.max_norm / norm : 1.0);
  const auto beta1 = static_cast<Real>(options.beta1);
  const auto beta2 = static_cast<Real>(options.beta2);
  const auto rate = static_cast<Real>(options.learning_rate / (1 - std::pow(options.beta1, t)));
  const auto correction = static_cast<Real>(1 / (1 - std::pow(options.beta2, t)));
  const auto epsilon = static_cast<Real>(options.epsilon);

  for (const tensor kind : all_tensors) {
    const double decay = is_norm(kind) ? 0.0 : options.learning_rate * options.weight_decay;
    const auto keep = static_cast<Real>(1 - decay);
    const auto size = static_cast<std::size_t>(shape_of(w.shape(), kind).size());
    const auto first = static_cast<std::size_t>(w.offset(kind));
    Real* const x = w.flat().data() + first;
    Real* const m = state.first.flat().data() + first;
    Real* const v = state.second.flat().data() + first;
    const Real* const g = gradient.flat().data() + first;
    for (std::size_t i = 0; i < size; ++i) {
      const Real clipped = g[i] * scale;
      m[i] = beta1 * m[i] + (1 - beta1) * clipped;
      v[i] = beta2 * v[i] + (1 - beta2) * clipped * clipped;
      x[i] = x[i] * keep - rate * m[i] / (std::sqrt(v[i] * correction) + epsilon);
    }
  }
  return norm;
}

/// Learning rate at `step` of `steps`: linear up to `peak` over `warmup` steps, then half a cosine
/// down to `floor * peak`.
[[nodiscard]] inline double cosine_schedule(index_t step, index_t steps, double peak, index_t warmup = 0,
                                            double floor = 0.0) {
  if (step < warmup) return peak * static_cast<double>(step + 1) / static_cast<double>(warmup);
  const double progress =
      static_cast<double>(step - warmup) / static_cast<double>(std::max<index_t>(1, steps - warmup));
  const double cosine = 0.5 * (1 + std::cos(std::numbers::pi * std::min(1.0, progress)));
  return peak * (floor + (1 - floor) * cosine);
}

}  // namespace tiny_llama
