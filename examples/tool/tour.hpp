// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the tour measures, its two short tables and what they mean. The words follow from the
// numbers, whichever way they come out.

#include <optional>
#include <string>
#include <vector>

#include <idiolect/cll/comparison.hpp>

#include "tool/report.hpp"
#include "tool/trainer.hpp"

namespace tool {

/// Greedy answers to the prompts of a text.
struct answer_figures {
  index_t asked = 0;
  index_t right = 0;  ///< what follows the delimiter is what follows it in the text
  index_t ended = 0;  ///< closed by the end token
};

/// A model's figures for a text.
struct tour_figures {
  text_figures text;
  answer_figures answers;
};

/// A model: before training, or after training with some loss.
struct outcome {
  std::string name;
  tour_figures foreign;
  tour_figures retained;
};

/// Samples that answer the prompts of `like`, or begin where the model begins, one a text and at
/// most as long as the longest; scored.
[[nodiscard]] scored_text own_samples(language_model& model, const executor& workers,
                                      const std::vector<sequence>& like, std::uint64_t seed);

/// Answers the prompts of `texts` greedily; nothing is asked without a delimiter, or of texts
/// without a prompt or without an end. An answer is what follows the delimiter's last occurrence.
[[nodiscard]] answer_figures answer_all(const tiny_llama::weights<float>& weights,
                                        const loaded_model& like,
                                        const std::vector<sequence>& texts,
                                        const std::string& delimiter, const executor& workers);

/// Own samples against foreign text by perplexity, CLL and z. `wider`, if there is one, compares
/// own samples on other prompts too.
[[nodiscard]] std::string detection_table(const scored_text& own, const scored_text& foreign,
                                          const idiolect::corpus_comparison& same,
                                          const std::optional<idiolect::corpus_comparison>& wider);
[[nodiscard]] std::string detection_meaning(
    const scored_text& own, const scored_text& foreign, const idiolect::corpus_comparison& same,
    const std::optional<idiolect::corpus_comparison>& wider);

/// `all`: before, then SFT and IDFT for each learning rate.
[[nodiscard]] std::string training_table(const std::vector<outcome>& all);
[[nodiscard]] std::string training_meaning(const std::vector<outcome>& all);

[[nodiscard]] nlohmann::ordered_json to_json(const tour_figures& f);

}  // namespace tool
