// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The model the tool works with, and how it is chosen and loaded.

#include <optional>
#include <string>

#include <idiolect/core/executor.hpp>

#include "tiny_llama/model.hpp"
#include "tiny_llama/tokenizer.hpp"
#include "tiny_llama/weights.hpp"
#include "tool/sequences.hpp"

namespace tool {

using executor = idiolect::thread_executor;
using language_model = tiny_llama::model<float, executor>;

/// Which model, and with how many threads.
struct model_choice {
  std::string model;          ///< llama2.c checkpoint; empty: the default model
  std::string tokenizer;      ///< its vocabulary; empty: the default model's
  std::optional<index_t> end;   ///< the token that closes a text, if not what the vocabulary suggests
  bool keep_unknown = false;  ///< characters outside the vocabulary become <unk>
  index_t threads = 0;          ///< 0: one a processor
};

/// Weights and vocabulary, checked against each other.
struct loaded_model {
  std::string path;
  std::string tokenizer_path;
  tiny_llama::weights<float> weights;
  tiny_llama::tokenizer tokenizer;
  token_id end;  ///< closes a text
  bool keep_unknown = false;

  /// Ready for inference.
  [[nodiscard]] language_model open(const executor& workers) const {
    return open(weights, workers);
  }

  /// Other weights of the same shape, such as these after training.
  [[nodiscard]] language_model open(const tiny_llama::weights<float>& others,
                                    const executor& workers) const;

  [[nodiscard]] encoding how_to_encode(bool add_end) const { return {end, add_end, keep_unknown}; }
};

/// What the files of the default model are called, for the help; empty if the tool was built
/// without one.
[[nodiscard]] std::string default_model_folder();

/// Raises input_error or usage_error.
[[nodiscard]] loaded_model load(const model_choice& choice);

/// Raises usage_error for a number of threads that makes no sense.
[[nodiscard]] executor make_executor(const model_choice& choice);

}  // namespace tool
