// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "torch_trainer/gguf_file.hpp"

#include <ggml.h>
#include <gguf.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <set>
#include <vector>

#include "tool/errors.hpp"

namespace torch_trainer {

namespace {

/// The file's keys, with the types that writers are known to use.
class key_reader {
 public:
  key_reader(const gguf_context* header, std::string path)
      : header_(header), path_(std::move(path)) {}

  [[nodiscard]] bool has(const std::string& key) const {
    return gguf_find_key(header_, key.c_str()) >= 0;
  }
  [[nodiscard]] std::string text(const std::string& key) const {
    const auto id = find(key);
    if (gguf_get_kv_type(header_, id) != GGUF_TYPE_STRING) wrong(key, "a text");
    return gguf_get_val_str(header_, id);
  }
  [[nodiscard]] index_t count(const std::string& key) const {
    const auto id = find(key);
    switch (gguf_get_kv_type(header_, id)) {
      case GGUF_TYPE_UINT32:
        return gguf_get_val_u32(header_, id);
      case GGUF_TYPE_INT32:
        return gguf_get_val_i32(header_, id);
      case GGUF_TYPE_UINT64:
        return static_cast<index_t>(gguf_get_val_u64(header_, id));
      default:
        wrong(key, "one whole number");
    }
  }
  [[nodiscard]] double number(const std::string& key) const {
    const auto id = find(key);
    switch (gguf_get_kv_type(header_, id)) {
      case GGUF_TYPE_FLOAT32:
        return static_cast<double>(gguf_get_val_f32(header_, id));
      case GGUF_TYPE_FLOAT64:
        return gguf_get_val_f64(header_, id);
      default:
        wrong(key, "a number");
    }
  }

 private:
  [[nodiscard]] std::int64_t find(const std::string& key) const {
    const auto id = gguf_find_key(header_, key.c_str());
    if (id < 0) tool::fail(path_, "the key " + key + " is missing");
    return id;
  }
  [[noreturn]] void wrong(const std::string& key, const std::string& expected) const {
    const auto type = gguf_get_kv_type(header_, gguf_find_key(header_, key.c_str()));
    tool::fail(path_, key + ": expected " + expected + ", found " + gguf_type_name(type));
  }

  const gguf_context* header_;
  std::string path_;
};

/// A float of the file as the shortest decimal that is the same float: 1e-05, not 9.9999997e-06.
double shortest(double x) {
  char digits[32];  // not by printf and strtod, which write as the host's country does
  const auto end = std::to_chars(digits, digits + sizeof digits, static_cast<float>(x)).ptr;
  double same = x;
  std::from_chars(digits, end, same);
  return same;
}

llama_config read_config(const gguf_context* header, const std::string& path) {
  const key_reader keys(header, path);
  if (const std::string found = keys.text("general.architecture"); found != "llama") {
    tool::fail(path, "expected a model of architecture llama, found " + found);
  }
  if (keys.has("llama.rope.scaling.type") && keys.text("llama.rope.scaling.type") != "none") {
    tool::fail(path,
               "positions are scaled (llama.rope.scaling.type), which this program does not "
               "compute");
  }
  if (keys.has("llama.expert_count") && keys.count("llama.expert_count") > 0) {
    tool::fail(path, "the model is a mixture of experts, which this program does not compute");
  }
  llama_config c;
  c.hidden_size = keys.count("llama.embedding_length");
  c.intermediate_size = keys.count("llama.feed_forward_length");
  c.num_hidden_layers = keys.count("llama.block_count");
  c.num_attention_heads = keys.count("llama.attention.head_count");
  c.num_key_value_heads = keys.has("llama.attention.head_count_kv")
                              ? keys.count("llama.attention.head_count_kv")
                              : c.num_attention_heads;
  c.max_position_embeddings = keys.count("llama.context_length");
  c.rms_norm_eps = shortest(keys.number("llama.attention.layer_norm_rms_epsilon"));
  // Without the key llama.cpp takes 10000, too.
  c.rope_theta =
      keys.has("llama.rope.freq_base") ? shortest(keys.number("llama.rope.freq_base")) : 10000;
  c.tie_word_embeddings = gguf_find_tensor(header, "output.weight") < 0;
  const auto embedding = gguf_find_tensor(header, "token_embd.weight");
  if (embedding < 0) tool::fail(path, "the tensor token_embd.weight is missing");
  c.vocab_size = gguf_get_tensor_ne(header, embedding)[1];
  const auto token = [&](const char* key) -> std::optional<token_id> {
    if (!keys.has(key)) return std::nullopt;
    return static_cast<token_id>(keys.count(key));
  };
  c.bos_token_id = token("tokenizer.ggml.bos_token_id");
  c.eos_token_id = token("tokenizer.ggml.eos_token_id");
  validate(c, path);
  for (const char* key : {"llama.attention.key_length", "llama.attention.value_length",
                          "llama.rope.dimension_count"}) {
    if (keys.has(key) && keys.count(key) != c.head_dim()) {
      tool::fail(path, std::string(key) + " is " + std::to_string(keys.count(key)) +
                           ": expected embedding_length / head_count, " +
                           std::to_string(c.head_dim()));
    }
  }
  return c;
}

/// Rows (head, pair, half) of the file to rows (head, half, pair).
void unpermute(std::span<float> values, index_t rows, index_t cols, index_t head_dim) {
  std::vector<float> head(static_cast<std::size_t>(head_dim * cols));
  for (index_t first = 0; first < rows; first += head_dim) {
    float* const to = values.data() + first * cols;
    std::copy_n(to, head_dim * cols, head.data());
    for (index_t r = 0; r < head_dim; ++r) {
      const index_t from = r < head_dim / 2 ? 2 * r : 2 * (r - head_dim / 2) + 1;
      std::copy_n(head.data() + from * cols, cols, to + r * cols);
    }
  }
}

}  // namespace

bool reads_gguf() {
  return true;
}

gguf_file::gguf_file(const std::filesystem::path& path)
    : path_(path.string()), file_(path, std::ios::binary) {
  if (!file_) tool::fail(path_, "cannot be read");
  gguf_context* const header =
      gguf_init_from_file(path_.c_str(), {.no_alloc = true, .ctx = nullptr});
  if (header == nullptr) tool::fail(path_, "expected a GGUF file; its header cannot be read");
  header_ = std::shared_ptr<gguf_context>(header, gguf_free);
  config_ = read_config(header, path_);

  std::set<std::string> used;
  for (const auto& p : parameters_of(config_)) used.insert(p.gguf_name);
  const std::uint64_t size = std::filesystem::file_size(path);
  for (std::int64_t i = 0; i < gguf_get_n_tensors(header); ++i) {
    const std::string name = gguf_get_tensor_name(header, i);
    if (!used.contains(name)) {
      tool::fail(path_, "the tensor " + name + " has no place in this program's model");
    }
    const std::uint64_t end = gguf_get_data_offset(header) + gguf_get_tensor_offset(header, i) +
                              gguf_get_tensor_size(header, i);
    if (end > size) {
      tool::fail(path_, "the tensor " + name + " ends at byte " + std::to_string(end) + " of " +
                            std::to_string(size) + ": the file is cut off");
    }
  }
}

void gguf_file::read(const parameter_info& parameter, std::span<float> out) {
  const std::string place = path_ + ", tensor " + parameter.gguf_name;
  const auto id = gguf_find_tensor(header_.get(), parameter.gguf_name.c_str());
  if (id < 0) tool::fail(place, "is missing");
  const std::int64_t* const found = gguf_get_tensor_ne(header_.get(), id);
  std::vector<index_t> shape;  // ggml names the dimensions from the last
  for (std::size_t d = 0; d < parameter.shape.size(); ++d) shape.insert(shape.begin(), found[d]);
  const bool fits = shape == parameter.shape && found[2] == 1 && found[3] == 1 &&
                    (parameter.is_matrix() || found[1] == 1);
  if (!fits) tool::fail(place, "has another shape than the model's numbers say");

  const ggml_type type = gguf_get_tensor_type(header_.get(), id);
  std::vector<char> bytes(gguf_get_tensor_size(header_.get(), id));
  file_.clear();
  file_.seekg(static_cast<std::streamoff>(gguf_get_data_offset(header_.get()) +
                                          gguf_get_tensor_offset(header_.get(), id)));
  if (!file_.read(bytes.data(), static_cast<std::streamsize>(bytes.size()))) {
    tool::fail(place, "cannot be read to its end");
  }
  if (type == GGML_TYPE_F32) {
    std::memcpy(out.data(), bytes.data(), bytes.size());
  } else if (const auto convert = ggml_get_type_traits(type)->to_float; convert != nullptr) {
    convert(bytes.data(), out.data(), static_cast<std::int64_t>(out.size()));
  } else {
    tool::fail(place, std::string("is stored as ") + ggml_type_name(type) +
                          ", which ggml does not turn into numbers");
  }
  if (parameter.what == role::query || parameter.what == role::key) {
    unpermute(out, shape[0], shape[1], config_.head_dim());
  }
}

}  // namespace torch_trainer
