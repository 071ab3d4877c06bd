// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// A host's program on llama.cpp: the tokens of a text, or what is wrong with the model.

#include <cstdio>

#include <idiolect/adapters/llama_cpp/llama_cpp.hpp>

int main(int argc, char** argv) {
  llama_model* const model =
      argc > 1 ? llama_model_load_from_file(argv[1], llama_model_default_params()) : nullptr;
  bool refused = false;
  try {
    const idiolect::llama_tokenizer pieces(model);
    std::vector<idiolect::token_id> tokens;
    pieces.encode("a text", tokens);
    for (const auto t : tokens) std::printf("%d\n", t);
  } catch (const idiolect::backend_error& e) {
    std::puts(e.what());
    refused = true;
  }
  llama_model_free(model);
  return refused == (model == nullptr) ? 0 : 1;
}
