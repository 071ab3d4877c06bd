// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "torch_trainer/config.hpp"

#include <cmath>
#include <nlohmann/json.hpp>

#include "tool/errors.hpp"
#include "tool/json_lines.hpp"

namespace torch_trainer {

namespace {

using nlohmann::json;

/// The largest size that is believed: past it a file is broken, not large.
constexpr index_t most = index_t{1} << 30;

index_t count_field(const json& object, const char* name, const std::string& place) {
  if (!object.contains(name)) tool::fail(place, std::string("\"") + name + "\" is missing");
  const json& value = object.at(name);
  if (!value.is_number_integer() || value < 1 || value > most) {
    tool::fail(place, std::string("\"") + name + "\": expected a whole number from 1, found " +
                          value.dump());
  }
  return value.get<index_t>();
}

double number_field(const json& object, const char* name, double fallback,
                    const std::string& place) {
  if (!object.contains(name) || object.at(name).is_null()) return fallback;
  const json& value = object.at(name);
  if (!value.is_number()) {
    tool::fail(place, std::string("\"") + name + "\": expected a number, found " + value.dump());
  }
  return value.get<double>();
}

bool flag_field(const json& object, const char* name, const std::string& place) {
  if (!object.contains(name) || object.at(name).is_null()) return false;
  const json& value = object.at(name);
  if (!value.is_boolean()) {
    tool::fail(place,
               std::string("\"") + name + "\": expected true or false, found " + value.dump());
  }
  return value.get<bool>();
}

/// Newer files may hold a list of end tokens: its first is as good as any.
std::optional<token_id> token_field(const json& object, const char* name) {
  if (!object.contains(name)) return std::nullopt;
  const json& value = object.at(name);
  const json& token = value.is_array() && !value.empty() ? value.front() : value;
  if (!token.is_number_integer() || token < 0 || token > most) return std::nullopt;
  return token.get<token_id>();
}

/// The base of the positions, which newer files keep in an object of its own.
double read_rope(const json& object, const std::string& place) {
  const auto plain = [&](const json& rope) {
    for (const char* name : {"rope_type", "type"}) {
      if (rope.contains(name) && rope.at(name) != "default") {
        tool::fail(place, "positions are scaled (" + rope.at(name).dump() +
                              "), which this program does not compute");
      }
    }
  };
  if (object.contains("rope_scaling") && object.at("rope_scaling").is_object()) {
    plain(object.at("rope_scaling"));
  }
  const double theta = number_field(object, "rope_theta", 10000, place);
  if (!object.contains("rope_parameters") || !object.at("rope_parameters").is_object()) {
    return theta;
  }
  plain(object.at("rope_parameters"));
  return number_field(object.at("rope_parameters"), "rope_theta", theta, place);
}

}  // namespace

void validate(const llama_config& c, const std::string& place) {
  const auto expect = [&](bool holds, const std::string& message) {
    if (!holds) tool::fail(place, message);
  };
  const std::pair<const char*, index_t> sizes[] = {
      {"hidden_size", c.hidden_size},
      {"intermediate_size", c.intermediate_size},
      {"num_hidden_layers", c.num_hidden_layers},
      {"num_attention_heads", c.num_attention_heads},
      {"num_key_value_heads", c.num_key_value_heads},
      {"vocab_size", c.vocab_size},
      {"max_position_embeddings", c.max_position_embeddings}};
  for (const auto& [name, size] : sizes) {
    expect(size >= 1 && size <= most, std::string(name) + " is " + std::to_string(size));
  }
  expect(c.hidden_size % c.num_attention_heads == 0,
         "hidden_size " + std::to_string(c.hidden_size) + " is no multiple of " +
             std::to_string(c.num_attention_heads) + " heads");
  expect(c.head_dim() % 2 == 0,
         "a head of " + std::to_string(c.head_dim()) + " numbers cannot be rotated in pairs");
  expect(c.num_attention_heads % c.num_key_value_heads == 0,
         std::to_string(c.num_attention_heads) + " heads are no multiple of " +
             std::to_string(c.num_key_value_heads) + " key-value heads");
  expect(c.rms_norm_eps > 0 && c.rms_norm_eps < 1,
         "rms_norm_eps: expected a number between 0 and 1");
  expect(c.rope_theta > 0 && std::isfinite(c.rope_theta), "rope_theta: expected a number above 0");
}

llama_config parse_config(const std::string& text, const std::string& place) {
  const json object = tool::parse_object(text, place, R"({"model_type": "llama"})");
  if (!object.contains("model_type") || object.at("model_type") != "llama") {
    tool::fail(place, "expected \"model_type\": \"llama\", found " +
                          (object.contains("model_type") ? object.at("model_type").dump()
                                                         : std::string("none")));
  }
  if (object.contains("hidden_act") && object.at("hidden_act") != "silu") {
    tool::fail(place, "\"hidden_act\": expected \"silu\", found " + object.at("hidden_act").dump());
  }
  for (const char* bias : {"attention_bias", "mlp_bias"}) {
    if (flag_field(object, bias, place)) {
      tool::fail(place, std::string("\"") + bias + "\" is set: this program has no biases");
    }
  }
  llama_config c;
  c.hidden_size = count_field(object, "hidden_size", place);
  c.intermediate_size = count_field(object, "intermediate_size", place);
  c.num_hidden_layers = count_field(object, "num_hidden_layers", place);
  c.num_attention_heads = count_field(object, "num_attention_heads", place);
  c.num_key_value_heads = object.contains("num_key_value_heads")
                              ? count_field(object, "num_key_value_heads", place)
                              : c.num_attention_heads;
  c.vocab_size = count_field(object, "vocab_size", place);
  c.max_position_embeddings = count_field(object, "max_position_embeddings", place);
  c.rms_norm_eps = number_field(object, "rms_norm_eps", 1e-6, place);
  c.rope_theta = read_rope(object, place);
  c.tie_word_embeddings = flag_field(object, "tie_word_embeddings", place);
  c.bos_token_id = token_field(object, "bos_token_id");
  c.eos_token_id = token_field(object, "eos_token_id");
  validate(c, place);
  if (object.contains("head_dim") && !object.at("head_dim").is_null() &&
      object.at("head_dim") != c.head_dim()) {
    tool::fail(place, "\"head_dim\" is " + object.at("head_dim").dump() +
                          ": expected hidden_size / num_attention_heads, " +
                          std::to_string(c.head_dim()));
  }
  return c;
}

std::string to_json(const llama_config& c, const std::string& dtype) {
  nlohmann::ordered_json out = {{"architectures", {"LlamaForCausalLM"}},
                                {"model_type", "llama"},
                                {"hidden_act", "silu"},
                                {"hidden_size", c.hidden_size},
                                {"intermediate_size", c.intermediate_size},
                                {"num_hidden_layers", c.num_hidden_layers},
                                {"num_attention_heads", c.num_attention_heads},
                                {"num_key_value_heads", c.num_key_value_heads},
                                {"head_dim", c.head_dim()},
                                {"vocab_size", c.vocab_size},
                                {"max_position_embeddings", c.max_position_embeddings},
                                {"rms_norm_eps", c.rms_norm_eps},
                                {"rope_theta", c.rope_theta},
                                {"rope_scaling", nullptr},
                                {"tie_word_embeddings", c.tie_word_embeddings},
                                {"attention_bias", false},
                                {"mlp_bias", false},
                                {"torch_dtype", dtype}};
  if (c.bos_token_id) out["bos_token_id"] = *c.bos_token_id;
  if (c.eos_token_id) out["eos_token_id"] = *c.eos_token_id;
  return out.dump(2) + "\n";
}

std::vector<parameter_info> parameters_of(const llama_config& c) {
  const index_t d = c.hidden_size, f = c.intermediate_size;
  const index_t kv = c.num_key_value_heads * c.head_dim();
  std::vector<parameter_info> all;
  all.push_back(
      {role::embedding, "model.embed_tokens.weight", "token_embd.weight", {c.vocab_size, d}});
  for (index_t l = 0; l < c.num_hidden_layers; ++l) {
    const std::string hf = "model.layers." + std::to_string(l) + ".";
    const std::string gguf = "blk." + std::to_string(l) + ".";
    const auto add = [&](role what, const std::string& name, const std::string& gguf_name,
                         std::vector<index_t> shape) {
      all.push_back({what, hf + name + ".weight", gguf + gguf_name + ".weight", std::move(shape)});
    };
    add(role::attention_norm, "input_layernorm", "attn_norm", {d});
    add(role::query, "self_attn.q_proj", "attn_q", {d, d});
    add(role::key, "self_attn.k_proj", "attn_k", {kv, d});
    add(role::value, "self_attn.v_proj", "attn_v", {kv, d});
    add(role::attention_output, "self_attn.o_proj", "attn_output", {d, d});
    add(role::ffn_norm, "post_attention_layernorm", "ffn_norm", {d});
    add(role::ffn_gate, "mlp.gate_proj", "ffn_gate", {f, d});
    add(role::ffn_up, "mlp.up_proj", "ffn_up", {f, d});
    add(role::ffn_down, "mlp.down_proj", "ffn_down", {d, f});
  }
  all.push_back({role::final_norm, "model.norm.weight", "output_norm.weight", {d}});
  if (!c.tie_word_embeddings) {
    all.push_back({role::head, "lm_head.weight", "output.weight", {c.vocab_size, d}});
  }
  return all;
}

}  // namespace torch_trainer
