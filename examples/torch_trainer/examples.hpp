// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// From records to batches: JSON Lines to examples, examples in a new order for every pass, and some
// of them as one padded matrix of tokens.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <idiolect/core/types.hpp>

#include "torch_trainer/text_encoder.hpp"

namespace torch_trainer {

using idiolect::index_t;

/// A text and what is learned from it: `targets[i]` follows `tokens[i]`, or is ignored_target.
struct example {
  std::vector<token_id> tokens;
  std::vector<token_id> targets;
  float weight = 1;     ///< multiplies the loss of its targets
  index_t trained = 0;  ///< targets that are not ignored
};

struct reading {
  index_t max_tokens = 1024;          ///< longer texts are cut at their ends
  index_t vocab_size = 0;             ///< ids of records with "tokens" are checked with it
  bool plain = false;                 ///< no chat template, though the model has one
  std::optional<std::string> system;  ///< a turn in front of records that have none
};

struct example_set {
  std::vector<example> examples;
  index_t cut = 0;    ///< texts that were longer
  index_t empty = 0;  ///< records left out: nothing to train in the first max_tokens

  [[nodiscard]] index_t trained() const;
};

/// Reads records
///   {"question" or "prompt": TEXT, "answer" or "completion": TEXT}
///   {"messages": [{"role": TEXT, "content": TEXT}, ...]}    every turn of the assistant is trained
///   {"tokens": [ID, ...], "prompt_tokens": N}               used as they are
/// each with an optional "weight". Prompts are ignored; answers and their end tokens are trained.
/// `encoder` may be null if all records have "tokens". Raises input_error that names the line.
[[nodiscard]] example_set read_examples(const std::string& path, const text_encoder* encoder,
                                        const reading& how);

/// The numbers of the examples without end, pass after pass in a new order: number `i` is a pure
/// function of the seed, so that a run that resumes goes on where it was.
class example_order {
 public:
  example_order(std::size_t examples, std::uint64_t seed) : size_(examples), seed_(seed) {}

  [[nodiscard]] std::size_t operator[](std::uint64_t i);

 private:
  std::size_t size_;
  std::uint64_t seed_;
  std::uint64_t pass_ = 0;
  std::vector<std::size_t> order_;  ///< of `pass_`, once it was asked for
};

/// Some examples side by side, padded to the longest.
struct padded_batch {
  index_t rows = 0;
  index_t columns = 0;
  std::vector<std::int64_t> tokens;     ///< rows x columns, 0 where padded
  std::vector<std::int64_t> positions;  ///< into `tokens`: where there is a target
  std::vector<std::int64_t> targets;    ///< one a position
  std::vector<float> weights;           ///< one a position; empty if all are 1
  index_t real_tokens = 0;              ///< without padding
};

[[nodiscard]] padded_batch pad(std::span<const example* const> examples);

/// One optimiser step's examples as batches of at most `rows`: the shortest together, so that
/// little is padded. A pure function of its arguments.
[[nodiscard]] std::vector<padded_batch> split(std::vector<const example*> examples, index_t rows);

}  // namespace torch_trainer
