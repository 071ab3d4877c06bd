// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Texts of a model alone: what its own voice is, and what a hinted text is compared with.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <idiolect/core/executor.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/hinted/decoder.hpp>
#include <idiolect/hinted/lambda.hpp>
#include <idiolect/hinted/policy.hpp>
#include <idiolect/model/causal_lm.hpp>
#include <idiolect/model/tokenizer.hpp>
#include <idiolect/stats/fold.hpp>
#include <idiolect/stats/sampling.hpp>

namespace idiolect {

/// Options of `sample`. The default draws from the model itself, at temperature 1.
struct sample_options {
  sampler_options sampler = {};
  index_t max_tokens = 512;
  std::vector<std::string> stop_strings = {};
  std::vector<token_id> end_tokens = {};  ///< beside the model's own
  repetition_options repetition = {.times = 0};
  std::uint64_t seed = 0;
  std::uint64_t first_record = 0;  ///< key of the first text's draws, with the seed
  decoder_options decoder = {};
};

/// A text for each prompt (tokens, begin token included), in the order of the prompts; text k is
/// keyed by first_record + k, so several texts of one prompt differ. Each token comes with its
/// score. `backend` folds rows, `pieces` gives a token's bytes. Raises what the model raises.
template <folding_backend Backend, causal_lm Model, tokenizer Tokenizer,
          executor Executor = serial_executor>
[[nodiscard]] std::vector<decode_result> sample(Backend backend, Model& model,
                                                const Tokenizer& pieces,
                                                std::span<const std::vector<token_id>> prompts,
                                                const sample_options& options = {},
                                                Executor executor = {}) {
  validate(options.sampler);
  hinted_options writing;
  writing.max_tokens = options.max_tokens;
  writing.stop_strings = options.stop_strings;
  writing.end_tokens = options.end_tokens;
  writing.repetition = options.repetition;
  writing.seed = options.seed;
  const hinted_policy policy(std::move(backend), pieces, constant_lambda{1}, std::move(writing));
  hinted_decoder decoder(model, policy, options.decoder, std::move(executor));

  std::vector<decode_result> texts(prompts.size());
  std::size_t next = 0;
  decoder.run(
      [&]() -> std::optional<decode_job> {
        if (next == prompts.size()) return std::nullopt;
        decode_job job;
        job.record = options.first_record + next;
        job.student_prompt = prompts[next++];
        job.rollout = true;
        job.rollout_sampler = options.sampler;
        return job;
      },
      [&](decode_result r) {
        const auto place = static_cast<std::size_t>(r.job.record - options.first_record);
        texts[place] = std::move(r);
      });
  return texts;
}

}  // namespace idiolect
