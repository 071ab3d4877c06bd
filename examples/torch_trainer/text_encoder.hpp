// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the program asks of a tokenizer, so that only one file knows llama.cpp.

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <idiolect/core/types.hpp>
#include <idiolect/model/tokenizer.hpp>

namespace torch_trainer {

using idiolect::token_id;

class text_encoder {
 public:
  virtual ~text_encoder() = default;

  [[nodiscard]] virtual idiolect::index_t vocab_size() const = 0;
  /// Whether the model has a chat template.
  [[nodiscard]] virtual bool is_chat() const = 0;
  /// Appends the turns in the model's template, up to where the assistant begins to speak.
  virtual void encode_chat(std::span<const idiolect::chat_turn> turns,
                           std::vector<token_id>& out) const = 0;
  /// Appends what stands in front of a text (a begin token), then the text.
  virtual void encode(std::string_view text, std::vector<token_id>& out) const = 0;
  /// Appends the text alone.
  virtual void encode_text(std::string_view text, std::vector<token_id>& out) const = 0;
  /// The token that closes an answer: the end of the turn of a chat model, else the end of a text.
  [[nodiscard]] virtual token_id end() const = 0;
  virtual void append_piece(token_id token, std::string& bytes) const = 0;
};

/// The tokenizer in a GGUF file; its weights are not read. Raises input_error, also in a build
/// without llama.cpp.
[[nodiscard]] std::unique_ptr<text_encoder> open_text_encoder(const std::filesystem::path& path);

}  // namespace torch_trainer
