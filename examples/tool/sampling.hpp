// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Texts by the model: many at once, each a pure function of the prompt, the sampler, the seed and
// its own number.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <idiolect/stats/sampling.hpp>

#include "tool/language_model.hpp"

namespace tool {

struct sampling {
  idiolect::sampler_options sampler;
  std::uint64_t seed = 0;
  index_t count = 1;       ///< texts for each prompt
  index_t max_tokens = 0;  ///< drawn for a text, at most; 0: until the context is full
  index_t streams = 64;    ///< texts at once
  index_t context = 0;     ///< tokens of a text; 0: what the model holds
  token_id end = -1;       ///< ends a text, beside the model's own end tokens
};

/// What sampling asks of a model.
[[nodiscard]] demand demand_of(std::span<const std::vector<token_id>> prompts, const sampling& how);

/// Why a text ends.
enum class finish { end, length, context };

/// Prompt and drawn tokens, the end token among them if it was drawn.
struct sampled_text {
  std::vector<token_id> tokens;
  index_t prompt_tokens = 0;
  finish why = finish::end;
};

/// Text k of prompt i at i * count + k. A prompt is not empty and shorter than the context (which
/// the caller checks: he knows where it comes from). Raises input_error if the model's logits leave
/// nothing to draw.
[[nodiscard]] std::vector<sampled_text> sample_all(language_model& model, const executor& workers,
                                                   std::span<const std::vector<token_id>> prompts,
                                                   const sampling& how);

}  // namespace tool
