// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A language model made of hashes, and a tokenizer with pieces of several bytes. Every row depends
// on the whole text before it, so that a wrong context shows at once; most of it on the last two
// tokens, so that two contexts with one continuation nearly agree, as a teacher and a student do.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <idiolect/core/error.hpp>
#include <idiolect/core/matrix_view.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/model/causal_lm.hpp>
#include <idiolect/model/tokenizer.hpp>

#include "support/rows.hpp"

namespace idiolect::test {

struct hash_lm_options {
  std::uint64_t seed = 1;
  index_t vocab = 40;
  index_t padding = 0;  ///< columns behind them that no token exists for, more likely than any
  std::vector<token_id> ends = {};
  index_t context = 100;
  index_t streams = 256;
  index_t chunk = 4096;
  index_t cache = 1 << 20;  ///< tokens over all streams
  double noise = 1;       ///< of what the whole text says, beside what its last two tokens say
  bool hostile = false;   ///< some rows have masked halves, some NaN
  double rounding = 0;    ///< a row's error when its chunk has more than one token
  index_t trouble_at = -1;  ///< the call of forward that ends with `trouble`
  forward_status trouble = forward_status::aborted;
};

/// Models idiolect::causal_lm, and checks what its callers do.
class hash_lm {
 public:
  static constexpr bool batch_invariant = true;  // while options.rounding is 0

  explicit hash_lm(hash_lm_options o) : options_(o) {}

  [[nodiscard]] index_t vocab_size() const { return options_.vocab + options_.padding; }
  [[nodiscard]] index_t context_size() const { return options_.context; }
  [[nodiscard]] index_t max_streams() const { return options_.streams; }
  [[nodiscard]] index_t max_chunk() const { return options_.chunk; }
  [[nodiscard]] bool is_end(token_id t) const { return std::ranges::count(options_.ends, t) > 0; }

  stream_id open() {
    require<backend_error>(open_streams() < options_.streams, "open", "too many streams");
    streams_.emplace(next_, stream{});
    most_streams_ = std::max(most_streams_, open_streams());
    return next_++;
  }
  stream_id fork(stream_id s) {
    const stream copy = streams_.at(s);
    const stream_id id = open();
    streams_[id] = copy;
    return id;
  }
  void drop(stream_id s) { require<backend_error>(streams_.erase(s) == 1, "drop", "not open"); }
  [[nodiscard]] index_t length(stream_id s) const {
    return static_cast<index_t>(streams_.at(s).tokens.size());
  }

  forward_status forward(std::span<const chunk> chunks) {
    require(!dead_, "forward", "called after a fatal error");
    index_t total = 0;
    index_t cached = 0;
    std::vector<stream_id> seen;
    for (const chunk& c : chunks) {
      require(!c.tokens.empty(), "chunks", "an empty one");
      require(std::ranges::find(seen, c.stream) == seen.end(), "chunks", "a stream twice");
      seen.push_back(c.stream);
      total += static_cast<index_t>(c.tokens.size());
      if (length(c.stream) + static_cast<index_t>(c.tokens.size()) > options_.context) {
        ++overlong_;
        return forward_status::no_room;
      }
    }
    require(total > 0 && total <= options_.chunk, "chunks", "too many tokens or none");
    for (const auto& [id, s] : streams_) cached += static_cast<index_t>(s.tokens.size());
    if (calls_ == options_.trouble_at) {
      ++calls_;
      dead_ = options_.trouble == forward_status::fatal;
      return options_.trouble;
    }
    if (cached + total > options_.cache) {
      ++evictions_;
      return forward_status::no_room;
    }
    ++calls_;
    for (auto& [id, s] : streams_) s.logits.clear();
    for (const chunk& c : chunks) {
      stream& s = streams_.at(c.stream);
      const double error = c.tokens.size() > 1 ? options_.rounding : 0;
      for (std::size_t i = 0; i < c.tokens.size(); ++i) {
        s.tokens.push_back(c.tokens[i]);
        const bool wanted = c.logits == want_logits::all ||
                            (c.logits == want_logits::last && i + 1 == c.tokens.size());
        if (wanted) append_row(s.tokens, error, s.logits);
      }
    }
    return forward_status::ok;
  }

  [[nodiscard]] matrix_view<const float> logits(stream_id s) const {
    const auto& rows = streams_.at(s).logits;
    return {rows.data(), static_cast<index_t>(rows.size()) / vocab_size(), vocab_size()};
  }

  [[nodiscard]] index_t open_streams() const { return static_cast<index_t>(streams_.size()); }
  [[nodiscard]] index_t most_streams() const { return most_streams_; }
  [[nodiscard]] index_t calls() const { return calls_; }
  [[nodiscard]] index_t evictions() const { return evictions_; }  // no_room for the cache
  [[nodiscard]] index_t overlong() const { return overlong_; }    // no_room for the context

 private:
  struct stream {
    std::vector<token_id> tokens;
    std::vector<float> logits;
  };

  void append_row(const std::vector<token_id>& tokens, double error,
                  std::vector<float>& rows) const {
    std::uint64_t whole = options_.seed;
    for (const token_id t : tokens) {
      whole = random_source(whole ^ static_cast<std::uint64_t>(t + 1)).bits();
    }
    std::uint64_t recent = options_.seed + 77;
    for (std::size_t k = tokens.size() < 2 ? 0 : tokens.size() - 2; k < tokens.size(); ++k) {
      recent = random_source(recent ^ static_cast<std::uint64_t>(tokens[k] + 1)).bits();
    }
    random_source common(recent);
    random_source own(whole);
    // From nearly certain to nearly uniform, as rows of a real model are.
    const double sharpness = std::exp(common.uniform(-1.5, 2));
    const index_t kind = options_.hostile ? own.below(60) : 59;
    for (index_t i = 0; i < options_.vocab; ++i) {
      double z = sharpness * common.normal() + options_.noise * own.normal() + error;
      if (i % 3 == 0) z += error;
      if (kind < 6 && i % 2 == (kind < 3 ? 0 : 1)) z = -infinity;
      if (kind == 6 && own.below(4) == 0) z = -infinity;
      rows.push_back(static_cast<float>(z));
    }
    if (kind == 7) {
      const index_t bad = own.below(3 * options_.vocab);
      if (bad < options_.vocab) {
        const auto at = rows.end() - static_cast<std::ptrdiff_t>(options_.vocab - bad);
        *at = static_cast<float>(own.below(2) == 0 ? not_a_number : infinity);
      }
    }
    for (index_t i = 0; i < options_.padding; ++i) {
      rows.push_back(options_.hostile && i == 1 ? static_cast<float>(not_a_number) : 50.0F);
    }
  }

  hash_lm_options options_;
  std::map<stream_id, stream> streams_;
  stream_id next_ = 0;
  index_t most_streams_ = 0;
  index_t calls_ = 0;
  index_t evictions_ = 0;
  index_t overlong_ = 0;
  bool dead_ = false;
};
static_assert(causal_lm<hash_lm>);

/// Pieces of 0 to 3 bytes of '#', 'a', and the two bytes of 'é'.
class scrap_tokenizer {
 public:
  scrap_tokenizer(index_t vocab, std::uint64_t seed) {
    random_source random(seed);
    for (index_t t = 0; t < vocab; ++t) {
      std::string piece;
      for (index_t k = random.below(4); k > 0; --k) {
        piece += std::string_view("##a\xC3\xA9")[static_cast<std::size_t>(random.below(5))];
      }
      pieces_.push_back(std::move(piece));
    }
  }
  [[nodiscard]] index_t vocab_size() const { return static_cast<index_t>(pieces_.size()); }
  void encode(std::string_view, std::vector<token_id>&) const {}
  void append_piece(token_id t, std::string& bytes) const {
    bytes += pieces_[static_cast<std::size_t>(t)];
  }

 private:
  std::vector<std::string> pieces_;
};
static_assert(tokenizer<scrap_tokenizer>);

}  // namespace idiolect::test
