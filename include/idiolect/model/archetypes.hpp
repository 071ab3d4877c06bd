// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The least that is a causal_lm and a tokenizer: what to copy when writing an adapter, and what
// tests run algorithms on without a real model. The model is a table: the logits of the next token
// depend on the last token alone.

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <idiolect/core/error.hpp>
#include <idiolect/core/matrix_view.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/model/causal_lm.hpp>
#include <idiolect/model/tokenizer.hpp>

namespace idiolect::archetype {

/// A first-order Markov model as a causal_lm. Row t of the table holds the logits after token t.
class markov_lm {
 public:
  static constexpr bool batch_invariant = true;

  /// `table`: V x V logits, row-major. `context`: tokens a stream can hold.
  markov_lm(std::vector<float> table, index_t vocab, index_t context, token_id end)
      : table_(std::move(table)), vocab_(vocab), context_(context), end_(end) {
    require(static_cast<index_t>(table_.size()) == vocab * vocab, "table",
            "must have vocab * vocab logits");
  }

  [[nodiscard]] index_t vocab_size() const { return vocab_; }
  [[nodiscard]] index_t context_size() const { return context_; }
  [[nodiscard]] index_t max_streams() const { return 64; }
  [[nodiscard]] bool is_end(token_id t) const { return t == end_; }

  stream_id open() {
    require<backend_error>(static_cast<index_t>(streams_.size()) < max_streams(), "markov_lm",
                           "no stream is free");
    streams_.emplace(next_, stream{});
    return next_++;
  }
  stream_id fork(stream_id s) {
    stream copy = at(s);
    const stream_id id = open();
    streams_[id] = std::move(copy);
    return id;
  }
  void drop(stream_id s) {
    (void)at(s);
    streams_.erase(s);
  }
  [[nodiscard]] index_t free_streams() const {
    return max_streams() - static_cast<index_t>(streams_.size());
  }
  bool truncate(stream_id s, index_t length) {
    auto& tokens = at(s).tokens;
    require(length >= 0 && length <= static_cast<index_t>(tokens.size()), "length",
            "the stream is not that long");
    tokens.resize(static_cast<std::size_t>(length));
    return true;
  }
  [[nodiscard]] index_t length(stream_id s) const {
    return static_cast<index_t>(at(s).tokens.size());
  }

  // Everything is checked before anything is appended: no_room leaves all streams as they were.
  forward_status forward(std::span<const chunk> chunks) {
    for (const chunk& c : chunks) {
      if (length(c.stream) + static_cast<index_t>(c.tokens.size()) > context_) {
        return forward_status::no_room;
      }
      for (const token_id t : c.tokens) {
        require<target_error>(t >= 0 && t < vocab_, "tokens", "outside the vocabulary");
      }
    }
    for (auto& entry : streams_) entry.second.logits.clear();
    for (const chunk& c : chunks) {
      stream& s = at(c.stream);
      s.tokens.insert(s.tokens.end(), c.tokens.begin(), c.tokens.end());
      if (c.logits == want_logits::none || c.tokens.empty()) continue;
      const std::size_t first = c.logits == want_logits::all ? 0 : c.tokens.size() - 1;
      for (std::size_t i = first; i < c.tokens.size(); ++i) {
        const float* const row = table_.data() + c.tokens[i] * vocab_;
        s.logits.insert(s.logits.end(), row, row + vocab_);
      }
    }
    return forward_status::ok;
  }

  [[nodiscard]] matrix_view<const float> logits(stream_id s) const {
    const auto& held = at(s).logits;
    return {held.data(), static_cast<index_t>(held.size()) / vocab_, vocab_};
  }

 private:
  struct stream {
    std::vector<token_id> tokens;
    std::vector<float> logits;  // of the last forward
  };

  [[nodiscard]] const stream& at(stream_id s) const {
    const auto found = streams_.find(s);
    require<backend_error>(found != streams_.end(), "stream", "not open");
    return found->second;
  }
  [[nodiscard]] stream& at(stream_id s) { return const_cast<stream&>(std::as_const(*this).at(s)); }

  std::vector<float> table_;
  index_t vocab_;
  index_t context_;
  token_id end_;
  std::map<stream_id, stream> streams_;
  stream_id next_ = 0;
};

/// Bytes as tokens: id = byte value, and nothing in front.
struct byte_tokenizer {
  [[nodiscard]] index_t vocab_size() const { return 256; }

  void encode(std::string_view text, std::vector<token_id>& out) const { encode_text(text, out); }
  void encode_text(std::string_view text, std::vector<token_id>& out) const {
    for (const char c : text) out.push_back(static_cast<unsigned char>(c));
  }
  void append_piece(token_id t, std::string& bytes) const { bytes += static_cast<char>(t); }
};

/// The bytes, and special tokens for the turns of a conversation: `begin`, then for each turn `role`,
/// its role, `content`, its content and `end`; last `role`, "assistant" and `content`.
struct turn_tokenizer : byte_tokenizer {
  static constexpr token_id begin = 256, role = 257, content = 258, end = 259;

  [[nodiscard]] index_t vocab_size() const { return 260; }

  void encode(std::string_view text, std::vector<token_id>& out) const {
    out.push_back(begin);
    encode_text(text, out);
  }
  void append_piece(token_id t, std::string& bytes) const {
    if (t < begin) byte_tokenizer::append_piece(t, bytes);
  }
  void encode_chat(std::span<const chat_turn> turns, std::vector<token_id>& out) const {
    out.push_back(begin);
    for (const chat_turn& t : turns) {
      if (&t != turns.data()) out.push_back(end);
      open(t.role, out);
      encode_text(t.content, out);
    }
    if (!turns.empty() && turns.back().role == "assistant") return;
    if (!turns.empty()) out.push_back(end);
    open("assistant", out);
  }

 private:
  void open(std::string_view who, std::vector<token_id>& out) const {
    out.push_back(role);
    encode_text(who, out);
    out.push_back(content);
  }
};

static_assert(truncatable_lm<markov_lm> && model_traits<markov_lm>::batch_invariant);
static_assert(continuing_tokenizer<byte_tokenizer> && chat_tokenizer<turn_tokenizer>);

}  // namespace idiolect::archetype
