// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Compiled instead of gguf_file.cpp where ggml is not there.

#include "tool/errors.hpp"
#include "torch_trainer/gguf_file.hpp"

namespace torch_trainer {

bool reads_gguf() {
  return false;
}

gguf_file::gguf_file(const std::filesystem::path& path) : path_(path.string()) {
  tool::fail(path_,
             "this program was built without llama.cpp and reads no GGUF files; give a "
             "folder with config.json and model.safetensors");
}

void gguf_file::read(const parameter_info&, std::span<float>) {}

}  // namespace torch_trainer
