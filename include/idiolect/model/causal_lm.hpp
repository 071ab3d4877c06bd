// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the library asks of a language model: streams of tokens that grow by `forward`, and logits
// for the tokens that asked for them. The shape is the least that llama.cpp (several sequences in
// a batch, host logits until the next decode), a LibTorch module with a cache and a CUDA engine
// have in common. A minimal model stands in model/archetypes.hpp, ready to copy.

#include <concepts>
#include <cstdint>
#include <span>

#include <idiolect/core/matrix_view.hpp>
#include <idiolect/core/types.hpp>

namespace idiolect {

/// Names a stream of one model: a growing sequence of tokens and what the model caches for it.
using stream_id = std::int32_t;

/// Which tokens of a chunk give a row of logits.
enum class want_logits : std::uint8_t { none, last, all };

/// Tokens to append to one stream. A stream appears at most once in a call of `forward`.
struct chunk {
  stream_id stream;
  std::span<const token_id> tokens;
  want_logits logits = want_logits::last;
};

/// How `forward` ended. Streams that the call did not name are never touched.
enum class forward_status : std::uint8_t {
  ok,
  no_room,  ///< a stream would pass context_size, or the cache is full; every stream is as before
  aborted,  ///< the host cancelled the call: see requirement (5)
  fatal     ///< the model cannot be used any further; its streams can only be dropped
};

/// Requirements, for a model `m`, its stream `s`, and a const model `c`:
///  (1) `c.vocab_size()` columns of logits, `c.context_size()` tokens a stream can hold.
///  (2) `m.open()` gives a new empty stream, `m.fork(s)` a new stream with the tokens of `s`,
///      `m.drop(s)` ends one. `open` and `fork` raise backend_error when no stream is free;
///      a cache that is full is `no_room` of the `forward` that needs it. `drop` of an open stream
///      does not raise.
///  (3) `c.length(s)` tokens are in `s`.
///  (4) `m.forward(chunks)` appends each chunk to its stream, all chunks in one call. It raises for
///      what its caller could have known to be wrong (a token outside the vocabulary, a stream that
///      is not open), and every stream is then as it was.
///  (5) After `aborted` each stream that the call named is as it was, or spent: an engine that
///      cannot take back what it has computed says so by `c.length(s)` == -1, and the stream can
///      only be dropped.
///  (6) `c.logits(s)` has one row for each token of the last `forward` that asked (none, last or
///      all tokens of the chunk); row r predicts the token after it. Valid until the next
///      `forward`, `fork`, `drop` or `truncate`. Host memory, or device memory if the model says
///      so by `device_logits`.
///  (7) `c.is_end(t)`: the model ends its text with t. There may be several such tokens;
///      the decoder ends a text with any of them. May be asked from several threads.
///  (8) One thread at a time uses a model, its const members too (engines order and wait for rows
///      when they are asked for); it belongs to no thread in particular. The rows that a view shows
///      may be read by several.
template <class M>
concept causal_lm = requires(M& m, const M& c, stream_id s, token_id t,
                             std::span<const chunk> chunks) {
  { c.vocab_size() } -> std::convertible_to<index_t>;
  { c.context_size() } -> std::convertible_to<index_t>;
  { m.open() } -> std::same_as<stream_id>;
  { m.fork(s) } -> std::same_as<stream_id>;
  m.drop(s);
  { c.length(s) } -> std::convertible_to<index_t>;
  { m.forward(chunks) } -> std::same_as<forward_status>;
  { c.logits(s) } -> matrix_like;
  { c.is_end(t) } -> std::same_as<bool>;
};

/// A causal_lm that may be able to take tokens back: `m.truncate(s, n)` keeps the first n tokens of
/// `s` and is true, or leaves `s` as it is and is false. Whether a stream can be cut is known at
/// run time: one adapter serves models with a cache for each token, which can, and recurrent
/// models, which cannot. Raises shape_error where `s` has fewer tokens.
template <class M>
concept truncatable_lm = causal_lm<M> && requires(M& m, stream_id s, index_t n) {
  { m.truncate(s, n) } -> std::same_as<bool>;
};

/// What a model says of itself; each is optional, with the cautious answer as default.
template <causal_lm M>
struct model_traits {
  /// A row's bits do not depend on what else is in the batch or how the text was cut in chunks.
  static constexpr bool batch_invariant = [] {
    if constexpr (requires {
                    { M::batch_invariant } -> std::convertible_to<bool>;
                  }) {
      return static_cast<bool>(M::batch_invariant);
    } else {
      return false;
    }
  }();

  /// The logits live in device memory.
  static constexpr bool device_logits = [] {
    if constexpr (requires {
                    { M::device_logits } -> std::convertible_to<bool>;
                  }) {
      return static_cast<bool>(M::device_logits);
    } else {
      return false;
    }
  }();

  /// Whether streams can be cut: `m.can_truncate()` where the model has it, else whether it has
  /// `truncate` at all.
  static bool can_truncate(const M& m) {
    if constexpr (requires {
                    { m.can_truncate() } -> std::convertible_to<bool>;
                  }) {
      return truncatable_lm<M> && m.can_truncate();
    } else {
      return truncatable_lm<M>;
    }
  }

  /// Streams that may be open at once.
  static index_t max_streams(const M& m) {
    if constexpr (requires {
                    { m.max_streams() } -> std::convertible_to<index_t>;
                  }) {
      return m.max_streams();
    } else {
      return 1;
    }
  }

  /// Streams that can be opened now, of which the caller has `own` open: what others hold of a
  /// model is known to a model with `free_streams()`.
  static index_t free_streams(const M& m, index_t own) {
    if constexpr (requires {
                    { m.free_streams() } -> std::convertible_to<index_t>;
                  }) {
      return m.free_streams();
    } else {
      return max_streams(m) - own;
    }
  }

  /// Tokens that one call of `forward` takes, over all its chunks.
  static index_t max_chunk(const M& m) {
    if constexpr (requires {
                    { m.max_chunk() } -> std::convertible_to<index_t>;
                  }) {
      return m.max_chunk();
    } else {
      return m.context_size();
    }
  }
};

}  // namespace idiolect
