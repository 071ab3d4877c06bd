// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A model from files and back: a GGUF file, or a folder with config.json and model.safetensors.

#include <filesystem>
#include <string>

#include "torch_trainer/llama.hpp"
#include "torch_trainer/model_files.hpp"
#include "torch_trainer/safetensors.hpp"

namespace torch_trainer {

/// Reads a GGUF file, or a folder in Hugging Face's form. Raises input_error that names the file
/// and what is wrong in it.
[[nodiscard]] llama load_model(const std::filesystem::path& path);

/// Writes `folder`/model.safetensors and config.json, each in one step. A 16-bit type rounds.
/// Raises input_error; files that were there then stay as they were.
void save_model(const llama& model, const std::filesystem::path& folder, dtype type);

/// Reads an array into a tensor of fp32 with the same shape, from any of the three types. Raises
/// input_error for an array that is missing or has another shape.
void read_array(safetensors_reader& file, const std::string& name, const at::Tensor& to,
                const std::string& place);

/// Appends a tensor to a file as `type`.
void append_array(safetensors_writer& file, const at::Tensor& from, dtype type);

}  // namespace torch_trainer
