// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// What many prompts begin with (a system turn, worked examples) is forwarded once, in a stream of
// its own, and forked for each of them.
//
// A beginning is noticed when two prompts, one after the other, share it; before it is forwarded it
// is cut to what those that come at the same time share as well. A prompt takes the longest one
// that it begins with, and forwards its own tokens only, the last one at least.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include <idiolect/core/types.hpp>
#include <idiolect/model/causal_lm.hpp>

namespace idiolect::detail {

/// A stream that a prompt has been given, with its first tokens in it; length 0: none.
struct forked_beginning {
  stream_id stream = 0;
  index_t length = 0;
};

/// How many tokens two prompts share at their beginning.
[[nodiscard]] inline index_t shared_length(std::span<const token_id> a,
                                           std::span<const token_id> b) {
  return static_cast<index_t>(std::ranges::mismatch(a, b).in1 - a.begin());
}

template <causal_lm Model>
class shared_beginnings {
 public:
  /// `shortest`: tokens that are worth a stream; 0: nothing is shared.
  explicit shared_beginnings(index_t shortest) : shortest_(shortest) {}

  /// Looks at a prompt that is about to be decoded; `side` 0 or 1: those of one side resemble each
  /// other. O(prompt).
  void observe(std::size_t side, const std::vector<token_id>& prompt) {
    if (shortest_ == 0) return;
    const auto usable =
        std::span(prompt).first(prompt.size() - 1);  // the last one gives the logits
    index_t covered = 0;
    for (beginning& b : beginnings_) {
      const index_t common = shared_length(b.tokens, usable);
      if (b.length == 0 && common >= shortest_) b.tokens.resize(static_cast<std::size_t>(common));
      if (common == size(b)) covered = std::max(covered, common);
    }
    std::vector<token_id>& last = last_[side];
    const index_t common = shared_length(last, usable);
    if (common >= covered + shortest_) {
      beginnings_.push_back({.tokens = {usable.begin(), usable.begin() + common}});
    }
    last.assign(usable.begin(), usable.end());
  }

  /// Forwards what was noticed, in at most `streams` further streams. On anything but `ok` nothing
  /// is shared any more, and nothing was lost. `tokens` counts those that were forwarded.
  forward_status forward(Model& model, index_t streams, index_t& tokens) {
    std::ranges::sort(beginnings_, {},
                      &shared_beginnings::size);  // a short one serves a longer one
    std::erase_if(beginnings_, [&](const beginning& b) { return b.length == 0 && doubled(b); });
    for (std::size_t k = 0; k < beginnings_.size();) {
      if (beginnings_[k].length > 0) {
        ++k;
        continue;
      }
      if (open_ == most && forget_oldest(model)) {
        k = 0;
        continue;
      }
      if (streams <= 0 || open_ == most) {
        beginnings_.erase(beginnings_.begin() + static_cast<std::ptrdiff_t>(k));
        continue;
      }
      --streams;
      const forward_status status = begin(model, beginnings_[k], tokens);
      if (status == forward_status::ok) continue;
      give_up(model);
      return status;
    }
    return forward_status::ok;
  }

  /// A stream with the beginning of `prompt` in it, of length 0 where none is known.
  forked_beginning fork(Model& model, std::span<const token_id> prompt) {
    beginning* longest = nullptr;
    for (beginning& b : beginnings_) {
      if (b.length > 0 && b.length < static_cast<index_t>(prompt.size()) &&
          shared_length(b.tokens, prompt) == b.length &&
          (longest == nullptr || b.length > longest->length)) {
        longest = &b;
      }
    }
    if (longest == nullptr) return {};
    longest->used = ++clock_;
    return {model.fork(longest->stream), longest->length};
  }

  /// Streams that are held.
  [[nodiscard]] index_t streams() const { return open_; }

  /// Drops all streams. Returns how many there were.
  index_t drop(Model& model) {
    const index_t held = open_;
    while (!beginnings_.empty()) forget(model, beginnings_.size() - 1);
    for (auto& last : last_) last.clear();
    return held;
  }
  /// The cache is full: no more of it for beginnings until the decoder starts anew.
  bool give_up(Model& model) {
    shortest_ = 0;
    return drop(model) > 0;
  }

 private:
  /// At most so many are held: one for each side, and the two that follow them.
  static constexpr index_t most = 4;

  struct beginning {
    std::vector<token_id> tokens;
    stream_id stream = 0;
    index_t length = 0;      // in the stream; 0: it has none yet
    std::uint64_t used = 0;  // when it was last forked
  };

  static index_t size(const beginning& b) { return static_cast<index_t>(b.tokens.size()); }

  // Two that were noticed apart may have been cut to the same tokens.
  [[nodiscard]] bool doubled(const beginning& b) const {
    return std::ranges::any_of(beginnings_, [&](const beginning& other) {
      return &other != &b && other.tokens == b.tokens && (other.length > 0 || &other < &b);
    });
  }

  forward_status begin(Model& model, beginning& b, index_t& tokens) {
    const forked_beginning known = fork(model, b.tokens);
    b.stream = known.length > 0 ? known.stream : model.open();
    b.length = size(b);
    b.used = ++clock_;
    ++open_;
    const auto at_once = static_cast<std::size_t>(model_traits<Model>::max_chunk(model));
    auto rest = std::span<const token_id>(b.tokens).subspan(static_cast<std::size_t>(known.length));
    while (!rest.empty()) {
      const chunk c{b.stream, rest.first(std::min(at_once, rest.size())), want_logits::none};
      const forward_status status = model.forward({&c, 1});
      if (status != forward_status::ok) return status;
      tokens += static_cast<index_t>(c.tokens.size());
      rest = rest.subspan(c.tokens.size());
    }
    return forward_status::ok;
  }

  bool forget_oldest(Model& model) {
    const auto held = [](const beginning& b) { return b.length > 0; };
    auto oldest = beginnings_.end();
    for (auto b = beginnings_.begin(); b != beginnings_.end(); ++b) {
      if (held(*b) && (oldest == beginnings_.end() || b->used < oldest->used)) oldest = b;
    }
    if (oldest == beginnings_.end()) return false;
    forget(model, static_cast<std::size_t>(oldest - beginnings_.begin()));
    return true;
  }

  void forget(Model& model, std::size_t k) {
    const beginning b = std::move(beginnings_[k]);
    beginnings_.erase(beginnings_.begin() + static_cast<std::ptrdiff_t>(k));
    if (b.length == 0) return;
    --open_;
    model.drop(b.stream);
  }

  index_t shortest_;
  std::vector<beginning> beginnings_;
  std::array<std::vector<token_id>, 2> last_;  // prompts, without their last token
  index_t open_ = 0;
  std::uint64_t clock_ = 0;
};

}  // namespace idiolect::detail
