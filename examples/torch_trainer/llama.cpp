// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "torch_trainer/llama.hpp"

#include <torch/version.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include <idiolect/core/error.hpp>

namespace torch_trainer {

namespace {

/// cos and sin [T, head_dim / 2] of the angles position * theta^(-2 i / head_dim).
struct rotation {
  at::Tensor cos, sin;

  rotation(const llama_config& c, index_t first, index_t count) {
    const auto fp64 = at::TensorOptions().dtype(at::kDouble);
    const at::Tensor pairs = at::arange(c.head_dim() / 2, fp64);
    const at::Tensor steps =
        at::exp(pairs * (-2 * std::log(c.rope_theta) / static_cast<double>(c.head_dim())));
    const at::Tensor angles = at::outer(at::arange(first, first + count, fp64), steps);
    cos = angles.cos().to(at::kFloat);
    sin = angles.sin().to(at::kFloat);
  }

  /// Rotates [B, H, T, head_dim].
  [[nodiscard]] at::Tensor operator()(const at::Tensor& x) const {
    const auto halves = x.chunk(2, -1);
    return at::cat({halves[0] * cos - halves[1] * sin, halves[1] * cos + halves[0] * sin}, -1);
  }
};

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& scale, double epsilon) {
  return x * at::rsqrt(x.square().mean(-1, /*keepdim=*/true) + epsilon) * scale;
}

/// [B, T, H d] as [B, H, T, d].
at::Tensor split_heads(const at::Tensor& x, index_t heads) {
  return x.view({x.size(0), x.size(1), heads, -1}).transpose(1, 2);
}

/// [B, H_kv, S, d] as [B, H, S, d]: each head is `times` heads in a row.
at::Tensor repeat_heads(const at::Tensor& x, index_t times) {
  if (times == 1) return x;
  return x.unsqueeze(2)
      .expand({x.size(0), x.size(1), times, x.size(2), x.size(3)})
      .reshape({x.size(0), x.size(1) * times, x.size(2), x.size(3)});
}

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
#if defined(TORCH_VERSION_MAJOR) && TORCH_VERSION_MAJOR >= 2
  // The operator's own causal mask counts from the first key, which serves one query or all.
  if (q.size(2) == k.size(2) || q.size(2) == 1) {
    return at::scaled_dot_product_attention(q, k, v, {}, 0.0, /*is_causal=*/q.size(2) > 1);
  }
#endif
  return plain_attention(q, k, v);
}

/// Puts `added` [B, H, T, d] behind the `length` positions that `kept` holds, and returns all.
at::Tensor extend(at::Tensor& kept, const at::Tensor& added, index_t length) {
  const index_t needed = length + added.size(2);
  if (!kept.defined() || kept.size(2) < needed) {
    auto shape = added.sizes().vec();
    shape[2] = std::max(needed, std::max<index_t>(64, 2 * length));
    at::Tensor larger = at::empty(shape, added.options());
    if (length > 0) larger.narrow(2, 0, length).copy_(kept.narrow(2, 0, length));
    kept = larger;
  }
  kept.narrow(2, length, added.size(2)).copy_(added);
  return kept.narrow(2, 0, needed);
}

}  // namespace

at::Tensor plain_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const index_t queries = q.size(2), keys = k.size(2);
  const double scale = 1 / std::sqrt(static_cast<double>(q.size(3)));
  const at::Tensor later =
      at::ones({queries, keys}, at::TensorOptions().dtype(at::kBool)).triu(keys - queries + 1);
  const at::Tensor scores = at::matmul(q, k.transpose(2, 3)) * scale;
  return at::matmul(
      at::softmax(scores.masked_fill(later, -std::numeric_limits<float>::infinity()), -1), v);
}

llama::llama(const llama_config& config) : config_(config), infos_(parameters_of(config)) {
  for (const parameter_info& p : infos_) {
    parameters_.push_back(at::empty(p.shape, at::TensorOptions().dtype(at::kFloat)));
  }
  head_ = config.tie_word_embeddings ? 0 : parameters_.size() - 1;
}

at::Tensor llama::hidden(const at::Tensor& tokens) const {
  return forward(tokens, nullptr);
}

at::Tensor llama::hidden(const at::Tensor& tokens, kv_cache& cache) const {
  const at::NoGradGuard no_grad;
  return forward(tokens, &cache);
}

at::Tensor llama::forward(const at::Tensor& tokens, kv_cache* cache) const {
  const llama_config& c = config_;
  const index_t batch = tokens.size(0), length = tokens.size(1);
  const index_t first = cache != nullptr ? cache->length : 0;
  idiolect::require(first + length <= c.max_position_embeddings, "tokens", [&] {
    return std::to_string(first + length) + " positions; the model has " +
           std::to_string(c.max_position_embeddings);
  });
  if (cache != nullptr) {
    cache->keys.resize(static_cast<std::size_t>(c.num_hidden_layers));
    cache->values.resize(static_cast<std::size_t>(c.num_hidden_layers));
  }
  const index_t groups = c.num_attention_heads / c.num_key_value_heads;
  const rotation rotate(c, first, length);
  at::Tensor x = at::embedding(parameters_[0], tokens);
  for (index_t l = 0; l < c.num_hidden_layers; ++l) {
    const at::Tensor a = rms_norm(x, in_layer(l, role::attention_norm), c.rms_norm_eps);
    const auto project = [&](role what, index_t heads) {
      return split_heads(at::linear(a, in_layer(l, what)), heads);
    };
    const at::Tensor q = rotate(project(role::query, c.num_attention_heads));
    at::Tensor k = rotate(project(role::key, c.num_key_value_heads));
    at::Tensor v = project(role::value, c.num_key_value_heads);
    if (cache != nullptr) {
      k = extend(cache->keys[static_cast<std::size_t>(l)], k, first);
      v = extend(cache->values[static_cast<std::size_t>(l)], v, first);
    }
    const at::Tensor seen = attention(q, repeat_heads(k, groups), repeat_heads(v, groups));
    x = x + at::linear(seen.transpose(1, 2).reshape({batch, length, c.hidden_size}),
                       in_layer(l, role::attention_output));
    const at::Tensor f = rms_norm(x, in_layer(l, role::ffn_norm), c.rms_norm_eps);
    const at::Tensor gated = at::silu(at::linear(f, in_layer(l, role::ffn_gate))) *
                             at::linear(f, in_layer(l, role::ffn_up));
    x = x + at::linear(gated, in_layer(l, role::ffn_down));
  }
  if (cache != nullptr) cache->length = first + length;
  const auto last = static_cast<std::size_t>(1 + c.num_hidden_layers * roles_in_layer);
  return rms_norm(x, parameters_[last], c.rms_norm_eps);
}

std::vector<token_id> greedy(const llama& model, std::span<const token_id> prompt,
                             std::span<const token_id> ends, index_t most) {
  idiolect::require(!prompt.empty(), "prompt", "is empty");
  const at::NoGradGuard no_grad;
  kv_cache cache;
  std::vector<std::int64_t> next(prompt.begin(), prompt.end());
  std::vector<token_id> text;
  while (static_cast<index_t>(text.size()) < most &&
         cache.length + static_cast<index_t>(next.size()) <=
             model.config().max_position_embeddings) {
    const auto count = static_cast<std::int64_t>(next.size());
    const at::Tensor tokens =
        at::from_blob(next.data(), {1, count}, at::TensorOptions().dtype(at::kLong)).clone();
    const at::Tensor states = model.hidden(tokens, cache);
    const auto token = model.logits(states.select(1, count - 1)).argmax().item<std::int64_t>();
    if (std::ranges::find(ends, static_cast<token_id>(token)) != ends.end()) break;
    text.push_back(static_cast<token_id>(token));
    next = {token};
  }
  return text;
}

}  // namespace torch_trainer
