// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Four kinds of data from one pipeline: they differ in four settings.
//
//                          hint              lambda          rollouts   hinted tries
//   hinted decoding        the solution      beta h          1          3
//   CoT completion         the bare answer   beta h          1          3
//   self-distillation      the solution      0               0          1
//   rejection sampling     -                 1 (no teacher)  4          0

#include <utility>

#include <idiolect/core/types.hpp>
#include <idiolect/hinted/lambda.hpp>
#include <idiolect/hinted/prompts.hpp>
#include <idiolect/hinted/rewrite.hpp>

namespace idiolect {

/// Settings of a policy (`schedule`), a prompter (`hint`) and a rewrite (the rest).
struct rewrite_recipe {
  any_lambda schedule = linear_lambda{};
  hint_content hint = hint_content::solution;
  index_t rollouts = 1;
  index_t tries = 3;

  /// `options` with the recipe's numbers of tries.
  [[nodiscard]] rewrite_options apply(rewrite_options options = {}) const {
    options.rollouts = rollouts;
    options.tries = tries;
    return options;
  }
};

/// The teacher reads the reference and leads where it is sure.
[[nodiscard]] inline rewrite_recipe hinted_decoding(double beta = 3) {
  return {.schedule = linear_lambda{beta}};
}

/// Only the answer is known: the way to it is the model's own.
[[nodiscard]] inline rewrite_recipe cot_completion(double beta = 3) {
  return {.schedule = linear_lambda{beta}, .hint = hint_content::answer};
}

/// The teacher alone: the model's rewording of what it was shown.
[[nodiscard]] inline rewrite_recipe self_distillation() {
  return {.schedule = linear_lambda{0}, .rollouts = 0, .tries = 1};
}

/// The student alone, `samples` times: the first accepted answer.
[[nodiscard]] inline rewrite_recipe rejection_sampling(index_t samples = 4) {
  return {.schedule = constant_lambda{1}, .rollouts = samples, .tries = 0};
}

}  // namespace idiolect
