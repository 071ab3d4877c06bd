// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The tokenizer in a GGUF file, read by llama.cpp.

#include <llama.h>

#include <cstdint>
#include <cstdio>
#include <iterator>
#include <string>
#include <vector>

#include <idiolect/adapters/llama_cpp/tokenizer.hpp>

#include "tool/errors.hpp"
#include "torch_trainer/text_encoder.hpp"

namespace torch_trainer {

namespace {

/// llama.cpp's remarks on a model's file are left out, its errors are not.
void log_errors(ggml_log_level level, const char* text, void*) {
  if (level == GGML_LOG_LEVEL_ERROR) std::fputs(text, stderr);
}

using model_pointer = std::unique_ptr<llama_model, decltype(&llama_model_free)>;

model_pointer load_vocabulary(const std::filesystem::path& path) {
  llama_log_set(log_errors, nullptr);
  llama_backend_init();
  llama_model_params params = llama_model_default_params();
  params.vocab_only = true;
  params.n_gpu_layers = 0;
  model_pointer model(llama_model_load_from_file(path.string().c_str(), params), llama_model_free);
  if (!model) {
    tool::fail(path.string(), "expected a GGUF file with a tokenizer; llama.cpp cannot read it");
  }
  return model;
}

/// The token with which the model's template closes an answer, as llama.cpp writes it. (Its own end
/// of a turn is found by the spelling of tokens, and may be the end of a text.) LLAMA_TOKEN_NULL
/// without a template that it knows.
token_id closing_token(const llama_model* model, const llama_vocab* vocab) {
  const char* const format = llama_model_chat_template(model, nullptr);
  if (format == nullptr) return LLAMA_TOKEN_NULL;
  const std::string answer = "\2answer\3";  // what no template has
  const llama_chat_message turns[] = {{"user", "question"}, {"assistant", answer.c_str()}};
  std::string text(8192, '\0');
  const auto size = llama_chat_apply_template(format, turns, std::size(turns), false, text.data(),
                                              static_cast<std::int32_t>(text.size()));
  if (size < 0 || static_cast<std::size_t>(size) > text.size()) return LLAMA_TOKEN_NULL;
  text.resize(static_cast<std::size_t>(size));
  const auto found = text.find(answer);
  if (found == std::string::npos) return LLAMA_TOKEN_NULL;
  const std::string closing = text.substr(found + answer.size());
  std::vector<token_id> tokens(closing.size() + 8);
  const auto n = llama_tokenize(vocab, closing.data(), static_cast<std::int32_t>(closing.size()),
                                tokens.data(), static_cast<std::int32_t>(tokens.size()),
                                /*add_special=*/false, /*parse_special=*/true);
  for (std::int32_t i = 0; i < n; ++i) {
    if (llama_vocab_is_eog(vocab, tokens[static_cast<std::size_t>(i)])) {
      return tokens[static_cast<std::size_t>(i)];
    }
  }
  return LLAMA_TOKEN_NULL;
}

class llama_text_encoder : public text_encoder {
 public:
  explicit llama_text_encoder(const std::filesystem::path& path)
      : model_(load_vocabulary(path)), tokenizer_(model_.get()) {
    const llama_vocab* const vocab = llama_model_get_vocab(model_.get());
    is_chat_ = llama_model_chat_template(model_.get(), nullptr) != nullptr;
    end_ = closing_token(model_.get(), vocab);
    if (end_ == LLAMA_TOKEN_NULL) end_ = llama_vocab_eos(vocab);
    if (end_ == LLAMA_TOKEN_NULL) tool::fail(path.string(), "its tokenizer has no end token");
  }

  [[nodiscard]] idiolect::index_t vocab_size() const override { return tokenizer_.vocab_size(); }
  [[nodiscard]] bool is_chat() const override { return is_chat_; }
  void encode_chat(std::span<const idiolect::chat_turn> turns,
                   std::vector<token_id>& out) const override {
    tokenizer_.encode_chat(turns, out);
  }
  void encode(std::string_view text, std::vector<token_id>& out) const override {
    tokenizer_.encode(text, out);
  }
  void encode_text(std::string_view text, std::vector<token_id>& out) const override {
    tokenizer_.encode_text(text, out);
  }
  [[nodiscard]] token_id end() const override { return end_; }
  void append_piece(token_id token, std::string& bytes) const override {
    tokenizer_.append_piece(token, bytes);
  }

 private:
  model_pointer model_;
  idiolect::llama_tokenizer tokenizer_;
  bool is_chat_ = false;
  token_id end_ = -1;
};

}  // namespace

std::unique_ptr<text_encoder> open_text_encoder(const std::filesystem::path& path) {
  return std::make_unique<llama_text_encoder>(path);
}

}  // namespace torch_trainer
