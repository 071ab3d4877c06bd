// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The parameters of a Llama: one flat vector in the order of the llama2.c checkpoint, and named
// matrices that look into it. A gradient and an optimiser's moments have the same layout.

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <span>
#include <string>
#include <vector>

#include <idiolect/core/matrix_view.hpp>
#include <idiolect/core/philox.hpp>

#include "tiny_llama/config.hpp"

namespace tiny_llama {

/// The kinds of parameters, in the order they are stored. A kind that belongs to a layer is stored
/// for all layers before the next kind begins.
enum class tensor : std::uint8_t {
  token_embedding,   ///< [vocab_size, dim]
  attention_norm,    ///< [1, dim] a layer
  query,             ///< [dim, dim] a layer; y = x query^T, and likewise below
  key,               ///< [kv_dim, dim] a layer
  value,             ///< [kv_dim, dim] a layer
  attention_output,  ///< [dim, dim] a layer
  ffn_norm,          ///< [1, dim] a layer
  ffn_gate,          ///< [hidden_dim, dim] a layer: w1 of the paper
  ffn_down,          ///< [dim, hidden_dim] a layer: w2
  ffn_up,            ///< [hidden_dim, dim] a layer: w3
  final_norm,        ///< [1, dim]
  head               ///< [vocab_size, dim]; no elements of its own if tied
};

inline constexpr std::array all_tensors = {
    tensor::token_embedding, tensor::attention_norm,   tensor::query,      tensor::key,
    tensor::value,           tensor::attention_output, tensor::ffn_norm,   tensor::ffn_gate,
    tensor::ffn_down,        tensor::ffn_up,           tensor::final_norm, tensor::head};

struct tensor_shape {
  index_t copies;  ///< one for each layer, or 1; 0 for the head of a tied model
  index_t rows;
  index_t cols;

  [[nodiscard]] constexpr index_t size() const { return copies * rows * cols; }
};

[[nodiscard]] constexpr tensor_shape shape_of(const config& c, tensor kind) {
  switch (kind) {
    case tensor::token_embedding:
      return {1, c.vocab_size, c.dim};
    case tensor::attention_norm:
      return {c.layers, 1, c.dim};
    case tensor::query:
      return {c.layers, c.dim, c.dim};
    case tensor::key:
      return {c.layers, c.kv_dim(), c.dim};
    case tensor::value:
      return {c.layers, c.kv_dim(), c.dim};
    case tensor::attention_output:
      return {c.layers, c.dim, c.dim};
    case tensor::ffn_norm:
      return {c.layers, 1, c.dim};
    case tensor::ffn_gate:
      return {c.layers, c.hidden_dim, c.dim};
    case tensor::ffn_down:
      return {c.layers, c.dim, c.hidden_dim};
    case tensor::ffn_up:
      return {c.layers, c.hidden_dim, c.dim};
    case tensor::final_norm:
      return {1, 1, c.dim};
    case tensor::head:
      return {c.tied ? 0 : 1, c.vocab_size, c.dim};
  }
  return {0, 0, 0};
}

/// Number of parameters.
[[nodiscard]] constexpr index_t parameter_count(const config& c) {
  index_t count = 0;
  for (const tensor kind : all_tensors)
    count += shape_of(c, kind).size();
  return count;
}

/// Whether a kind scales a norm: such parameters are neither drawn at random nor decayed.
[[nodiscard]] constexpr bool is_norm(tensor kind) {
  return kind == tensor::attention_norm || kind == tensor::ffn_norm || kind == tensor::final_norm;
}

/// The parameters, or anything shaped like them. Copyable; a view is valid while the object is
/// neither moved from nor destroyed.
template <class Real = float>
class weights {
 public:
  using value_type = Real;

  weights() = default;

  /// All zero. Raises shape_error for a configuration that does not fit together.
  explicit weights(const config& shape) : config_(shape) {
    validate(shape);
    index_t offset = 0;
    for (const tensor kind : all_tensors) {
      offsets_[static_cast<std::size_t>(kind)] = offset;
      offset += shape_of(shape, kind).size();
    }
    values_.resize(static_cast<std::size_t>(offset));
  }

  [[nodiscard]] const config& shape() const noexcept { return config_; }
  [[nodiscard]] index_t size() const noexcept { return static_cast<index_t>(values_.size()); }

  /// All parameters, in the order of `tensor`.
  [[nodiscard]] std::span<Real> flat() noexcept { return values_; }
  [[nodiscard]] std::span<const Real> flat() const noexcept { return values_; }

  /// Where the first copy of a kind begins in `flat()`.
  [[nodiscard]] index_t offset(tensor kind) const noexcept {
    return offsets_[static_cast<std::size_t>(kind)];
  }

  /// One matrix of one layer (layer 0 for kinds that have no layers). The head of a tied model is
  /// the embedding itself.
  [[nodiscard]] idiolect::matrix_view<Real> at(tensor kind, index_t layer = 0) {
    const auto [place, s] = locate(kind, layer);
    return {values_.data() + place, s.rows, s.cols};
  }
  [[nodiscard]] idiolect::matrix_view<const Real> at(tensor kind, index_t layer = 0) const {
    const auto [place, s] = locate(kind, layer);
    return {values_.data() + place, s.rows, s.cols};
  }

 private:
  struct location {
    index_t place;
    tensor_shape shape;
  };
  [[nodiscard]] location locate(tensor kind, index_t layer) const {
    if (kind == tensor::head && config_.tied) kind = tensor::token_embedding;
    const tensor_shape s = shape_of(config_, kind);
    idiolect::require(layer >= 0 && layer < s.copies, "layer",
                      [&] { return std::to_string(layer) + " of " + std::to_string(s.copies); });
    return {offset(kind) + layer * s.rows * s.cols, s};
  }

  config config_{};
  std::array<index_t, all_tensors.size()> offsets_{};
  std::vector<Real> values_;
};

struct initialisation {
  double embedding_deviation = 0.02;  ///< standard deviation of the embedding and the head
  double gain = 1.0;  ///< a matrix with n inputs has standard deviation gain / sqrt(n)
};

/// Normal weights, norms 1; the two matrices that write to the residual stream are divided by
/// sqrt(2 layers), so that its variance does not grow with depth. A pure function of the arguments:
/// element i of the flat vector is draw i of philox{seed}, the same for every Real up to rounding.
template <class Real = float>
[[nodiscard]] weights<Real> random_weights(const config& shape, std::uint64_t seed,
                                           const initialisation& options = {}) {
  weights<Real> w(shape);
  const idiolect::philox draws{seed, 0};
  const auto normal = [&](index_t i) {  // Box and Muller, one of the two
    const auto bits = draws.bits(static_cast<std::uint64_t>(i));
    const double u = (static_cast<double>(bits[0]) + 0.5) * 0x1.0p-32;
    const double v = (static_cast<double>(bits[1]) + 0.5) * 0x1.0p-32;
    return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v);
  };
  for (const tensor kind : all_tensors) {
    const tensor_shape s = shape_of(shape, kind);
    const bool vocabulary = kind == tensor::token_embedding || kind == tensor::head;
    double deviation = vocabulary ? options.embedding_deviation
                                  : options.gain / std::sqrt(static_cast<double>(s.cols));
    if (kind == tensor::attention_output || kind == tensor::ffn_down) {
      deviation /= std::sqrt(2.0 * static_cast<double>(shape.layers));
    }
    const index_t first = w.offset(kind);
    for (index_t i = first; i < first + s.size(); ++i) {
      w.flat()[static_cast<std::size_t>(i)] =
          is_norm(kind) ? Real{1} : static_cast<Real>(deviation * normal(i));
    }
  }
  return w;
}

/// The same parameters in another precision.
template <class To, class From>
[[nodiscard]] weights<To> convert(const weights<From>& from) {
  weights<To> to(from.shape());
  for (std::size_t i = 0; i < from.flat().size(); ++i) {
    to.flat()[i] = static_cast<To>(from.flat()[i]);
  }
  return to;
}

}  // namespace tiny_llama
