// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "torch_trainer/weights.hpp"

#include <set>

#include "tool/errors.hpp"
#include "tool/files.hpp"
#include "tool/text.hpp"
#include "torch_trainer/gguf_file.hpp"

namespace torch_trainer {

namespace fs = std::filesystem;

namespace {

at::ScalarType scalar_of(dtype type) {
  switch (type) {
    case dtype::f16:
      return at::kHalf;
    case dtype::bf16:
      return at::kBFloat16;
    default:
      return at::kFloat;
  }
}

std::span<std::byte> bytes_of_tensor(const at::Tensor& t) {
  return {static_cast<std::byte*>(t.data_ptr()), static_cast<std::size_t>(t.nbytes())};
}

llama load_gguf(const fs::path& path) {
  gguf_file file(path);
  llama model(file.config());
  for (std::size_t i = 0; i < model.infos().size(); ++i) {
    const at::Tensor& p = model.parameters()[i];
    file.read(model.infos()[i],
              {static_cast<float*>(p.data_ptr()), static_cast<std::size_t>(p.numel())});
  }
  return model;
}

llama load_folder(const fs::path& folder) {
  const fs::path config = config_file(folder), weights = weights_file(folder);
  if (!fs::exists(weights) && fs::exists(folder / "model.safetensors.index.json")) {
    tool::fail(folder.string(), "the model is in several files; join them to model.safetensors");
  }
  llama model(
      parse_config(tool::read_file(config.string(), "a model's config.json"), config.string()));
  safetensors_reader file(weights);
  std::set<std::string> used;
  for (std::size_t i = 0; i < model.infos().size(); ++i) {
    read_array(file, model.infos()[i].name, model.parameters()[i], weights.string());
    used.insert(model.infos()[i].name);
  }
  for (const array_info& a : file.arrays()) {
    // Some writers keep a tied head as a copy of its own.
    const bool tied = a.name == "lm_head.weight" && model.config().tie_word_embeddings;
    if (!used.contains(a.name) && !tied) {
      tool::fail(weights.string(), "the array \"" + tool::printable(a.name) +
                                       "\" has no place in this program's model");
    }
  }
  return model;
}

}  // namespace

llama load_model(const fs::path& path) {
  const at::NoGradGuard no_grad;
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) return load_folder(path);
  if (!fs::exists(path, ignored)) {
    tool::fail(path.string(), "expected a GGUF file or a folder with a model, found none");
  }
  return load_gguf(path);
}

void read_array(safetensors_reader& file, const std::string& name, const at::Tensor& to,
                const std::string& place) {
  const array_info* const array = file.find(name);
  if (array == nullptr) tool::fail(place, "the array \"" + name + "\" is missing");
  if (array->shape != to.sizes().vec()) {
    const auto shape_text = [](const auto& shape) {
      std::string text;
      for (const auto d : shape) text += (text.empty() ? "" : ", ") + std::to_string(d);
      return "[" + text + "]";
    };
    tool::fail(place, "the array \"" + name + "\": expected the shape " + shape_text(to.sizes()) +
                          ", found " + shape_text(array->shape));
  }
  if (array->type == dtype::f32) return file.read(*array, bytes_of_tensor(to));
  const at::Tensor stored = at::empty(to.sizes(), at::TensorOptions(scalar_of(array->type)));
  file.read(*array, bytes_of_tensor(stored));
  to.copy_(stored);
}

void append_array(safetensors_writer& file, const at::Tensor& from, dtype type) {
  file.append(bytes_of_tensor(from.detach().contiguous().to(scalar_of(type))));
}

void save_model(const llama& model, const fs::path& folder, dtype type) {
  const at::NoGradGuard no_grad;
  std::vector<array_info> arrays;
  for (const auto& p : model.infos()) {
    arrays.push_back({.name = p.name, .type = type, .shape = p.shape, .begin = 0, .end = 0});
  }
  for (const at::Tensor& p : model.parameters()) {
    if (p.isfinite().all().item<bool>()) continue;
    tool::fail(folder.string(),
               "nothing is written: the weights are no longer finite, training diverged");
  }
  safetensors_writer file(weights_file(folder), std::move(arrays), {{"format", "pt"}});
  for (const at::Tensor& p : model.parameters()) append_array(file, p, type);
  files::replacement config(config_file(folder));
  config.write(to_json(model.config(), type == dtype::f32   ? "float32"
                                       : type == dtype::f16 ? "float16"
                                                            : "bfloat16"));
  files::commit_together(file, config);
}

}  // namespace torch_trainer
