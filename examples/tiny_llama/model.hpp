// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A Llama as an idiolect::causal_lm: many streams with a paged key/value cache, and forward passes
// over the new tokens of all of them at once.
//
// A row of logits has the same bits however its text was cut into calls, whatever other streams are
// in the call, and for any executor: every row goes through the same sequence of operations
// (product.hpp, lanes.hpp). The bits do depend on the instruction set compiled for. Weights are
// taken to be finite and such that activations stay so.

#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <idiolect/core/error.hpp>
#include <idiolect/core/executor.hpp>
#include <idiolect/core/matrix_view.hpp>
#include <idiolect/model/causal_lm.hpp>

#include "tiny_llama/config.hpp"
#include "tiny_llama/forward.hpp"
#include "tiny_llama/kv_cache.hpp"
#include "tiny_llama/weights.hpp"

namespace tiny_llama {

struct model_options {
  index_t max_streams = 1024;  ///< open at once
  index_t max_chunk = 4096;    ///< tokens in a call of `forward`, over all chunks
  /// Positions the cache holds over all streams, rounded up to pages of 16; 0: no limit of its own.
  /// A stream takes memory as it grows: layers * (kv_dim + padded kv_dim) numbers a position.
  index_t cache_tokens = 0;
  std::vector<token_id> end_tokens = {1, 2};  ///< begin (which ends a story in llama2.c) and end
};

/// Models idiolect::truncatable_lm. Movable, not copyable; several models may share packed weights.
template <class Real = float, idiolect::executor Executor = idiolect::serial_executor>
class model {
 public:
  using packed_weights = inference::packed_weights<Real>;

  static constexpr bool batch_invariant = true;

  explicit model(const weights<Real>& w, model_options options = {}, Executor executor = {})
      : model(std::make_shared<const packed_weights>(w), std::move(options), std::move(executor)) {}

  explicit model(std::shared_ptr<const packed_weights> w, model_options options = {},
                 Executor executor = {})
      : weights_(std::move(w)),
        options_(std::move(options)),
        executor_(std::move(executor)),
        cache_(inference::page_layout(weights_->shape), most_pages(options_)) {
    idiolect::require(options_.max_streams > 0, "max_streams", "must be positive");
    idiolect::require(options_.max_chunk > 0, "max_chunk", "must be positive");
    idiolect::require(options_.cache_tokens >= 0, "cache_tokens", "must not be negative");
  }

  [[nodiscard]] const config& shape() const noexcept { return weights_->shape; }
  [[nodiscard]] const std::shared_ptr<const packed_weights>& shared_weights() const noexcept {
    return weights_;
  }

  [[nodiscard]] index_t vocab_size() const noexcept { return shape().vocab_size; }
  [[nodiscard]] index_t context_size() const noexcept { return shape().context_size; }
  [[nodiscard]] index_t max_streams() const noexcept { return options_.max_streams; }
  [[nodiscard]] index_t free_streams() const noexcept {
    return options_.max_streams - std::ranges::count(streams_, true, &stream::open);
  }
  [[nodiscard]] index_t max_chunk() const noexcept { return options_.max_chunk; }
  [[nodiscard]] bool is_end(token_id t) const {
    return std::ranges::find(options_.end_tokens, t) != options_.end_tokens.end();
  }

  /// Raises backend_error if max_streams are open.
  [[nodiscard]] idiolect::stream_id open() {
    for (std::size_t s = 0; s < streams_.size(); ++s) {
      if (!streams_[s].open) {
        streams_[s].open = true;
        return static_cast<idiolect::stream_id>(s);
      }
    }
    idiolect::require<idiolect::backend_error>(
        static_cast<index_t>(streams_.size()) < options_.max_streams, "open",
        [&] { return "all " + std::to_string(options_.max_streams) + " streams are in use"; });
    streams_.push_back({.open = true});
    return static_cast<idiolect::stream_id>(streams_.size()) - 1;
  }

  /// Shares the cache of `s`: O(length / 16), no numbers are copied before one of the two grows.
  [[nodiscard]] idiolect::stream_id fork(idiolect::stream_id s) {
    check(s);
    const idiolect::stream_id copy = open();
    at(copy).pages = cache_.share(at(s).pages);
    at(copy).length = at(s).length;
    return copy;
  }

  void drop(idiolect::stream_id s) {
    truncate(s, 0);
    at(s) = stream{};
  }

  /// Keeps the first n tokens, 0 <= n <= length.
  bool truncate(idiolect::stream_id s, index_t n) {
    check(s);
    idiolect::require(n >= 0 && n <= at(s).length, "truncate", [&] {
      return std::to_string(n) + " of " + std::to_string(at(s).length) + " tokens";
    });
    cache_.shrink(at(s).pages, n);
    at(s).length = n;
    at(s).logit_rows = 0;
    return true;
  }

  [[nodiscard]] index_t length(idiolect::stream_id s) const {
    check(s);
    return at(s).length;
  }

  /// One pass over all tokens of all chunks. `no_room`, with every stream as before, if a stream
  /// would pass the context or the cache would pass cache_tokens. Raises backend_error for a
  /// stream that is not open, shape_error for one that stands twice or more than max_chunk tokens,
  /// target_error for a token outside the vocabulary; then too nothing has changed.
  [[nodiscard]] idiolect::forward_status forward(std::span<const idiolect::chunk> chunks);

  /// The rows that stream s asked for in the last `forward`: rows x vocab_size.
  [[nodiscard]] idiolect::matrix_view<const Real> logits(idiolect::stream_id s) const {
    check(s);
    const index_t stride = weights_->head.outputs();
    return {logits_.data() + at(s).first_logits * stride, at(s).logit_rows, vocab_size(), stride};
  }

 private:
  struct stream {
    bool open = false;
    index_t length = 0;
    typename inference::kv_cache<Real>::page_list pages{};
    index_t first_logits = 0;  // rows of logits_
    index_t logit_rows = 0;
    bool in_call = false;
  };

  // Rows that one thread takes at a time: enough for the weights to be read from the cache rarely.
  static constexpr index_t tile_rows = 16;

  [[nodiscard]] static index_t most_pages(const model_options& o) {
    return o.cache_tokens > 0 ? inference::padded(o.cache_tokens) / inference::lane_count : -1;
  }

  [[nodiscard]] stream& at(idiolect::stream_id s) { return streams_[static_cast<std::size_t>(s)]; }
  [[nodiscard]] const stream& at(idiolect::stream_id s) const {
    return streams_[static_cast<std::size_t>(s)];
  }

  void check(idiolect::stream_id s) const {
    const bool known = s >= 0 && static_cast<std::size_t>(s) < streams_.size() && at(s).open;
    idiolect::require<idiolect::backend_error>(known, "stream",
                                               [&] { return std::to_string(s) + " is not open"; });
  }

  void check(std::span<const idiolect::chunk> chunks);
  [[nodiscard]] bool has_room(std::span<const idiolect::chunk> chunks) const;
  void lay_out(std::span<const idiolect::chunk> chunks);
  void compute();

  // Calls f(tile, first, last) for tiles of [0, n).
  template <class F>
  void for_each_tile(index_t n, F&& f) const {
    executor_.bulk((n + tile_rows - 1) / tile_rows, [&](index_t tile) {
      f(tile, tile * tile_rows, std::min(n, (tile + 1) * tile_rows));
    });
  }

  std::shared_ptr<const packed_weights> weights_;
  model_options options_;
  [[no_unique_address]] Executor executor_;
  inference::kv_cache<Real> cache_;
  std::vector<stream> streams_;

  // Of the current or last call.
  std::vector<inference::row<Real>> rows_;
  std::vector<index_t> wanted_;  // the row behind each row of logits
  inference::row_buffers<Real> buffers_;
  inference::aligned_vector<Real> logits_;
};

template <class Real, idiolect::executor Executor>
idiolect::forward_status model<Real, Executor>::forward(std::span<const idiolect::chunk> chunks) {
  check(chunks);
  for (stream& s : streams_)
    s.logit_rows = 0;
  if (!has_room(chunks)) return idiolect::forward_status::no_room;
  lay_out(chunks);
  compute();
  for (const auto& c : chunks)
    at(c.stream).length += static_cast<index_t>(c.tokens.size());
  return idiolect::forward_status::ok;
}

template <class Real, idiolect::executor Executor>
void model<Real, Executor>::check(std::span<const idiolect::chunk> chunks) {
  index_t tokens = 0;
  for (stream& s : streams_)
    s.in_call = false;
  for (const auto& c : chunks) {
    check(c.stream);
    idiolect::require(!std::exchange(at(c.stream).in_call, true), "chunks",
                      [&] { return "stream " + std::to_string(c.stream) + " stands twice"; });
    for (std::size_t i = 0; i < c.tokens.size(); ++i) {
      idiolect::require<idiolect::target_error>(
          c.tokens[i] >= 0 && c.tokens[i] < vocab_size(), "tokens",
          [&] {
            return "token " + std::to_string(c.tokens[i]) + " of stream " +
                   std::to_string(c.stream) + " is not in the vocabulary of " +
                   std::to_string(vocab_size());
          },
          static_cast<index_t>(i));
    }
    tokens += static_cast<index_t>(c.tokens.size());
  }
  idiolect::require(tokens <= options_.max_chunk, "chunks", [&] {
    return std::to_string(tokens) + " tokens, max_chunk is " + std::to_string(options_.max_chunk);
  });
}

template <class Real, idiolect::executor Executor>
bool model<Real, Executor>::has_room(std::span<const idiolect::chunk> chunks) const {
  index_t pages = 0;
  for (const auto& c : chunks) {
    const auto tokens = static_cast<index_t>(c.tokens.size());
    if (at(c.stream).length + tokens > context_size()) return false;
    pages += cache_.needed(at(c.stream).pages, at(c.stream).length, tokens);
  }
  return cache_.room() < 0 || pages <= cache_.room();
}

template <class Real, idiolect::executor Executor>
void model<Real, Executor>::lay_out(std::span<const idiolect::chunk> chunks) {
  rows_.clear();
  wanted_.clear();
  index_t longest = 0;
  for (const auto& c : chunks) {
    stream& s = at(c.stream);
    const auto tokens = static_cast<index_t>(c.tokens.size());
    cache_.extend(s.pages, s.length, tokens);
    s.first_logits = static_cast<index_t>(wanted_.size());
    for (index_t i = 0; i < tokens; ++i) {
      const bool last = i + 1 == tokens;
      if (c.logits == idiolect::want_logits::all ||
          (c.logits == idiolect::want_logits::last && last)) {
        wanted_.push_back(static_cast<index_t>(rows_.size()));
      }
      rows_.push_back({c.tokens[static_cast<std::size_t>(i)], s.length + i, s.pages.data()});
    }
    s.logit_rows = static_cast<index_t>(wanted_.size()) - s.first_logits;
    longest = std::max(longest, s.length + tokens);
  }
  const auto rows = static_cast<index_t>(rows_.size());
  buffers_.resize(shape(), rows, (rows + tile_rows - 1) / tile_rows, longest);
  const std::size_t numbers = wanted_.size() * static_cast<std::size_t>(weights_->head.outputs());
  if (logits_.size() < numbers) logits_.resize(numbers);
}

// A row attends to earlier rows of its stream, which may be in other tiles: all rows of a layer are
// projected before any is transformed. The projection of the next layer needs only its own row.
template <class Real, idiolect::executor Executor>
void model<Real, Executor>::compute() {
  const inference::tile_pass<Real> pass(*weights_, cache_.layout(), rows_.data(), buffers_);
  const auto rows = static_cast<index_t>(rows_.size());
  for_each_tile(rows, [&](index_t, index_t first, index_t last) {
    pass.embed(first, last);
    pass.project(0, first, last);
  });
  for (index_t layer = 0; layer < shape().layers; ++layer) {
    for_each_tile(rows, [&](index_t tile, index_t first, index_t last) {
      pass.transform(layer, first, last, tile);
      if (layer + 1 < shape().layers) pass.project(layer + 1, first, last);
    });
  }
  for_each_tile(static_cast<index_t>(wanted_.size()), [&](index_t, index_t first, index_t last) {
    pass.predict(wanted_.data(), first, last, logits_.data());
  });
}

static_assert(idiolect::truncatable_lm<model<>>);

}  // namespace tiny_llama
