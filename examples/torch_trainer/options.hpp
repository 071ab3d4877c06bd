// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The command line.

#include <CLI/CLI.hpp>
#include <string>

#include "torch_trainer/examples.hpp"
#include "torch_trainer/safetensors.hpp"
#include "torch_trainer/training.hpp"

namespace torch_trainer {

struct options {
  std::string model;
  std::string tokenizer;  ///< empty: the model's, if that is a GGUF file
  std::string train;
  std::string eval;
  std::string out;
  std::string resume;
  index_t threads = 0;     ///< 0: LibTorch's choice
  index_t eval_every = 0;  ///< steps; 0: before and after only
  index_t save_every = 0;  ///< steps; 0: no state is written
  index_t stop_after = 0;  ///< steps in this run; 0: all
  index_t log_every = 10;
  index_t samples = 0;  ///< prompts answered at the end
  dtype stored = dtype::f32;
  reading how_to_read;
  training how;
};

/// Adds the options to `app`, which fills in `o` when it parses.
void add_options(CLI::App& app, options& o);

/// What CLI11 does not check; makes the folder for the results. Raises usage_error, also where a
/// result would replace an input, and input_error where nothing can be written.
void check(options& o);

}  // namespace torch_trainer
