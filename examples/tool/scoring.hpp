// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Scores of many sequences: windows of several sequences go through the model side by side.

#include <optional>
#include <span>
#include <string>
#include <vector>

#include <idiolect/cll/score.hpp>
#include <idiolect/cll/sequence.hpp>

#include "tool/language_model.hpp"
#include "tool/sequences.hpp"

namespace tool {

/// How sequences go through the model. None of it but `tokens` and `overlap` changes a score,
/// except for a GGUF: llama.cpp computes 64 rows of a sequence and more by other means than fewer.
struct scoring {
  idiolect::score_options tokens;
  std::optional<index_t> overlap;  ///< of windows, in tokens; default: half of the context
  index_t context = 0;             ///< tokens of a window, at most; 0: what the model holds
  index_t streams = 16;            ///< sequences at once
  index_t chunk = 128;             ///< tokens of a sequence in one call, at most
};

/// What scoring asks of a model. The longest text decides, and the longest window where it has
/// several.
[[nodiscard]] demand demand_of(std::span<const std::vector<sequence>> texts, const scoring& how);

/// The scores of one sequence: tokens[k] belongs to position first_scored + k.
struct scored_sequence {
  std::vector<idiolect::token_score> tokens;
  index_t windows = 1;  ///< it was read in; more than one: longer than the context
};

/// Raises usage_error for an overlap that windows of `context` tokens cannot have.
void check_overlap(const scoring& how, index_t context);

/// Raises usage_error for options that do not fit the model. Shows its progress as `label`.
[[nodiscard]] std::vector<scored_sequence> score_all(language_model& model, const executor& workers,
                                                     std::span<const sequence> sequences,
                                                     const scoring& how, const std::string& label);

/// The scores by sequence.
[[nodiscard]] std::vector<idiolect::sequence_score> by_sequence(
    std::span<const scored_sequence> scores);

}  // namespace tool
