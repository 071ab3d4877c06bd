// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Scores as JSON, as tables and in plain words. The words follow from the numbers alone.

#include <span>
#include <string>
#include <vector>

#include <idiolect/cll/comparison.hpp>
#include <idiolect/cll/corpus.hpp>
#include <idiolect/stats/sampling.hpp>
#include <nlohmann/json_fwd.hpp>

#include "tool/language_model.hpp"
#include "tool/scoring.hpp"

namespace tool {

/// A text that has been scored.
struct scored_text {
  std::string name;  ///< the file it is from
  std::vector<sequence> sequences;
  std::vector<scored_sequence> scores;
  std::vector<idiolect::sequence_score> by_sequence;
  idiolect::corpus_summary summary;
  index_t longer_than_context = 0;  ///< sequences read in windows

  scored_text(std::string from, std::vector<sequence> read, std::vector<scored_sequence> result);
};

[[nodiscard]] nlohmann::ordered_json to_json(const idiolect::sequence_score& s);
[[nodiscard]] nlohmann::ordered_json to_json(const idiolect::corpus_comparison& c);
[[nodiscard]] nlohmann::ordered_json to_json(const idiolect::sampler_options& s);

/// Name and version of the tool, the command and the model: what every result begins with.
[[nodiscard]] nlohmann::ordered_json heading(const std::string& command, const loaded_model& m);

/// All of a scored text: the totals at the top, then a list of the sequences.
[[nodiscard]] nlohmann::ordered_json to_json(const scored_text& t);

/// One object a line for each scored token.
[[nodiscard]] std::string token_lines(const scored_text& t, const loaded_model& m);

/// JSON as text, whatever bytes its strings have.
[[nodiscard]] std::string dump(const nlohmann::ordered_json& j, int indent = -1);

/// "stories260K.bin, 260032 parameters, 512 pieces, context 512", and whether it is a chat.
[[nodiscard]] std::string describe(const loaded_model& m);

/// The totals side by side.
[[nodiscard]] std::string totals_table(std::span<const scored_text* const> texts);

/// Separations, one score a line.
[[nodiscard]] std::string comparison_table(const idiolect::corpus_comparison& c, double confidence);

/// What mean CLL and z of a text mean. `source` is who is asked: "the model", "the sampler".
[[nodiscard]] std::string verdict(const idiolect::sequence_score& s, const std::string& source);

/// Which of two texts looks more like the model's own, and what CLL adds to perplexity.
[[nodiscard]] std::string verdict(const idiolect::corpus_comparison& c, const std::string& first,
                                  const std::string& second);

}  // namespace tool
