// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// How a model is trained, and what a step of it reports.

#include <cstdint>
#include <string>

#include <idiolect/loss/report.hpp>

#include "tool/gates.hpp"
#include "torch_trainer/adamw.hpp"
#include "torch_trainer/config.hpp"
#include "torch_trainer/examples.hpp"

namespace torch_trainer {

struct training {
  tool::gate_choice loss;
  index_t steps = 100;        ///< of the optimiser; 0 where `seconds` says how long
  double seconds = 0;         ///< of training; 0 where `steps` says how long
  index_t batch = 8;          ///< examples in a step
  index_t micro_batch = 4;    ///< examples that go through the model at once
  adamw_options optimiser;    ///< its learning rate is the highest one
  double rate_warmup = 0.05;  ///< share of training over which the rate rises
  double rate_floor = 0;      ///< the last rate over the highest
  index_t logit_rows = 512;   ///< rows of logits that exist at a time
  bool freeze_embeddings = false;
  std::uint64_t seed = 0;  ///< of the order of the examples
};

/// Raises usage_error for options that make no sense.
void validate(const training& how, const llama_config& model, token_id end);

/// What decides the bits of a result, as a JSON object: of a run that resumes, all of it must be
/// the same as before. (The number of threads belongs to it too, but a state says nothing of it.)
[[nodiscard]] std::string settings_json(const training& how, const llama_config& model,
                                        const example_set& texts, token_id end);

/// What happened in a step.
struct step_report {
  index_t step = 0;  ///< counted from 1
  idiolect::loss_report loss;
  double gradient_norm = 0;
  double rate = 0;
  index_t tokens = 0;  ///< that went through the model, without padding
  double seconds = 0;  ///< for this step
};

}  // namespace torch_trainer
