// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Compiled instead of llama_text_encoder.cpp where llama.cpp is not there.

#include "tool/errors.hpp"
#include "torch_trainer/text_encoder.hpp"

namespace torch_trainer {

std::unique_ptr<text_encoder> open_text_encoder(const std::filesystem::path& path) {
  tool::fail(path.string(),
             "this program was built without llama.cpp and has no tokenizer; give "
             "records with \"tokens\" and \"prompt_tokens\"");
}

}  // namespace torch_trainer
