// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A module with a cache: one layer of attention over the embedded tokens so far.

#include <cmath>

#include "support.hpp"

namespace idiolect::test {

// [module]
struct tiny_attention {
  struct cache {  // of one text; a copy shares the tensors
    torch::Tensor keys, values;
  };
  torch::Tensor embedding, query, key, value, head;

  torch::Tensor forward(const torch::Tensor& tokens, cache& c) {
    const auto x = embedding.index_select(0, tokens.view(-1));
    const auto k = x.matmul(key), v = x.matmul(value);
    const auto past = c.keys.defined() ? c.keys.size(0) : 0;
    c.keys = past > 0 ? at::cat({c.keys, k}) : k;  // new tensors: a copy of the cache keeps its own
    c.values = past > 0 ? at::cat({c.values, v}) : v;
    const auto later = at::ones({x.size(0), c.keys.size(0)}, at::kBool).triu(past + 1);
    const auto score = x.matmul(query).matmul(c.keys.t()).masked_fill(later, -INFINITY);
    return (x + score.softmax(-1).matmul(c.values)).matmul(head).unsqueeze(0);  // [1, T, V]
  }
  bool truncate(cache& c, std::int64_t n) {
    c = n > 0 ? cache{c.keys.narrow(0, 0, n), c.values.narrow(0, 0, n)} : cache{};
    return true;
  }
};
// [module]

inline tiny_attention random_attention(index_t vocab, std::uint64_t seed,
                                       at::ScalarType type = at::kFloat) {
  const index_t width = 16;
  const double scale = 1 / std::sqrt(double{width});
  return {normal_tensor({vocab, width}, type, seed, 1),
          normal_tensor({width, width}, type, seed + 1, scale),
          normal_tensor({width, width}, type, seed + 2, scale),
          normal_tensor({width, width}, type, seed + 3, scale),
          normal_tensor({width, vocab}, type, seed + 4, scale)};
}

}  // namespace idiolect::test
