// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The weights in a GGUF file as fp32, whatever they are stored as: ggml reads the file and
// dequantises.

#include <filesystem>
#include <fstream>
#include <memory>
#include <span>
#include <string>

#include "torch_trainer/config.hpp"

struct gguf_context;

namespace torch_trainer {

/// A GGUF file of architecture `llama`.
class gguf_file {
 public:
  /// Raises input_error for another architecture, a missing number, tensors that the program would
  /// not use (biases, scaled positions) and a file that ends early.
  explicit gguf_file(const std::filesystem::path& path);

  [[nodiscard]] const llama_config& config() const noexcept { return config_; }

  /// The values of a parameter in Hugging Face's layout; `out` has its size. The file's query and
  /// key rows are stored for rotations of neighbours and are put back in the order for rotations of
  /// halves. Raises input_error for a tensor that is missing or has another shape.
  void read(const parameter_info& parameter, std::span<float> out);

 private:
  std::string path_;
  std::ifstream file_;
  std::shared_ptr<gguf_context> header_;
  llama_config config_;
};

/// Whether this build can read GGUF files; without ggml the calls above raise input_error.
[[nodiscard]] bool reads_gguf();

}  // namespace torch_trainer
