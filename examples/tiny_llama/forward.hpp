// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The forward pass of inference over rows: one row is one new token of some stream. Every function
// treats its rows one by one as far as rounding goes, so rows may be cut in any way.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include "tiny_llama/config.hpp"
#include "tiny_llama/kv_cache.hpp"
#include "tiny_llama/lanes.hpp"
#include "tiny_llama/product.hpp"
#include "tiny_llama/rope.hpp"
#include "tiny_llama/weights.hpp"

namespace tiny_llama::inference {

/// The weights as inference wants them: packed for `product`, norms padded with zeros.
template <class Real>
struct packed_weights {
  struct layer {
    aligned_vector<Real> attention_norm;
    packed_matrix<Real> query_key_value;
    packed_matrix<Real> attention_output;
    aligned_vector<Real> ffn_norm;
    packed_matrix<Real> gate_up;
    packed_matrix<Real> down;
  };

  explicit packed_weights(const weights<Real>& w) : shape(w.shape()), rope(w.shape()) {
    const auto norm = [&](tensor kind, index_t l) {
      const auto from = w.at(kind, l);
      aligned_vector<Real> to(static_cast<std::size_t>(padded(shape.dim)));
      std::copy_n(from.data(), shape.dim, to.begin());
      return to;
    };
    for (index_t l = 0; l < shape.layers; ++l) {
      layers.push_back({norm(tensor::attention_norm, l),
                        packed_matrix<Real>(
                            {w.at(tensor::query, l), w.at(tensor::key, l), w.at(tensor::value, l)}),
                        packed_matrix<Real>({w.at(tensor::attention_output, l)}),
                        norm(tensor::ffn_norm, l),
                        packed_matrix<Real>({w.at(tensor::ffn_gate, l), w.at(tensor::ffn_up, l)}),
                        packed_matrix<Real>({w.at(tensor::ffn_down, l)})});
    }
    const auto table = w.at(tensor::token_embedding);
    embedding.assign(table.data(), table.data() + table.rows() * table.cols());
    final_norm = norm(tensor::final_norm, 0);
    head = packed_matrix<Real>({w.at(tensor::head)});
  }

  config shape;
  rope_table<Real> rope;
  std::vector<Real> embedding;  // [vocab_size, dim]
  std::vector<layer> layers;
  aligned_vector<Real> final_norm;
  packed_matrix<Real> head;
};

/// One new token: where it stands and the cache of its stream, which has room for it.
template <class Real>
struct row {
  token_id token;
  index_t position;
  page<Real>* const* pages;
};

/// Rows of numbers, each a whole number of blocks of 16. Only grows.
template <class Real>
class block_rows {
 public:
  void resize(index_t rows, index_t columns) {
    // An odd number of blocks: rows then do not compete for the same places in the cache.
    stride_ = (padded(columns) / lane_count | 1) * lane_count;
    const auto size = static_cast<std::size_t>(rows * stride_);
    if (values_.size() < size) values_.resize(size);
  }
  [[nodiscard]] index_t stride() const noexcept { return stride_; }
  [[nodiscard]] Real* operator[](index_t i) { return values_.data() + i * stride_; }

 private:
  index_t stride_ = 0;
  aligned_vector<Real> values_;
};

/// Activations of the rows of one call.
template <class Real>
struct row_buffers {
  block_rows<Real> stream;  // the residual stream; padding is zero
  block_rows<Real> normed;
  block_rows<Real> projected;  // query, key, value; each padded
  block_rows<Real> mixed;      // the heads' outputs
  block_rows<Real> gates;      // gate, up; each padded
  block_rows<Real> scratch;    // for each tile: the scores of one head, and its output

  void resize(const config& c, index_t rows, index_t tiles, index_t longest) {
    stream.resize(rows, c.dim);
    normed.resize(rows, c.dim);
    projected.resize(rows, padded(c.dim) + 2 * padded(c.kv_dim()));
    mixed.resize(rows, c.dim);
    gates.resize(rows, 2 * padded(c.hidden_dim));
    scratch.resize(tiles, padded(longest) + padded(c.head_size()));
  }
};

/// y = x * scale / sqrt(mean(x^2) + epsilon), where x is padded with zeros to n elements.
template <class Real>
void rms_norm(const Real* x, const Real* scale, Real* y, index_t dim) {
  const index_t n = padded(dim);
  lanes<Real> squares(Real{0});
  for (index_t j = 0; j < n; j += lane_count) {
    const auto v = lanes<Real>::load(x + j);
    squares.add_product(v, v);
  }
  const Real mean = squares.sum() / static_cast<Real>(dim);
  const lanes<Real> inverse(Real{1} / std::sqrt(mean + static_cast<Real>(norm_epsilon)));
  for (index_t j = 0; j < n; j += lane_count) {
    (lanes<Real>::load(x + j) * inverse * lanes<Real>::load(scale + j)).store(y + j);
  }
}

/// Attention of one query over positions [0, n) of its stream: out gets head_size elements and
/// padding up to the next multiple of 16; scores is scratch of padded(n).
template <class Real>
void attend(const Real* query, page<Real>* const* pages, index_t n, const page_layout& layout,
            index_t layer, index_t kv_head, Real* scores, Real* out) {
  const index_t keys = layout.keys(layer, kv_head);
  for (index_t p = 0; p * lane_count < n; ++p) {
    const Real* const k = pages[p]->values.data() + keys;
    lanes<Real> dot(Real{0});
    for (index_t d = 0; d < layout.head_size; ++d) {
      dot.add_product(lanes<Real>(query[d]), lanes<Real>::load(k + d * lane_count));
    }
    dot.store(scores + p * lane_count);
  }
  // Behind the last position the page holds anything: the first score stands in until it is over.
  const index_t end = padded(n);
  std::fill(scores + n, scores + end, scores[0]);
  lanes<Real> tops = lanes<Real>::load(scores);
  for (index_t j = lane_count; j < end; j += lane_count) {
    tops = max(tops, lanes<Real>::load(scores + j));
  }
  const lanes<Real> top(tops.largest());
  const lanes<Real> scale(Real{1} / std::sqrt(static_cast<Real>(layout.head_size)));
  for (index_t j = 0; j < end; j += lane_count) {
    exp((lanes<Real>::load(scores + j) - top) * scale).store(scores + j);
  }
  std::fill(scores + n, scores + end, Real{0});
  lanes<Real> totals(Real{0});
  for (index_t j = 0; j < end; j += lane_count)
    totals = totals + lanes<Real>::load(scores + j);
  const lanes<Real> inverse(Real{1} / totals.sum());

  const index_t values = layout.values(layer, kv_head);
  for (index_t d = 0; d < layout.padded_head; d += lane_count) {
    lanes<Real> even(Real{0});  // two chains, to hide half of the latency
    lanes<Real> odd(Real{0});
    for (index_t t = 0; t < n; ++t) {
      const Real* const v =
          pages[t / lane_count]->values.data() + values + t % lane_count * layout.padded_head + d;
      (t % 2 == 0 ? even : odd).add_product(lanes<Real>(scores[t]), lanes<Real>::load(v));
    }
    ((even + odd) * inverse).store(out + d);
  }
}

/// The passes over a tile of rows; see model.hpp for their order.
template <class Real>
class tile_pass {
 public:
  tile_pass(const packed_weights<Real>& w, const page_layout& layout, const row<Real>* rows,
            row_buffers<Real>& buffers)
      : w_(w), layout_(layout), rows_(rows), b_(buffers) {}

  /// The embeddings of rows [first, last).
  void embed(index_t first, index_t last) const {
    const index_t dim = w_.shape.dim;
    for (index_t i = first; i < last; ++i) {
      std::copy_n(w_.embedding.data() + rows_[i].token * dim, dim, b_.stream[i]);
      std::fill(b_.stream[i] + dim, b_.stream[i] + padded(dim), Real{0});
    }
  }

  /// Queries of the rows, and their keys and values into the cache.
  void project(index_t layer, index_t first, index_t last) const {
    const auto& l = w_.layers[static_cast<std::size_t>(layer)];
    normalise(l.attention_norm, first, last);
    multiply(b_.normed, l.query_key_value, b_.projected, first, last);
    for (index_t i = first; i < last; ++i) {
      Real* const query = b_.projected[i];
      Real* const key = query + padded(w_.shape.dim);
      w_.rope.turn(query, w_.shape.heads, rows_[i].position);
      w_.rope.turn(key, w_.shape.kv_heads, rows_[i].position);
      remember(layer, rows_[i], key, key + padded(w_.shape.kv_dim()));
    }
  }

  /// Attention and the feed-forward layer, when all rows of the call have been projected.
  void transform(index_t layer, index_t first, index_t last, index_t tile) const {
    const auto& l = w_.layers[static_cast<std::size_t>(layer)];
    for (index_t i = first; i < last; ++i)
      mix(layer, i, b_.scratch[tile]);
    multiply(b_.mixed, l.attention_output, b_.stream, first, last, destination::add);

    normalise(l.ffn_norm, first, last);
    multiply(b_.normed, l.gate_up, b_.gates, first, last);
    for (index_t i = first; i < last; ++i)
      swiglu(b_.gates[i]);
    multiply(b_.gates, l.down, b_.stream, first, last, destination::add);
  }

  /// Logits [first, last): those of rows wanted[first .. last), to rows [first, last) of `logits`,
  /// whose stride is w.head.outputs().
  void predict(const index_t* wanted, index_t first, index_t last, Real* logits) const {
    for (index_t i = first; i < last; ++i) {
      rms_norm(b_.stream[wanted[i]], w_.final_norm.data(), b_.normed[i], w_.shape.dim);
    }
    const index_t stride = w_.head.outputs();
    product(b_.normed[first], b_.normed.stride(), last - first, w_.head, logits + first * stride,
            stride);
  }

 private:
  void multiply(block_rows<Real>& x, const packed_matrix<Real>& w, block_rows<Real>& y, index_t first,
                index_t last, destination to = destination::replace) const {
    product(x[first], x.stride(), last - first, w, y[first], y.stride(), to);
  }

  void normalise(const aligned_vector<Real>& scale, index_t first, index_t last) const {
    for (index_t i = first; i < last; ++i) {
      rms_norm(b_.stream[i], scale.data(), b_.normed[i], w_.shape.dim);
    }
  }

  // Attention of all heads of row i.
  void mix(index_t layer, index_t i, Real* scores) const {
    const config& c = w_.shape;
    const index_t positions = rows_[i].position + 1;
    Real* const output = scores + padded(positions);
    Real* mixed = b_.mixed[i];
    for (index_t h = 0; h < c.heads; ++h) {
      attend(b_.projected[i] + h * c.head_size(), rows_[i].pages, positions, layout_, layer,
             h * c.kv_heads / c.heads, scores, output);
      mixed = std::copy_n(output, c.head_size(), mixed);
    }
  }

  void remember(index_t layer, const row<Real>& r, const Real* key, const Real* value) const {
    Real* const page = r.pages[r.position / lane_count]->values.data();
    const index_t lane = r.position % lane_count;
    for (index_t h = 0; h < layout_.kv_heads; ++h) {
      Real* const k = page + layout_.keys(layer, h) + lane;
      Real* const v = page + layout_.values(layer, h) + lane * layout_.padded_head;
      for (index_t d = 0; d < layout_.head_size; ++d)
        k[d * lane_count] = key[d];
      std::copy_n(value, layout_.head_size, v);
      key += layout_.head_size;
      value += layout_.head_size;
    }
  }

  // silu(gate) * up, in the place of gate.
  void swiglu(Real* gate) const {
    const index_t hidden = padded(w_.shape.hidden_dim);
    const lanes<Real> zero(Real{0});
    const lanes<Real> one(Real{1});
    for (index_t j = 0; j < hidden; j += lane_count) {
      const auto g = lanes<Real>::load(gate + j);
      const auto u = lanes<Real>::load(gate + hidden + j);
      (g / (one + exp(zero - g)) * u).store(gate + j);
    }
  }

  const packed_weights<Real>& w_;
  const page_layout& layout_;
  const row<Real>* rows_;
  row_buffers<Real>& b_;
};

}  // namespace tiny_llama::inference
