// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A llama.cpp context as a causal_lm: a stream is a sequence of the context, a call of `forward`
// one llama_decode, and the logits are llama.cpp's own rows. Nothing is copied but token ids.
//
// The context is the host's, and so is everything about speed and memory: threads, flash attention,
// layers on a GPU, types of the cache. What the sizes mean here:
//
//   n_seq_max   streams. hinted_decoder wants 2 * parallel, and up to 4 more for prompts that begin
//               alike (2 * parallel + 2 is a good choice); plus any that the host holds itself.
//   n_ctx       with kv_unified, the tokens of all streams together; else n_ctx / n_seq_max is what
//               one stream holds.
//   n_batch     tokens of one `forward`. Prompts are cut to fit.
//   n_ubatch    rows computed at once. Also how often the abort callback is asked, at least.
//   kv_unified  true: `fork` is free, and streams share one memory, which may fill up (no_room).
//               false: `fork` copies a stream; streams whose ids follow each other are computed
//               together, which is why `open` gives the lowest free id and `forward` sorts.
//
// Flash attention on a CPU takes another kernel for chunks of 64 rows and more, and keys and values
// are in fp16 unless told otherwise: scores of one text differ by what these round. For scores that
// are to match decoding, forward fewer than 64 tokens of a stream at once.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <llama.h>

#include <idiolect/adapters/llama_cpp/vocabulary.hpp>
#include <idiolect/core/error.hpp>
#include <idiolect/core/matrix_view.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/model/causal_lm.hpp>

namespace idiolect {

/// Models causal_lm and truncatable_lm. Does not own the context, which must outlive it; any number
/// of them may live at once, one for each context.
///
/// Threads: one at a time, as for any causal_lm; `is_end` from any. Nobody else may use the context
/// between `forward` and the last look at its logits. At other times the host may hold sequences of
/// its own in it: a sequence that holds something when `open` looks for one is not taken.
///
/// Not for a context with llama.cpp's backend samplers (their rows stay on the device) or with an
/// n_outputs_max below n_batch (llama.cpp ends the program where more rows are asked for).
class llama_lm {
 public:
  /// A row's bits depend on what else is in the batch, and on how a text was cut in chunks.
  static constexpr bool batch_invariant = false;

  /// Raises backend_error for a context that cannot give logits of a next token: an encoder, a
  /// model or context for embeddings, one without a vocabulary.
  explicit llama_lm(llama_context* context) : context_(context) {
    require<backend_error>(context != nullptr, "llama_context", "is a null pointer");
    const llama_model* const model = llama_get_model(context);
    memory_ = llama_get_memory(context);
    require<backend_error>(
        memory_ != nullptr && !llama_model_has_encoder(model) && llama_get_causal_attn(context),
        "llama_context", "has no memory of a text: it is an encoder, or predicts no next token");
    require<backend_error>(llama_pooling_type(context) == LLAMA_POOLING_TYPE_NONE, "llama_context",
                           "is for embeddings: it pools them (llama_context_params::pooling_type)");
    vocab_ = detail::llama_vocabulary(model, "llama_context");
    columns_ = llama_vocab_n_tokens(vocab_);
    vocab_size_ = detail::llama_used_tokens(vocab_, "llama_context");
    window_ = llama_model_n_swa(model);
    can_truncate_ = !llama_model_is_recurrent(model) && !llama_model_is_hybrid(model);
    streams_.resize(llama_n_seq_max(context));
    for (std::size_t i = 0; i < streams_.size(); ++i) streams_[i].id = static_cast<stream_id>(i);
  }

  llama_lm(const llama_lm&) = delete;
  llama_lm& operator=(const llama_lm&) = delete;
  llama_lm(llama_lm&&) = default;
  llama_lm& operator=(llama_lm&&) = default;

  /// Without the unused tokens at the end of a padded vocabulary; as llama_tokenizer says it.
  [[nodiscard]] index_t vocab_size() const { return vocab_size_; }
  [[nodiscard]] index_t context_size() const { return llama_n_ctx_seq(context_); }
  [[nodiscard]] index_t max_streams() const { return std::ssize(streams_); }
  [[nodiscard]] index_t max_chunk() const { return llama_n_batch(context_); }
  [[nodiscard]] bool is_end(token_id t) const { return llama_vocab_is_eog(vocab_, t); }
  /// False for recurrent and hybrid models.
  [[nodiscard]] bool can_truncate() const { return can_truncate_; }

  /// Sequences that are not open here and hold nothing of anybody's. O(max_streams).
  [[nodiscard]] index_t free_streams() const {
    return std::ranges::count_if(streams_, [&](const stream& s) { return is_free(s); });
  }

  /// The free sequence with the lowest id.
  stream_id open() {
    const auto free = std::ranges::find_if(streams_, [&](const stream& s) { return is_free(s); });
    require<backend_error>(free != streams_.end(), "llama_lm", [&] {
      const auto open = std::ranges::count(streams_, true, &stream::open);
      return "no sequence is free: of the context's " + std::to_string(streams_.size()) +
             " (n_seq_max) " + std::to_string(open) + " are open here" +
             (open < max_streams() ? ", and the host holds the others" : "");
    });
    *free = {.id = free->id, .open = true};
    return free->id;
  }

  stream_id fork(stream_id s) {
    const index_t length = usable(s).length;
    const stream_id copy = open();
    if (length > 0) llama_memory_seq_cp(memory_, s, copy, -1, -1);
    at(copy).length = length;
    return copy;
  }

  void drop(stream_id s) {
    stream& held = at(s);
    llama_memory_seq_rm(memory_, s, -1, -1);
    held = {.id = s};
  }

  /// False also where an attention window has already forgotten what the next token would need.
  bool truncate(stream_id s, index_t length) {
    stream& held = usable(s);
    require(length >= 0 && length <= held.length, "length", [&] {
      return "is " + std::to_string(length) + ", but the stream has " +
             std::to_string(held.length) + " tokens";
    });
    if (length == held.length) return true;
    if (!cut(held, length)) return false;
    held.length = length;
    held.rows = 0;
    return true;
  }

  /// -1: an aborted call spent the stream.
  [[nodiscard]] index_t length(stream_id s) const { return at(s).length; }

  /// Raises target_error for a token outside the model's table, shape_error for a stream given
  /// twice, backend_error for more tokens than n_batch, a stream that is not open or spent, or a
  /// sequence that somebody else has changed; all streams are then as they were.
  ///
  /// After an abort (llama_set_abort_callback) streams are cut back to what they held. A recurrent
  /// model cannot do that: what it had begun is spent, and if a stream that the call did not name
  /// holds something, its state may have been moved half-way, and the call is fatal.
  forward_status forward(std::span<const chunk> chunks) {
    by_id_.assign(chunks.begin(), chunks.end());
    std::ranges::sort(by_id_, {}, &chunk::stream);
    const bool room = check();
    for (stream& s : streams_) s.rows = 0;
    if (failed_) return forward_status::fatal;
    if (!room) return forward_status::no_room;
    fill_batch();
    if (tokens_.empty()) return forward_status::ok;

    const llama_batch batch{.n_tokens = static_cast<std::int32_t>(tokens_.size()),
                            .token = tokens_.data(),
                            .embd = nullptr,
                            .pos = positions_.data(),
                            .n_seq_id = one_.data(),
                            .seq_id = ids_.data(),
                            .logits = wanted_.data()};
    const std::int32_t code = llama_decode(context_, batch);
    if (code == 0) {
      for (const chunk& c : by_id_) at(c.stream).length += std::ssize(c.tokens);
      find_rows();
      return forward_status::ok;
    }
    for (const chunk& c : by_id_) at(c.stream).rows = 0;
    if (code == 1) return forward_status::no_room;
    require<backend_error>(code != -1, "llama_decode", "refused the batch; its log says why");
    return undo(code == 2);
  }

  /// llama.cpp's own rows, a stride of its whole table apart. Several threads may ask.
  [[nodiscard]] matrix_view<const float> logits(stream_id s) const {
    const stream& held = at(s);
    if (held.rows == 0) return {nullptr, 0, vocab_size_};
    return {held.logits, held.rows, vocab_size_, columns_};
  }

 private:
  struct stream {
    llama_seq_id id = 0;
    bool open = false;
    index_t length = 0;
    index_t rows = 0;               // of logits, from the last forward
    std::int32_t first_row = 0;     // the token of the last batch that has the first of them
    const float* logits = nullptr;  // the first of them
  };

  [[nodiscard]] const stream& at(stream_id s) const {
    require<backend_error>(
        s >= 0 && s < max_streams() && streams_[static_cast<std::size_t>(s)].open, "stream",
        [&] { return std::to_string(s) + " is not open"; });
    return streams_[static_cast<std::size_t>(s)];
  }
  [[nodiscard]] stream& at(stream_id s) { return const_cast<stream&>(std::as_const(*this).at(s)); }
  [[nodiscard]] stream& usable(stream_id s) {
    stream& held = at(s);
    require<backend_error>(held.length >= 0, "stream", [&] {
      return std::to_string(s) + " was spent by an aborted call and can only be dropped";
    });
    return held;
  }

  [[nodiscard]] index_t held_by_llama(stream_id s) const {
    return llama_memory_seq_pos_max(memory_, s) + index_t{1};
  }
  [[nodiscard]] bool is_free(const stream& s) const { return !s.open && held_by_llama(s.id) == 0; }

  // Raises for what is wrong with by_id_; false if a stream would pass the context's size.
  [[nodiscard]] bool check() {
    bool room = true;
    std::size_t count = 0;
    for (std::size_t i = 0; i < by_id_.size(); ++i) {
      const chunk& c = by_id_[i];
      const stream& s = usable(c.stream);
      require(i == 0 || by_id_[i - 1].stream != c.stream, "chunks",
              [&] { return "stream " + std::to_string(c.stream) + " stands twice"; });
      require<backend_error>(held_by_llama(c.stream) == s.length, "llama_context", [&] {
        return "somebody else has used sequence " + std::to_string(c.stream) + ": it holds " +
               std::to_string(held_by_llama(c.stream)) + " tokens, not " + std::to_string(s.length);
      });
      for (const token_id t : c.tokens) {
        require<target_error>(t >= 0 && t < columns_, "tokens", [&] {
          return std::to_string(t) + " is not a token of the " + std::to_string(columns_);
        });
      }
      count += c.tokens.size();
      room = room && s.length + std::ssize(c.tokens) <= context_size();
    }
    // llama_decode ends the program for a larger one.
    require<backend_error>(static_cast<index_t>(count) <= max_chunk(), "chunks", [&] {
      return "have " + std::to_string(count) + " tokens, more than n_batch, which is " +
             std::to_string(max_chunk());
    });
    return room;
  }

  void fill_batch() {
    tokens_.clear();
    positions_.clear();
    ids_.clear();
    wanted_.clear();
    for (const chunk& c : by_id_) {
      stream& s = at(c.stream);
      const index_t n = std::ssize(c.tokens);
      if (n > 0 && c.logits != want_logits::none) s.rows = c.logits == want_logits::all ? n : 1;
      s.first_row = static_cast<std::int32_t>(std::ssize(tokens_) + n - s.rows);
      tokens_.insert(tokens_.end(), c.tokens.begin(), c.tokens.end());
      for (index_t i = 0; i < n; ++i) {
        positions_.push_back(static_cast<llama_pos>(s.length + i));
        ids_.push_back(&s.id);
        wanted_.push_back(i >= n - s.rows);
      }
    }
    if (one_.size() < tokens_.size()) one_.resize(tokens_.size(), 1);
  }

  // llama.cpp waits for a device, and puts the rows of several micro-batches in order, when it is
  // first asked for one: it moves rows, so two threads that ask at once get each other's.
  void find_rows() {
    for (const chunk& c : by_id_) {
      stream& s = at(c.stream);
      if (s.rows == 0) continue;
      s.logits = llama_get_logits_ith(context_, s.first_row);
      require<backend_error>(s.logits != nullptr, "llama_context", "has no logits");
    }
  }

  // Whether the cache still has what the token after the first `length` of `s` looks at.
  [[nodiscard]] bool in_window(const stream& s, index_t length) const {
    return !can_truncate_ || window_ <= 0 ||
           llama_memory_seq_pos_min(memory_, s.id) <= (std::max<index_t>)(0, length - window_ + 1);
  }

  // Takes back what is behind the first `length` tokens, or leaves the sequence as it is.
  bool cut(const stream& s, index_t length) {
    if (length == 0) return llama_memory_seq_rm(memory_, s.id, -1, -1);
    return in_window(s, length) &&
           llama_memory_seq_rm(memory_, s.id, static_cast<llama_pos>(length), -1) &&
           held_by_llama(s.id) == length;
  }

  // A decode that was aborted, or failed, leaves the micro-batches that were done in the memory.
  forward_status undo(bool aborted) {
    for (const chunk& c : by_id_) {
      stream& s = at(c.stream);
      const bool whole =
          held_by_llama(s.id) == s.length ? in_window(s, s.length) : cut(s, s.length);
      if (whole) continue;
      llama_memory_seq_rm(memory_, s.id, -1, -1);
      s.length = -1;
    }
    // A recurrent model moves the states of other sequences to make a batch's lie together.
    for (const stream& s : streams_) {
      const bool named = std::ranges::binary_search(by_id_, s.id, {}, &chunk::stream);
      if (!can_truncate_ && s.open && s.length > 0 && !named) aborted = false;
    }
    failed_ = !aborted;
    return aborted ? forward_status::aborted : forward_status::fatal;
  }

  llama_context* context_;
  llama_memory_t memory_ = nullptr;
  const llama_vocab* vocab_ = nullptr;
  index_t columns_ = 0;     // of llama.cpp's rows
  index_t vocab_size_ = 0;  // of ours
  index_t window_ = 0;      // of attention, in tokens; 0: all
  bool can_truncate_ = false;
  bool failed_ = false;
  std::vector<stream> streams_;
  std::vector<chunk> by_id_;
  // The batch.
  std::vector<llama_token> tokens_;
  std::vector<llama_pos> positions_;
  std::vector<std::int32_t> one_;
  std::vector<llama_seq_id*> ids_;
  std::vector<std::int8_t> wanted_;
};

static_assert(truncatable_lm<llama_lm>);

}  // namespace idiolect
