// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "tool/language_model.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <utility>

#include "tiny_llama/checkpoint.hpp"
#include "tiny_llama/model.hpp"
#include "tool/errors.hpp"
#include "tool/gguf_model.hpp"

namespace tool {

namespace fs = std::filesystem;

namespace {

/// What the readers of the formats cannot say: that the name itself is wrong.
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
token_id end_of(const tiny_llama::tokenizer& t) {
  return t.has_byte_pieces() ? tiny_llama::begin_token : tiny_llama::end_token;
}

void check_end(const model_choice& choice, index_t vocab_size) {
  if (!choice.end) return;
  require_usage(*choice.end >= 0 && *choice.end < vocab_size,
                "--end-token: expected a token id from 0 to " + std::to_string(vocab_size - 1) +
                    ", found " + std::to_string(*choice.end));
}

/// The files of a llama2.c model: those given, or the default model's.
std::pair<std::string, std::string> llama2c_files(const model_choice& choice) {
  require_usage(choice.model.empty() == choice.tokenizer.empty(),
                choice.model.empty()
                    ? "--tokenizer needs --model: name the checkpoint it belongs to"
                    : "--model needs --tokenizer: name the vocabulary it was "
                      "trained with (only a GGUF brings its own)");
  if (!choice.model.empty()) return {choice.model, choice.tokenizer};
  const std::string folder = default_model_folder();
  require_usage(!folder.empty(), "this build has no default model: give --model");
  std::error_code ignored;
  for (const char* name : {"/model.bin", "/tokenizer.bin"}) {
    require_usage(fs::exists(folder + name, ignored),
                  "the default model is no longer in " + folder + ": give --model");
  }
  return {folder + "/model.bin", folder + "/tokenizer.bin"};
}

/// Said with the model: a wrong base is wrong numbers, and no error.
std::string shown_rope(double base, tiny_llama::rope_origin origin) {
  char digits[32];
  std::snprintf(digits, sizeof digits, "%.10g", base);
  const char* const from = origin == tiny_llama::rope_origin::tables ? "the file's tables"
                           : origin == tiny_llama::rope_origin::convention
                               ? "llama2.c's, the file does not say"
                               : "--rope-base";
  return std::string("RoPE base ") + digits + " (" + from + ")";
}

loaded_model load_llama2c(const model_choice& choice) {
  const auto [path, vocabulary] = llama2c_files(choice);
  check_file(path, "a model (a llama2.c checkpoint or a GGUF)");
  check_file(vocabulary, "a tokenizer (a llama2.c vocabulary)");
  const auto gguf_only = [](const char* option, bool given) {
    require_usage(!given, std::string(option) + " belongs to a GGUF model");
  };
  gguf_only("--context", choice.context.has_value());
  gguf_only("--batch", choice.batch.has_value());
  gguf_only("--gpu-layers", choice.gpu_layers.has_value());
  require_usage(!choice.rope_base || (*choice.rope_base > 1 && *choice.rope_base <= 1e12),
                "--rope-base: expected a number above 1, at most 1e12, such as 10000 or 500000");
  auto [weights, rope] = tiny_llama::open_checkpoint<float>(path, choice.rope_base);
  if (!std::ranges::all_of(weights.flat(), [](float x) { return std::isfinite(x); })) {
    fail(path,
         "has weights that are not finite numbers: the file is damaged, or the model "
         "diverged in training");
  }
  auto tokenizer = tiny_llama::read_tokenizer(vocabulary);
  if (tokenizer.vocab_size() != weights.shape().vocab_size) {
    fail(vocabulary, "expected the " + std::to_string(weights.shape().vocab_size) +
                         " pieces of the model " + path + ", found " +
                         std::to_string(tokenizer.vocab_size()) +
                         "; a model only works with the tokenizer it was trained with");
  }
  check_end(choice, tokenizer.vocab_size());
  const token_id end = choice.end ? static_cast<token_id>(*choice.end) : end_of(tokenizer);
  std::vector<token_id> ends = {end};
  if (tokenizer.has_byte_pieces() && end == tiny_llama::begin_token) {
    ends.push_back(tiny_llama::end_token);
  }
  const auto shape = weights.shape();
  const index_t parameters = weights.size();
  const auto whole = std::make_shared<const llama2c_model>(
      llama2c_model{std::move(weights), std::move(tokenizer), std::move(ends)});
  const std::shared_ptr<const tiny_llama::tokenizer> pieces(whole, &whole->tokenizer);
  return {.path = path,
          .tokenizer_path = vocabulary,
          .parameters = parameters,
          .vocab_size = shape.vocab_size,
          .context_size = shape.context_size,
          .tokenizer = idiolect::any_tokenizer(std::shared_ptr(pieces)),
          .end = end,
          .begin = tiny_llama::begin_token,
          .keep_unknown = choice.keep_unknown,
          .chat = false,
          .system = {},
          .llama2c = whole,
          .rope = shown_rope(shape.rope_base, rope),
          .open = [whole](const executor& workers,
                          const demand&) { return whole->open(whole->weights, workers); },
          .spelled =
              [pieces](token_id t) { return pieces->pieces()[static_cast<std::size_t>(t)].bytes; },
          .decode = [pieces](std::span<const token_id> t) { return pieces->decode(t); }};
}

void take_chat(const model_choice& choice, loaded_model& m) {
  require_usage(choice.chat || !choice.system,
                "--system belongs to --chat: it is a turn of a conversation");
  if (!choice.chat) return;
  require_usage(m.tokenizer.can_chat(),
                "--chat: a llama2.c model has no template for conversations (a GGUF of a chat "
                "model has one)");
  m.chat = true;
  m.system = choice.system.value_or("");
  std::vector<idiolect::chat_turn> turns;
  if (!m.system.empty()) turns.push_back({"system", m.system});
  turns.push_back({"user", "?"});
  std::vector<token_id> tokens;
  try {
    m.tokenizer.encode_chat(turns, tokens);
  } catch (const idiolect::error& e) {
    throw usage_error("--chat does not work with " + choice.model + ": " + message_of(e));
  }
}

}  // namespace

language_model llama2c_model::open(const tiny_llama::weights<float>& others,
                                   const executor& workers) const {
  tiny_llama::model_options options;
  options.end_tokens = end_tokens;
  return language_model(tiny_llama::model<float, executor>(others, options, workers));
}

const llama2c_model& loaded_model::trainable(const std::string& command) const {
  require_usage(llama2c != nullptr,
                command + " trains, and llama.cpp cannot: a model like " + path +
                    " is trained before it is made a GGUF, by examples/torch_trainer. With a GGUF "
                    "score, sample and rewrite work");
  return *llama2c;
}

std::string default_model_folder() {
#if defined(IDIOLECT_DEFAULT_MODEL_DIR)
  return IDIOLECT_DEFAULT_MODEL_DIR;
#else
  return {};
#endif
}

bool is_gguf(const model_choice& choice) {
  std::error_code ignored;
  if (choice.model.empty() || !fs::is_regular_file(choice.model, ignored)) return false;
  char magic[4] = {};
  std::ifstream(choice.model, std::ios::binary).read(magic, sizeof magic);
  return std::string_view(magic, sizeof magic) == "GGUF";
}

std::vector<named_file> files_of(const model_choice& choice) {
  if (is_gguf(choice)) {
    std::vector<named_file> all = {{"--model", choice.model}};
    // One that is split (NAME-00001-of-00003.gguf) is read with its other parts.
    const std::string& name = choice.model;
    int part = 0;
    int parts = 0;
    constexpr std::size_t tail = 20;  // -00001-of-00003.gguf
    if (name.size() > tail &&
        std::sscanf(name.c_str() + name.size() - tail, "-%5d-of-%5d.gguf", &part, &parts) == 2) {
      for (int i = 1; i <= std::min(parts, 99999); ++i) {
        char ending[32];
        std::snprintf(ending, sizeof ending, "-%05d-of-%05d.gguf", i, parts);
        all.push_back({"--model", name.substr(0, name.size() - tail) + ending});
      }
    }
    return all;
  }
  const auto [path, vocabulary] = llama2c_files(choice);
  const bool standard = choice.model.empty();
  return {{standard ? "the default model" : "--model", path},
          {standard ? "the default model's vocabulary" : "--tokenizer", vocabulary}};
}

loaded_model load(const model_choice& choice) {
  loaded_model m = is_gguf(choice) ? load_gguf(choice) : load_llama2c(choice);
  if (m.llama2c == nullptr) {
    check_end(choice, m.vocab_size);
    if (choice.end) m.end = static_cast<token_id>(*choice.end);
  }
  take_chat(choice, m);
  return m;
}

executor make_executor(const model_choice& choice) {
  require_usage(choice.threads >= 0 && choice.threads <= 1024,
                "--threads: expected a number from 1 to 1024 (0: one a processor), found " +
                    std::to_string(choice.threads));
  return executor(static_cast<int>(choice.threads));
}

}  // namespace tool
