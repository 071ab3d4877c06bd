// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The model the tool works with, and how it is chosen and loaded: a llama2.c checkpoint with its
// vocabulary, or a GGUF file that llama.cpp runs. Which of the two a file is, its first bytes say.

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <idiolect/core/executor.hpp>
#include <idiolect/model/any_lm.hpp>

#include "tiny_llama/tokenizer.hpp"
#include "tiny_llama/weights.hpp"
#include "tool/files.hpp"

namespace tool {

using idiolect::index_t;
using idiolect::token_id;
using executor = idiolect::thread_executor;
using language_model = idiolect::any_lm;

/// Which model, with how many threads, and how it is talked to.
struct model_choice {
  std::string model;      ///< llama2.c checkpoint or GGUF; empty: the default model
  std::string tokenizer;  ///< a checkpoint's vocabulary; empty: the default model's
  std::optional<index_t>
      end;                    ///< the token that closes a text, if not what the vocabulary suggests
  bool keep_unknown = false;  ///< characters outside the vocabulary become <unk>
  index_t threads = 0;        ///< 0: one a processor

  std::optional<double> rope_base;  ///< of a checkpoint, above what the file says

  bool chat = false;                  ///< prompts are turns in the model's own template
  std::optional<std::string> system;  ///< the system's turn

  // A GGUF alone.
  std::optional<index_t> context;     ///< tokens of a stream
  std::optional<index_t> batch;       ///< tokens of a call
  std::optional<index_t> gpu_layers;  ///< computed by a GPU that llama.cpp was built for
  bool verbose = false;               ///< llama.cpp's own log is shown
};

/// What a command asks of a model that has to make room for it beforehand.
struct demand {
  index_t streams = 1;  ///< at once
  index_t tokens = 0;   ///< of the longest stream; 0: as many as the context
  index_t rows = 512;   ///< tokens of a call
};

/// A llama2.c checkpoint and its vocabulary, checked against each other: what can be trained.
struct llama2c_model {
  tiny_llama::weights<float> weights;
  tiny_llama::tokenizer tokenizer;
  std::vector<token_id> end_tokens;

  /// These weights, or others of the same shape, such as these after training.
  [[nodiscard]] language_model open(const tiny_llama::weights<float>& others,
                                    const executor& workers) const;
};

/// A model that has been read.
struct loaded_model {
  std::string path;
  std::string tokenizer_path;  ///< empty: it came with the model
  index_t parameters = 0;
  index_t vocab_size = 0;
  index_t context_size = 0;  ///< tokens of a stream
  idiolect::any_tokenizer tokenizer;
  token_id end = -1;              ///< closes a text; negative: the model has no such token
  std::optional<token_id> begin;  ///< what a text begins with that has nothing else before it
  bool keep_unknown = false;
  bool chat = false;
  std::string system;  ///< of a chat; empty: no such turn
  /// Null for a GGUF.
  std::shared_ptr<const llama2c_model> llama2c;
  std::string rope;  ///< the base of RoPE and where it is from; empty for a GGUF, which carries its

  /// Ready for inference.
  std::function<language_model(const executor&, const demand&)> open;
  /// A token as the vocabulary spells it; what has no bytes of its own (an end) by its name.
  std::function<std::string(token_id)> spelled;
  /// The bytes of a sequence.
  std::function<std::string(std::span<const token_id>)> decode;

  /// What `command` trains. Raises usage_error for a model that cannot be trained here.
  [[nodiscard]] const llama2c_model& trainable(const std::string& command) const;
};

/// What the files of the default model are called, for the help; empty if the tool was built
/// without one.
[[nodiscard]] std::string default_model_folder();

/// Whether a choice names a GGUF: by the file's first bytes. False for what cannot be read.
[[nodiscard]] bool is_gguf(const model_choice& choice);

/// The files that a choice reads, each under its option. Raises usage_error for half a choice.
[[nodiscard]] std::vector<named_file> files_of(const model_choice& choice);

/// Raises input_error or usage_error.
[[nodiscard]] loaded_model load(const model_choice& choice);

/// Raises usage_error for a number of threads that makes no sense.
[[nodiscard]] executor make_executor(const model_choice& choice);

}  // namespace tool
