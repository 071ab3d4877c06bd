// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The recipe of the default model: what it looks like, how long it is trained on what, and a
// training loop over the library's own loss.

#include <cstdint>
#include <span>
#include <vector>

#include <idiolect/idiolect.hpp>

#include "tiny_llama/adamw.hpp"
#include "tiny_llama/training.hpp"
#include "tiny_llama/weights.hpp"
#include "world/document.hpp"
#include "world/vocabulary.hpp"

namespace pretrain {

using idiolect::index_t;

struct recipe {
  std::uint64_t seed = 1;
  index_t steps = 2000;
  index_t warmup = 50;
  double peak_rate = 3e-3;
  double final_rate = 0.02;  ///< of the peak, at the end of the cosine

  /// The first part of training has short chains in larger batches, and weighs the tokens after
  /// `=` more: otherwise some seeds never learn the table of `#`.
  double easy_part = 0.4;
  int easy_longest_chain = 3;
  index_t easy_batch = 64;
  float easy_result_weight = 5;

  index_t batch = 32;            ///< documents a step, after the easy part
  float result_weight = 1;     ///< of a token after `=`, after the easy part
  float prompt_weight = 0.3F;  ///< of questions and hints: mostly chance, little to learn

  tiny_llama::adamw_options optimiser{.beta2 = 0.98, .weight_decay = 0.05};
  world::curriculum world;
  tiny_llama::initialisation initial{.gain = 0.2};
  tiny_llama::config shape{.vocab_size = world::vocab_size};
};

/// The documents of one step, packed, and the weight of each target.
struct weighted_batch {
  tiny_llama::batch rows;
  std::vector<float> weights;
};

[[nodiscard]] inline bool is_easy(const recipe& r, index_t step) {
  return static_cast<double>(step) < r.easy_part * static_cast<double>(r.steps);
}

/// Step `step`'s documents: a pure function of the recipe and the step.
inline void fill(weighted_batch& b, const recipe& r, index_t step) {
  const bool easy = is_easy(r, step);
  world::curriculum now = r.world;
  if (easy) now.base.longest_chain = now.hints.longest_chain = r.easy_longest_chain;
  const float result_weight = easy ? r.easy_result_weight : r.result_weight;
  const auto equals = world::token_of('=');

  b.rows.clear();
  b.weights.clear();
  const index_t count = easy ? r.easy_batch : r.batch;
  for (index_t slot = 0; slot < count; ++slot) {
    const auto d = world::pretraining_document(now, r.seed, static_cast<std::uint64_t>(step),
                                               static_cast<std::uint64_t>(slot));
    const auto tokens = world::encode(d.text());
    b.rows.append(tokens);
    for (std::size_t i = 0; i + 1 < tokens.size(); ++i) {
      const bool in_prompt = i < d.prompt.size();  // the target is character i of the text
      const float base = in_prompt ? r.prompt_weight : 1.0F;
      b.weights.push_back(tokens[i] == equals ? base * result_weight : base);
    }
  }
}

/// Trains from random weights. Calls `progress(step, report, norm)` after every step. The result
/// does not depend on the executor.
template <idiolect::executor Executor, class Progress>
[[nodiscard]] tiny_llama::weights<float> train(const recipe& r, const Executor& executor,
                                               Progress&& progress) {
  auto w = tiny_llama::random_weights<float>(r.shape, r.seed, r.initial);
  tiny_llama::weights<float> gradient;
  tiny_llama::training_workspace<float> workspace;
  tiny_llama::adamw_state<float> moments;
  tiny_llama::adamw_options optimiser = r.optimiser;
  weighted_batch batch;
  for (index_t step = 0; step < r.steps; ++step) {
    fill(batch, r, step);
    idiolect::loss_options options;
    options.weights = batch.weights;
    const auto report = tiny_llama::forward_backward(w, batch.rows, gradient, workspace,
                                                     idiolect::nll{}, options, executor);
    optimiser.learning_rate =
        tiny_llama::cosine_schedule(step, r.steps, r.peak_rate, r.warmup, r.final_rate);
    const double norm = tiny_llama::adamw_step(w, gradient, moments, optimiser);
    progress(step, report, norm);
  }
  return w;
}

}  // namespace pretrain
