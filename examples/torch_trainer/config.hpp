// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The shape of a Llama, as Hugging Face's config.json says it, and the list of its parameters.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <idiolect/core/types.hpp>

namespace torch_trainer {

using idiolect::index_t;
using idiolect::token_id;

/// The fields that decide what the model computes. Names are config.json's.
struct llama_config {
  index_t hidden_size = 0;
  index_t intermediate_size = 0;
  index_t num_hidden_layers = 0;
  index_t num_attention_heads = 0;
  index_t num_key_value_heads = 0;
  index_t vocab_size = 0;
  index_t max_position_embeddings = 0;
  double rms_norm_eps = 1e-5;
  double rope_theta = 10000;
  bool tie_word_embeddings = false;
  std::optional<token_id> bos_token_id;
  std::optional<token_id> eos_token_id;

  [[nodiscard]] index_t head_dim() const { return hidden_size / num_attention_heads; }

  bool operator==(const llama_config&) const = default;
};

/// Raises input_error with `place` in front for sizes that do not fit together.
void validate(const llama_config& config, const std::string& place);

/// Reads config.json. Raises input_error for a field that is missing or of another type, and for
/// what this program does not compute: biases, scaled positions, another activation.
[[nodiscard]] llama_config parse_config(const std::string& json, const std::string& place);

/// The same as a text. `dtype` is what the weights beside it are stored as ("float32").
[[nodiscard]] std::string to_json(const llama_config& config, const std::string& dtype);

/// What a parameter is. The first nine are one each a layer.
enum class role : std::uint8_t {
  attention_norm,
  query,
  key,
  value,
  attention_output,
  ffn_norm,
  ffn_gate,
  ffn_up,
  ffn_down,
  embedding,
  final_norm,
  head
};
inline constexpr index_t roles_in_layer = 9;

/// One parameter: its name in a safetensors file and in a GGUF file, and its shape, outputs first.
struct parameter_info {
  role what;
  std::string name;
  std::string gguf_name;
  std::vector<index_t> shape;

  [[nodiscard]] index_t size() const {
    index_t n = 1;
    for (const index_t d : shape) n *= d;
    return n;
  }
  [[nodiscard]] bool is_matrix() const { return shape.size() == 2; }
};

/// All of them in the order in which the program keeps them: the embedding, the layers' (in the
/// order of `role`), the last norm and, unless it is tied to the embedding, the head.
[[nodiscard]] std::vector<parameter_info> parameters_of(const llama_config& config);

}  // namespace torch_trainer
