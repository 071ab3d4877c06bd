// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// How strongly a gate acts over the course of training, as a function of progress in [0, 1] that
// the caller passes in: there is no hidden step counter to go wrong when training resumes.

#include <algorithm>

#include <idiolect/core/bounds.hpp>

namespace idiolect {

/// 0 up to `warmup`, linear over the next `transition`, then 1. Fractions of training, >= 0; asked
/// for a strength, raises shape_error for any number that is not one.
struct linear_schedule {
  double warmup = 0;
  double transition = 0;

  [[nodiscard]] double operator()(double progress) const {
    validate();
    detail::require_finite(progress, "progress");
    if (progress < warmup) return 0;
    if (transition <= 0 || progress >= warmup + transition) return 1;
    return std::clamp((progress - warmup) / transition, 0.0, 1.0);
  }
  void validate() const {
    detail::require_at_least(0, warmup, "linear_schedule::warmup");
    detail::require_at_least(0, transition, "linear_schedule::transition");
  }
};

}  // namespace idiolect
