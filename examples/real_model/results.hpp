// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the stages of examples/real_model.sh left in its folder. A stage that has not run is absent;
// a file that is there and is not what it should be raises input_error with its name.

#include <array>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <idiolect/cll/sequence.hpp>

#include "study/settings.hpp"
#include "study/statistics.hpp"

namespace real_model {

using study::json;
using study::measured;

struct scored_token {
  std::string piece;
  idiolect::token_score score;
};

/// Texts of one kind with the scores of each of their tokens.
struct corpus {
  std::vector<std::vector<scored_token>> texts;
  std::vector<idiolect::sequence_score> scores;  ///< of each text
  idiolect::sequence_score all;                  ///< of all tokens as one text

  /// Token-weighted NLL and mean phi; intervals over texts.
  [[nodiscard]] measured nll() const;
  [[nodiscard]] measured phi() const;
};

/// NLL of the same tokens under another model, less that of `before`, nats a token; over texts.
/// Raises input_error if these are not the same tokens.
[[nodiscard]] measured nll_rise(const corpus& before, const corpus& after);

/// A record of hinted decoding: accepted from the student alone (`rollout`), with the hint
/// (`hinted`), or `rejected`.
struct rewritten {
  std::string how, question, answer, reference;
  std::vector<double> lambda;        ///< the student's share for each token
  std::size_t student_from = 0;      ///< from here on the student wrote alone
  std::vector<scored_token> tokens;  ///< by the model without the hint
  idiolect::sequence_score cll;
  double reference_phi = 0;  ///< mean, of the reference
  double reference_tokens = 0;
};

/// What a loss did in its time.
struct training {
  struct step {
    double seconds = 0;  ///< since the beginning
    double nll = 0;      ///< of the batch, before the step
    double weight = 1;   ///< mean
  };
  std::vector<step> steps;
  double tokens_per_second = 0;
  std::optional<double> evaluated;  ///< NLL of the first held-out references after it, in LibTorch
};

/// Stages in order, and how long each took.
struct stage {
  std::string name;
  double seconds = 0;
};

inline constexpr std::array corpus_keys{"own", "cool", "cool-centred", "reference", "swapped"};
inline constexpr std::array model_keys{"untouched", "sft", "idft"};
inline constexpr std::array measured_keys{"reference", "own", "other"};

struct results {
  json settings;                          ///< null where there are none
  json model;                             ///< what the tool says of the model, or null
  std::map<std::string, corpus> corpora;  ///< by corpus_keys
  std::optional<std::vector<rewritten>> hinted;
  std::map<std::string, training> trainings;                    ///< sft, idft
  std::map<std::string, std::map<std::string, corpus>> models;  ///< by model_keys, measured_keys
  std::map<std::string, std::vector<json>> answers;             ///< by model_keys; greedy
  std::vector<stage> stages;

  [[nodiscard]] const corpus* find(const std::string& key) const {
    const auto found = corpora.find(key);
    return found == corpora.end() ? nullptr : &found->second;
  }
  [[nodiscard]] const corpus* find(const std::string& model, const std::string& key) const;
};

[[nodiscard]] results read_results(const std::filesystem::path& dir);

}  // namespace real_model
