// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

/// \file
/// Tiny Llamas with random weights, in LibTorch and in Eigen, and texts to train them on.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include <idiolect/core/philox.hpp>

#include "tiny_llama/weights.hpp"
#include "torch_trainer/examples.hpp"
#include "torch_trainer/llama.hpp"

// LibTorch has a CHECK of its own, which ends the program: Catch2's comes after it.
#undef CHECK
#include "support/catch.hpp"

namespace idiolect::test {

using torch_trainer::role;

inline tiny_llama::config tiny_shape(bool tied = true) {
  return {.dim = 24,
          .hidden_dim = 40,
          .layers = 2,
          .heads = 6,
          .kv_heads = 2,
          .vocab_size = 29,
          .context_size = 32,
          .tied = tied};
}

inline tiny_llama::weights<float> tiny_weights(bool tied = true) {
  return tiny_llama::random_weights<float>(tiny_shape(tied), 11,
                                           {.embedding_deviation = 0.5, .gain = 1.0});
}

inline torch_trainer::llama_config config_of(const tiny_llama::config& c) {
  return {.hidden_size = c.dim,
          .intermediate_size = c.hidden_dim,
          .num_hidden_layers = c.layers,
          .num_attention_heads = c.heads,
          .num_key_value_heads = c.kv_heads,
          .vocab_size = c.vocab_size,
          .max_position_embeddings = c.context_size,
          .rms_norm_eps = tiny_llama::norm_epsilon,
          .rope_theta = tiny_llama::usual_rope_base,
          .tie_word_embeddings = c.tied,
          .bos_token_id = 1,
          .eos_token_id = 2};
}

/// A parameter's values in the other layout: tiny_llama, as llama2.c, rotates neighbours.
inline std::vector<float> in_halves(std::vector<float> rows, index_t head_dim, index_t cols) {
  const std::vector<float> from = rows;
  const index_t n = static_cast<index_t>(rows.size()) / cols;
  for (index_t r = 0; r < n; ++r) {
    const index_t in_head = r % head_dim, first = r - in_head;
    const index_t old =
        first + (in_head < head_dim / 2 ? 2 * in_head : 2 * (in_head - head_dim / 2) + 1);
    std::copy_n(from.begin() + old * cols, cols, rows.begin() + r * cols);
  }
  return rows;
}

/// Parameter `info` of layer `layer` of a model in Eigen, in LibTorch's layout.
inline std::vector<float> values_of(const tiny_llama::weights<float>& w,
                                    const torch_trainer::parameter_info& info, index_t layer) {
  using tiny_llama::tensor;
  constexpr tensor kinds[] = {
      tensor::attention_norm,   tensor::query,           tensor::key,        tensor::value,
      tensor::attention_output, tensor::ffn_norm,        tensor::ffn_gate,   tensor::ffn_up,
      tensor::ffn_down,         tensor::token_embedding, tensor::final_norm, tensor::head};
  const auto view = w.at(kinds[static_cast<std::size_t>(info.what)], layer);
  std::vector<float> values(view.data(), view.data() + view.rows() * view.cols());
  if (info.what == role::query || info.what == role::key) {
    values = in_halves(std::move(values), w.shape().head_size(), view.cols());
  }
  return values;
}

inline index_t layer_of(std::size_t parameter, const tiny_llama::config& c) {
  const auto l = (static_cast<index_t>(parameter) - 1) / torch_trainer::roles_in_layer;
  return parameter == 0 || l >= c.layers ? 0 : l;
}

inline torch_trainer::llama in_torch(const tiny_llama::weights<float>& w) {
  torch_trainer::llama model(config_of(w.shape()));
  for (std::size_t i = 0; i < model.infos().size(); ++i) {
    const auto values = values_of(w, model.infos()[i], layer_of(i, w.shape()));
    REQUIRE(static_cast<index_t>(values.size()) == model.parameters()[i].numel());
    std::ranges::copy(values, static_cast<float*>(model.parameters()[i].data_ptr()));
  }
  return model;
}

/// Random texts; the first third of each is a prompt.
inline torch_trainer::example_set random_texts(std::size_t n, index_t vocab_size = 29) {
  torch_trainer::example_set set;
  for (std::size_t i = 0; i < n; ++i) {
    const philox draws{5, i};
    torch_trainer::example e;
    const std::size_t length = 6 + draws.below(12, 0);
    for (std::size_t k = 0; k < length; ++k) {
      e.tokens.push_back(
          static_cast<token_id>(draws.below(static_cast<std::uint64_t>(vocab_size), 2 * k + 1)));
      const auto next =
          static_cast<token_id>(draws.below(static_cast<std::uint64_t>(vocab_size), 2 * k + 3));
      e.targets.push_back(k < length / 3 ? ignored_target : next);
      e.trained += k < length / 3 ? 0 : 1;
    }
    set.examples.push_back(std::move(e));
  }
  return set;
}

inline at::Tensor row_of(const std::vector<token_id>& tokens) {
  const at::Tensor t = at::empty({1, static_cast<std::int64_t>(tokens.size())},
                                 at::TensorOptions().dtype(at::kLong));
  std::ranges::copy(tokens, static_cast<std::int64_t*>(t.data_ptr()));
  return t;
}

inline double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

inline bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  return a.sizes() == b.sizes() && std::memcmp(a.data_ptr(), b.data_ptr(), a.nbytes()) == 0;
}

}  // namespace idiolect::test
