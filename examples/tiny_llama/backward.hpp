// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The forward pass that keeps its activations, and the backward pass, over one shard: some packed
// sequences that a single thread works through. training.hpp cuts a batch into shards.

#include <span>
#include <vector>

#include <idiolect/core/matrix_view.hpp>

#include "tiny_llama/layers.hpp"
#include "tiny_llama/rope.hpp"
#include "tiny_llama/weights.hpp"

namespace tiny_llama::training {

/// Tokens of one or more sequences end to end; sequence k is [offsets[k], offsets[k + 1]), and
/// offsets begins with 0.
struct packed {
  std::span<const token_id> tokens;
  std::span<const index_t> offsets;

  [[nodiscard]] index_t rows() const { return static_cast<index_t>(tokens.size()); }
};

/// What the backward pass needs of a layer, and the gradients that pass through it.
template <class Real>
struct layer_activations {
  buffer<Real> input, normed, query, key, value, mixed;  // mixed: the heads' outputs
  buffer<Real> middle, ffn_normed, gate, up, hidden;     // middle: the stream after attention
  std::vector<Real> norm_inverse, ffn_norm_inverse;
};

template <class Real>
struct shard_workspace {
  std::vector<layer_activations<Real>> layers;
  buffer<Real> output, normed;  // the last layer's output, before and after the final norm
  std::vector<Real> norm_inverse;
  // Gradients, reused from layer to layer.
  buffer<Real> dstream, dnormed, dhidden, dquery, dkey, dvalue, dmixed;
  buffer<Real> scores, dscores;
  weights<Real> gradient;
};

/// One head of one sequence in a matrix of rows x (heads * head_size).
template <class Real>
[[nodiscard]] strided_map<Real> head_of(matrix_map<Real>& m, index_t first_row, index_t rows,
                                        index_t head, index_t head_size) {
  return {m.data() + first_row * m.cols() + head * head_size, rows, head_size,
          Eigen::OuterStride<>(m.cols())};
}

/// Calls f(first_row, rows) for every sequence that is not empty.
template <class F>
void for_each_sequence(const packed& p, F&& f) {
  for (std::size_t s = 0; s + 1 < p.offsets.size(); ++s) {
    const index_t rows = p.offsets[s + 1] - p.offsets[s];
    if (rows > 0) f(p.offsets[s] - p.offsets.front(), rows);
  }
}

/// Writes the logits of every row: rows x vocab_size.
template <class Real>
void shard_forward(const weights<Real>& w, const rope_table<Real>& rope, const packed& p,
                   shard_workspace<Real>& work, idiolect::matrix_view<Real> logits) {
  const config& c = w.shape();
  const index_t n = p.rows();
  work.layers.resize(static_cast<std::size_t>(c.layers));

  const auto embedding = as_eigen(w.at(tensor::token_embedding));
  auto first = work.layers.front().input.as(n, c.dim);
  for (index_t i = 0; i < n; ++i) {
    first.row(i) = embedding.row(p.tokens[static_cast<std::size_t>(i)]);
  }
  for (index_t l = 0; l < c.layers; ++l) {
    auto& a = work.layers[static_cast<std::size_t>(l)];
    const auto matrix_of = [&](tensor kind) { return as_eigen(w.at(kind, l)); };
    auto input = a.input.as(n, c.dim);
    auto normed = a.normed.as(n, c.dim);
    auto query = a.query.as(n, c.dim);
    auto key = a.key.as(n, c.kv_dim());
    auto value = a.value.as(n, c.kv_dim());
    auto mixed = a.mixed.as(n, c.dim);
    rms_norm(input, matrix_of(tensor::attention_norm), normed, a.norm_inverse);
    query.noalias() = normed * matrix_of(tensor::query).transpose();
    key.noalias() = normed * matrix_of(tensor::key).transpose();
    value.noalias() = normed * matrix_of(tensor::value).transpose();
    for_each_sequence(p, [&](index_t row, index_t rows) {
      for (index_t i = 0; i < rows; ++i) {
        rope.turn(query.row(row + i).data(), c.heads, i);
        rope.turn(key.row(row + i).data(), c.kv_heads, i);
      }
      for (index_t h = 0; h < c.heads; ++h) {
        const index_t g = h * c.kv_heads / c.heads;
        attend(head_of(query, row, rows, h, c.head_size()),
               head_of(key, row, rows, g, c.head_size()),
               head_of(value, row, rows, g, c.head_size()),
               head_of(mixed, row, rows, h, c.head_size()), work.scores);
      }
    });
    auto middle = a.middle.as(n, c.dim);
    middle = input;
    middle.noalias() += mixed * matrix_of(tensor::attention_output).transpose();

    auto ffn_normed = a.ffn_normed.as(n, c.dim);
    auto gate = a.gate.as(n, c.hidden_dim);
    auto up = a.up.as(n, c.hidden_dim);
    auto hidden = a.hidden.as(n, c.hidden_dim);
    rms_norm(middle, matrix_of(tensor::ffn_norm), ffn_normed, a.ffn_norm_inverse);
    gate.noalias() = ffn_normed * matrix_of(tensor::ffn_gate).transpose();
    up.noalias() = ffn_normed * matrix_of(tensor::ffn_up).transpose();
    swiglu(gate, up, hidden);
    const bool last = l + 1 == c.layers;
    auto output = last ? work.output.as(n, c.dim)
                       : work.layers[static_cast<std::size_t>(l + 1)].input.as(n, c.dim);
    output = middle;
    output.noalias() += hidden * matrix_of(tensor::ffn_down).transpose();
  }
  auto normed = work.normed.as(n, c.dim);
  rms_norm(work.output.as(n, c.dim), as_eigen(w.at(tensor::final_norm)), normed, work.norm_inverse);
  as_eigen(logits).noalias() = normed * as_eigen(w.at(tensor::head)).transpose();
}

/// Adds the gradient of every parameter to `gradient`, given that of the logits. Follows
/// shard_forward on the same shard and workspace, whose activations it uses up.
template <class Real>
void shard_backward(const weights<Real>& w, const rope_table<Real>& rope, const packed& p,
                    shard_workspace<Real>& work, idiolect::matrix_view<const Real> dlogits,
                    weights<Real>& gradient) {
  const config& c = w.shape();
  const index_t n = p.rows();
  auto dstream = work.dstream.as(n, c.dim);  // of the residual stream, from the last layer down
  auto dnormed = work.dnormed.as(n, c.dim);
  {
    const auto dz = as_eigen(dlogits);
    as_eigen(gradient.at(tensor::head)).noalias() += dz.transpose() * work.normed.as(n, c.dim);
    dnormed.noalias() = dz * as_eigen(w.at(tensor::head));
    dstream.setZero();
    rms_norm_backward(work.output.as(n, c.dim), as_eigen(w.at(tensor::final_norm)),
                      work.norm_inverse, dnormed, dstream,
                      as_eigen(gradient.at(tensor::final_norm)));
  }
  for (index_t l = c.layers - 1; l >= 0; --l) {
    auto& a = work.layers[static_cast<std::size_t>(l)];
    const auto matrix_of = [&](tensor kind) { return as_eigen(w.at(kind, l)); };
    const auto gradient_of = [&](tensor kind) { return as_eigen(gradient.at(kind, l)); };

    const auto ffn_normed = a.ffn_normed.as(n, c.dim);
    auto gate = a.gate.as(n, c.hidden_dim);  // becomes its own gradient, and `up` likewise
    auto up = a.up.as(n, c.hidden_dim);
    auto dhidden = work.dhidden.as(n, c.hidden_dim);
    dhidden.noalias() = dstream * matrix_of(tensor::ffn_down);
    gradient_of(tensor::ffn_down).noalias() += dstream.transpose() * a.hidden.as(n, c.hidden_dim);
    swiglu_backward(gate, up, dhidden);
    gradient_of(tensor::ffn_gate).noalias() += gate.transpose() * ffn_normed;
    gradient_of(tensor::ffn_up).noalias() += up.transpose() * ffn_normed;
    dnormed.noalias() = gate * matrix_of(tensor::ffn_gate);
    dnormed.noalias() += up * matrix_of(tensor::ffn_up);
    rms_norm_backward(a.middle.as(n, c.dim), matrix_of(tensor::ffn_norm), a.ffn_norm_inverse,
                      dnormed, dstream, gradient_of(tensor::ffn_norm));

    auto query = a.query.as(n, c.dim);
    auto key = a.key.as(n, c.kv_dim());
    auto value = a.value.as(n, c.kv_dim());
    auto dmixed = work.dmixed.as(n, c.dim);
    auto dquery = work.dquery.as(n, c.dim);
    auto dkey = work.dkey.as(n, c.kv_dim());
    auto dvalue = work.dvalue.as(n, c.kv_dim());
    dmixed.noalias() = dstream * matrix_of(tensor::attention_output);
    gradient_of(tensor::attention_output).noalias() += dstream.transpose() * a.mixed.as(n, c.dim);
    dkey.setZero();
    dvalue.setZero();
    for_each_sequence(p, [&](index_t row, index_t rows) {
      for (index_t h = 0; h < c.heads; ++h) {
        const index_t g = h * c.kv_heads / c.heads;
        attend_backward(head_of(query, row, rows, h, c.head_size()),
                        head_of(key, row, rows, g, c.head_size()),
                        head_of(value, row, rows, g, c.head_size()),
                        head_of(dmixed, row, rows, h, c.head_size()),
                        head_of(dquery, row, rows, h, c.head_size()),
                        head_of(dkey, row, rows, g, c.head_size()),
                        head_of(dvalue, row, rows, g, c.head_size()), work.scores, work.dscores);
      }
      for (index_t i = 0; i < rows; ++i) {
        rope.turn_back(dquery.row(row + i).data(), c.heads, i);
        rope.turn_back(dkey.row(row + i).data(), c.kv_heads, i);
      }
    });
    const auto normed = a.normed.as(n, c.dim);
    gradient_of(tensor::query).noalias() += dquery.transpose() * normed;
    gradient_of(tensor::key).noalias() += dkey.transpose() * normed;
    gradient_of(tensor::value).noalias() += dvalue.transpose() * normed;
    dnormed.noalias() = dquery * matrix_of(tensor::query);
    dnormed.noalias() += dkey * matrix_of(tensor::key);
    dnormed.noalias() += dvalue * matrix_of(tensor::value);
    rms_norm_backward(a.input.as(n, c.dim), matrix_of(tensor::attention_norm), a.norm_inverse,
                      dnormed, dstream, gradient_of(tensor::attention_norm));
  }
  auto dembedding = as_eigen(gradient.at(tensor::token_embedding));
  for (index_t i = 0; i < n; ++i) {
    dembedding.row(p.tokens[static_cast<std::size_t>(i)]) += dstream.row(i);
  }
}

}  // namespace tiny_llama::training
