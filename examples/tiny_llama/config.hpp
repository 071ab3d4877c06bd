// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The shape of a Llama-2 model: everything that a checkpoint's header says. The constants that the
// format leaves out (RMSNorm's epsilon, RoPE's base) are those of llama2.c.

#include <cmath>
#include <string>

#include <idiolect/core/error.hpp>
#include <idiolect/core/types.hpp>

namespace tiny_llama {

using idiolect::index_t;
using idiolect::token_id;

/// RMSNorm divides by sqrt(mean(x^2) + norm_epsilon).
inline constexpr double norm_epsilon = 1e-5;
/// The base of RoPE in llama2.c, whose files carry it as tables or not at all.
inline constexpr double usual_rope_base = 10000.0;

struct config {
  index_t dim = 96;          ///< width of the residual stream
  index_t hidden_dim = 256;  ///< width of the feed-forward layer
  index_t layers = 2;
  index_t heads = 4;           ///< query heads
  index_t kv_heads = 4;        ///< key/value heads; each serves heads / kv_heads query heads
  index_t vocab_size = 40;     ///< columns of logits
  index_t context_size = 256;  ///< tokens a sequence can hold
  bool tied = true;            ///< the output head is the token embedding
  double rope_base =
      usual_rope_base;  ///< pair i of a head of size n turns by pos * base^(-2 i / n)

  [[nodiscard]] constexpr index_t head_size() const { return dim / heads; }
  [[nodiscard]] constexpr index_t kv_dim() const { return head_size() * kv_heads; }

  bool operator==(const config&) const = default;
};

/// Raises shape_error unless the sizes fit together.
inline void validate(const config& c) {
  const auto positive = [](index_t value, const char* name) {
    idiolect::require(value > 0, "config", [&] {
      return std::string(name) + " is " + std::to_string(value) + ", expected a positive number";
    });
  };
  positive(c.dim, "dim");
  positive(c.hidden_dim, "hidden_dim");
  positive(c.layers, "layers");
  positive(c.heads, "heads");
  positive(c.kv_heads, "kv_heads");
  positive(c.vocab_size, "vocab_size");
  positive(c.context_size, "context_size");
  idiolect::require(c.rope_base > 0 && std::isfinite(c.rope_base), "config",
                    [] { return std::string("rope_base must be a finite number above 0"); });
  const auto divides = [](index_t divisor, index_t value, const char* what) {
    idiolect::require(value % divisor == 0, "config", [&] {
      return std::string(what) + ": " + std::to_string(value) + " is not a multiple of " +
             std::to_string(divisor);
    });
  };
  divides(c.heads, c.dim, "dim must split evenly into heads");
  divides(c.kv_heads, c.heads, "heads must split evenly among kv_heads");
  divides(2, c.head_size(), "RoPE turns pairs, so the head size must be even");
}

}  // namespace tiny_llama
