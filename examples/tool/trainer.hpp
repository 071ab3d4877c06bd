// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Fine-tuning with any gate, and what it did to a text: likelihood, CLL and whether texts still
// end.

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <idiolect/cll/sequence.hpp>
#include <idiolect/loss/report.hpp>

#include "tiny_llama/adamw.hpp"
#include "tool/gates.hpp"
#include "tool/language_model.hpp"
#include "tool/sequences.hpp"

namespace tool {

struct training {
  gate_choice loss;
  index_t steps = 100;
  index_t batch = 16;  ///< sequences, or windows of long ones, in a step
  tiny_llama::adamw_options optimiser{.learning_rate = 1e-4};
  bool cosine = false;             ///< the rate falls to 0 along half a cosine; else it is constant
  index_t rate_warmup = 0;         ///< steps over which the rate rises
  bool sequence_mean = false;      ///< every sequence counts the same; else every token
  std::optional<index_t> overlap;  ///< of windows, as for scoring
  std::uint64_t seed = 0;          ///< of the order of the texts
};

/// Raises usage_error for options that make no sense for a model of this shape whose texts end with
/// `end`.
void validate(const training& how, const tiny_llama::config& shape, token_id end);

/// What happened in a step.
struct step_report {
  index_t step;
  idiolect::loss_report loss;
  double gradient_norm;
  double rate;
};

/// Fine-tunes `weights` on `texts`. The same bits for any number of threads. Raises as `validate`
/// does, and input_error if nothing can be trained or training diverges.
[[nodiscard]] std::vector<step_report> train(tiny_llama::weights<float>& weights,
                                             const std::vector<sequence>& texts, token_id end,
                                             const training& how, const executor& workers,
                                             const std::string& label);

/// A text under a model. `end_prob` is the mean probability of the end token where a text ends.
struct text_figures {
  idiolect::sequence_score score;
  index_t ends = 0;
  double end_prob = 0;
};

[[nodiscard]] text_figures evaluate(const tiny_llama::weights<float>& weights,
                                    const loaded_model& like, std::span<const sequence> texts,
                                    const std::optional<index_t>& overlap, const executor& workers,
                                    const std::string& label);

}  // namespace tool
