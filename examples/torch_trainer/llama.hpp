// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A Llama in LibTorch's operations, fp32: RMSNorm, rotated positions in Hugging Face's layout
// (number i of a head is paired with number i + head_dim / 2), grouped key and value heads, SwiGLU.
//
//   tokens [B, T]  --hidden-->  states [B, T, D]  --head-->  logits [..., V]
//
// The two halves are apart so that logits are computed only where they are wanted.

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <span>
#include <vector>

#include "torch_trainer/config.hpp"

namespace torch_trainer {

/// Keys and values of the tokens that a text has so far, for generation. Empty at first.
struct kv_cache {
  std::vector<at::Tensor> keys;    ///< one a layer, [B, H_kv, capacity, head_dim]
  std::vector<at::Tensor> values;  ///< the same
  index_t length = 0;
};

class llama {
 public:
  /// Parameters without values, in the order of `parameters_of`.
  explicit llama(const llama_config& config);

  [[nodiscard]] const llama_config& config() const noexcept { return config_; }
  [[nodiscard]] const std::vector<parameter_info>& infos() const noexcept { return infos_; }
  [[nodiscard]] std::vector<at::Tensor>& parameters() noexcept { return parameters_; }
  [[nodiscard]] const std::vector<at::Tensor>& parameters() const noexcept { return parameters_; }

  /// The head's matrix [V, D]: the embedding itself where they are tied.
  [[nodiscard]] const at::Tensor& head() const { return parameters_.at(head_); }

  /// The states [B, T, D] after the last norm of int64 tokens [B, T], each text from position 0 on.
  /// Shorter texts are padded at their ends with any token: no earlier position sees it.
  [[nodiscard]] at::Tensor hidden(const at::Tensor& tokens) const;

  /// The same for tokens that go on where the cache ends; they are added to it. Without gradients.
  /// Raises shape_error past `max_position_embeddings`.
  [[nodiscard]] at::Tensor hidden(const at::Tensor& tokens, kv_cache& cache) const;

  /// The logits of states [..., D].
  [[nodiscard]] at::Tensor logits(const at::Tensor& states) const {
    return at::linear(states, head());
  }

 private:
  [[nodiscard]] at::Tensor forward(const at::Tensor& tokens, kv_cache* cache) const;
  [[nodiscard]] const at::Tensor& in_layer(index_t layer, role what) const {
    return parameters_[static_cast<std::size_t>(1 + layer * roles_in_layer +
                                                static_cast<index_t>(what))];
  }

  llama_config config_;
  std::vector<parameter_info> infos_;
  std::vector<at::Tensor> parameters_;
  std::size_t head_ = 0;
};

/// Attention of queries [B, H, T, d] at the last T of S positions to keys and values [B, H, S, d],
/// each to the positions up to its own, by plain products and a softmax. What LibTorch before 2.0
/// has, and what its fused operator is compared with.
[[nodiscard]] at::Tensor plain_attention(const at::Tensor& q, const at::Tensor& k,
                                         const at::Tensor& v);

/// Up to `most` tokens after `prompt`, each the most likely one, until one of `ends` comes (which
/// is not returned). O(tokens so far) a token, through a cache.
[[nodiscard]] std::vector<token_id> greedy(const llama& model, std::span<const token_id> prompt,
                                           std::span<const token_id> ends, index_t most);

}  // namespace torch_trainer
