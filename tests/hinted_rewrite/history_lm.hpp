// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A model whose logits depend on the whole text before them, so that a stream that has lost or
// repeated a token, or taken another stream's, gives something else at once.

#include <cstdint>
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

namespace idiolect::test {

/// Tokens: 0 ends a text, 1 begins it, then the characters of `letters`.
struct letters_tokenizer {
  static constexpr std::string_view letters = "0123456789+=> \nHx";
  static constexpr token_id first = 2;

  [[nodiscard]] index_t vocab_size() const { return first + static_cast<index_t>(letters.size()); }
  void encode(std::string_view text, std::vector<token_id>& out) const {
    out.push_back(1);
    for (const char c : text) {
      const auto at = letters.find(c);
      out.push_back(at == std::string_view::npos ? vocab_end() : first + static_cast<token_id>(at));
    }
  }
  void append_piece(token_id t, std::string& bytes) const {
    if (t >= first) bytes += letters[static_cast<std::size_t>(t - first)];
  }

 private:
  [[nodiscard]] static token_id vocab_end() {
    return first + static_cast<token_id>(letters.size()) - 1;
  }
};
static_assert(tokenizer<letters_tokenizer>);

class history_lm {
 public:
  static constexpr bool batch_invariant = true;

  explicit history_lm(index_t context = 64, index_t streams = 1000, index_t chunk = 1000)
      : context_(context), max_streams_(streams), max_chunk_(chunk) {}

  [[nodiscard]] static index_t vocab_size() { return letters_tokenizer{}.vocab_size(); }
  [[nodiscard]] index_t context_size() const { return context_; }
  [[nodiscard]] index_t max_streams() const { return max_streams_; }
  [[nodiscard]] index_t max_chunk() const { return max_chunk_; }
  [[nodiscard]] bool is_end(token_id t) const { return t == 0; }

  stream_id open() {
    require<backend_error>(static_cast<index_t>(streams_.size()) < max_streams_, "history_lm",
                           "full");
    streams_.emplace(next_, stream{});
    return next_++;
  }
  stream_id fork(stream_id s) {
    const stream_id id = open();
    streams_.at(id) = streams_.at(s);
    return id;
  }
  void drop(stream_id s) { streams_.erase(s); }
  [[nodiscard]] index_t length(stream_id s) const {
    return static_cast<index_t>(streams_.at(s).tokens.size());
  }
  [[nodiscard]] index_t open_streams() const { return static_cast<index_t>(streams_.size()); }

  /// Calls from this one on (the first is 1) end with `status`; 0: all are well.
  index_t fails_at = 0;
  forward_status failure = forward_status::fatal;
  index_t calls = 0;

  forward_status forward(std::span<const chunk> chunks) {
    ++calls;
    if (fails_at > 0 && calls >= fails_at) return failure;
    for (const chunk& c : chunks) {
      if (length(c.stream) + static_cast<index_t>(c.tokens.size()) > context_) {
        return forward_status::no_room;
      }
    }
    for (auto& s : streams_) s.second.logits.clear();
    for (const chunk& c : chunks) {
      stream& s = streams_.at(c.stream);
      for (std::size_t i = 0; i < c.tokens.size(); ++i) {
        s.tokens.push_back(c.tokens[i]);
        if (c.logits == want_logits::all ||
            (c.logits == want_logits::last && i + 1 == c.tokens.size())) {
          const auto row = logits_after(s.tokens);
          s.logits.insert(s.logits.end(), row.begin(), row.end());
        }
      }
    }
    return forward_status::ok;
  }

  [[nodiscard]] matrix_view<const float> logits(stream_id s) const {
    const auto& held = streams_.at(s).logits;
    return {held.data(), static_cast<index_t>(held.size()) / vocab_size(), vocab_size()};
  }

  /// The row after these tokens: noise, with a text's end and the delimiter likely enough.
  [[nodiscard]] static std::vector<float> logits_after(std::span<const token_id> tokens) {
    std::uint64_t hash = 1469598103934665603u;
    for (const token_id t : tokens)
      hash = (hash ^ static_cast<std::uint64_t>(t + 1)) * 1099511628211u;
    std::vector<float> row;
    for (index_t i = 0; i < vocab_size(); ++i) {
      std::uint64_t x = hash + static_cast<std::uint64_t>(i) * 0x9E3779B97F4A7C15u;
      x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
      x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
      row.push_back(static_cast<float>(static_cast<double>((x ^ (x >> 31)) >> 11) * 0x1.0p-53 * 6));
    }
    row[1] = -1e9F;  // a text begins once
    return row;
  }

 private:
  struct stream {
    std::vector<token_id> tokens{};
    std::vector<float> logits{};
  };

  index_t context_;
  index_t max_streams_;
  index_t max_chunk_;
  std::map<stream_id, stream> streams_;
  stream_id next_ = 0;
};
static_assert(causal_lm<history_lm>);

}  // namespace idiolect::test
