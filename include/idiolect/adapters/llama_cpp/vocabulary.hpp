// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the model and the tokenizer of one llama.cpp model must agree on: how many tokens it has.

#include <string_view>

#include <llama.h>

#include <idiolect/core/error.hpp>
#include <idiolect/core/types.hpp>

namespace idiolect::detail {

/// The vocabulary of `model`. Raises backend_error, naming `argument`, where there is none.
[[nodiscard]] inline const llama_vocab* llama_vocabulary(const llama_model* model,
                                                         std::string_view argument) {
  require<backend_error>(model != nullptr, argument, "is a null pointer");
  const llama_vocab* const vocab = llama_model_get_vocab(model);
  require<backend_error>(vocab != nullptr && llama_vocab_type(vocab) != LLAMA_VOCAB_TYPE_NONE &&
                             llama_vocab_n_tokens(vocab) > 0,
                         argument, "the model's file has no vocabulary");
  return vocab;
}

/// One past the last token that stands for anything. Files pad the vocabulary to a round number
/// with tokens that are unused: their logits are columns nobody trained. O(V) at worst.
[[nodiscard]] inline index_t llama_used_tokens(const llama_vocab* vocab,
                                               std::string_view argument) {
  const auto padding = [&](token_id t) {
    const auto attributes = static_cast<unsigned>(llama_vocab_get_attr(vocab, t));
    return attributes == LLAMA_TOKEN_ATTR_UNDEFINED || (attributes & LLAMA_TOKEN_ATTR_UNUSED) != 0;
  };
  token_id size = llama_vocab_n_tokens(vocab);
  while (size > 0 && padding(size - 1)) --size;
  require<backend_error>(size > 0, argument, "all tokens of the model's vocabulary are unused");
  return size;
}

}  // namespace idiolect::detail
