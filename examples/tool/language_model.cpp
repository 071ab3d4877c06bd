// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "tool/language_model.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <utility>

#include "tiny_llama/checkpoint.hpp"
#include "tool/errors.hpp"

namespace tool {

namespace fs = std::filesystem;

namespace {

/// What the readers of the two formats cannot say: that the name itself is wrong.
void check_file(const std::string& path, const std::string& what) {
  std::error_code ignored;
  const fs::file_status status = fs::status(path, ignored);
  if (!fs::exists(status)) fail(path, "expected " + what + ", found no such file");
  if (!fs::is_regular_file(status)) {
    fail(path, "expected " + what + ", found " +
                   (fs::is_directory(status) ? "a folder; name the file in it"
                                             : "a device or a pipe; give a regular file"));
  }
}

/// In llama2.c a text ends where the next one begins; a vocabulary of characters has a real end.
token_id end_of(const tiny_llama::tokenizer& t, const model_choice& choice) {
  if (!choice.end) return t.has_byte_pieces() ? tiny_llama::begin_token : tiny_llama::end_token;
  require_usage(*choice.end >= 0 && *choice.end < t.vocab_size(),
                "--end-token: expected a token id from 0 to " + std::to_string(t.vocab_size() - 1) +
                    ", found " + std::to_string(*choice.end));
  return static_cast<token_id>(*choice.end);
}

}  // namespace

std::string default_model_folder() {
#if defined(IDIOLECT_DEFAULT_MODEL_DIR)
  return IDIOLECT_DEFAULT_MODEL_DIR;
#else
  return {};
#endif
}

loaded_model load(const model_choice& choice) {
  model_choice files = choice;
  require_usage(files.model.empty() == files.tokenizer.empty(),
                files.model.empty() ? "--tokenizer needs --model: name the checkpoint it belongs to"
                                    : "--model needs --tokenizer: name the vocabulary it was "
                                      "trained with");
  if (files.model.empty()) {
    const std::string folder = default_model_folder();
    require_usage(!folder.empty(), "this build has no default model: give --model and --tokenizer");
    files.model = folder + "/model.bin";
    files.tokenizer = folder + "/tokenizer.bin";
    std::error_code ignored;
    require_usage(fs::exists(files.model, ignored) && fs::exists(files.tokenizer, ignored),
                  "the default model is no longer in " + folder + ": give --model and --tokenizer");
  }
  check_file(files.model, "a model (a llama2.c checkpoint)");
  check_file(files.tokenizer, "a tokenizer (a llama2.c vocabulary)");
  auto weights = tiny_llama::read_checkpoint<float>(files.model);
  if (!std::ranges::all_of(weights.flat(), [](float x) { return std::isfinite(x); })) {
    fail(files.model,
         "has weights that are not finite numbers: the file is damaged, or the model "
         "diverged in training");
  }
  auto tokenizer = tiny_llama::read_tokenizer(files.tokenizer);
  if (tokenizer.vocab_size() != weights.shape().vocab_size) {
    fail(files.tokenizer, "expected the " + std::to_string(weights.shape().vocab_size) +
                              " pieces of the model " + files.model + ", found " +
                              std::to_string(tokenizer.vocab_size()) +
                              "; a model only works with the tokenizer it was trained with");
  }
  const token_id end = end_of(tokenizer, files);
  return {std::move(files.model),
          std::move(files.tokenizer),
          std::move(weights),
          std::move(tokenizer),
          end,
          files.keep_unknown};
}

language_model loaded_model::open(const tiny_llama::weights<float>& others,
                                  const executor& workers) const {
  tiny_llama::model_options options;
  options.end_tokens = {end};
  if (tokenizer.has_byte_pieces() && end == tiny_llama::begin_token) {
    options.end_tokens.push_back(tiny_llama::end_token);
  }
  return language_model(others, options, workers);
}

executor make_executor(const model_choice& choice) {
  require_usage(choice.threads >= 0 && choice.threads <= 1024,
                "--threads: expected a number from 1 to 1024 (0: one a processor), found " +
                    std::to_string(choice.threads));
  return executor(static_cast<int>(choice.threads));
}

}  // namespace tool
