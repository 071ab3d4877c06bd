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

#include <idiolect/core/error.hpp>
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
    for (const beginning& b : held_) {
      if (shared_length(b.tokens, usable) == size(b.tokens))
        covered = (std::max)(covered, size(b.tokens));
    }
    for (noticed& n : noticed_) {
      const index_t common = shared_length(n.tokens, usable);
      if (n.side != side || common < shortest_) continue;
      n.tokens.resize(static_cast<std::size_t>(common));
      covered = (std::max)(covered, common);
    }
    std::vector<token_id>& last = last_[side];
    const index_t common = shared_length(last, usable);
    if (common >= covered + shortest_) {
      noticed_.push_back({side, {usable.begin(), usable.begin() + common}});
    }
    last.assign(usable.begin(), usable.end());
  }

  /// Forwards what was noticed, in at most `streams` further streams. `cancelled` is asked before
  /// each call. On anything but `ok` nothing is held any more; the prompts can do without. Counts
  /// its calls and tokens in `work`.
  template <class Cancelled, class Counts>
  forward_status forward(Model& model, index_t streams, Cancelled&& cancelled, Counts& work) {
    std::vector<noticed> due = std::exchange(noticed_, {});
    // A short one serves a longer one.
    std::ranges::sort(due, {}, [](const noticed& n) { return n.tokens.size(); });
    const std::uint64_t before = clock_;
    for (noticed& n : due) {
      // Two that were noticed apart may have been cut to the same tokens.
      if (std::ranges::find(held_, n.tokens, &beginning::tokens) != held_.end()) continue;
      if (streams <= 0 || this->streams() >= most_) {
        if (!forget_oldest(model, before)) continue;
        ++streams;
      }
      --streams;
      const forward_status status = begin(model, std::move(n.tokens), cancelled, work);
      if (status == forward_status::ok) continue;
      drop(model);
      return status;
    }
    return forward_status::ok;
  }

  /// A stream with the beginning of `prompt` in it, of length 0 where none is held.
  forked_beginning fork(Model& model, std::span<const token_id> prompt) {
    beginning* longest = nullptr;
    for (beginning& b : held_) {
      if (b.tokens.size() < prompt.size() && shared_length(b.tokens, prompt) == size(b.tokens) &&
          (longest == nullptr || b.tokens.size() > longest->tokens.size())) {
        longest = &b;
      }
    }
    if (longest == nullptr) return {};
    longest->used = ++clock_;
    return {model.fork(longest->stream), size(longest->tokens)};
  }

  /// Streams that are held.
  [[nodiscard]] index_t streams() const { return static_cast<index_t>(held_.size()); }

  /// A text needs a stream: gives one back, and holds no more than are left from now on. False:
  /// there is none.
  bool make_way(Model& model) {
    if (!forget_oldest(model, clock_)) return false;
    most_ = streams();
    return true;
  }
  /// The cache is needed: gives all streams back, and holds none from now on.
  bool give_up(Model& model) {
    if (held_.empty()) return false;
    shortest_ = 0;
    drop(model);
    return true;
  }
  void drop(Model& model) {
    while (forget_oldest(model, clock_)) {
    }
    noticed_.clear();
    for (auto& last : last_) last.clear();
  }

 private:
  struct noticed {
    std::size_t side;
    std::vector<token_id> tokens;
  };
  struct beginning {
    std::vector<token_id> tokens;
    stream_id stream;
    std::uint64_t used;  // when it was last forked
  };

  static index_t size(std::span<const token_id> tokens) {
    return static_cast<index_t>(tokens.size());
  }

  template <class Cancelled, class Counts>
  forward_status begin(Model& model, std::vector<token_id> tokens, Cancelled& cancelled,
                       Counts& work) {
    const forked_beginning known = fork(model, tokens);
    held_.push_back({.tokens = std::move(tokens),
                     .stream = known.length > 0 ? known.stream : model.open(),
                     .used = ++clock_});
    const beginning& b = held_.back();
    const auto at_once = static_cast<std::size_t>(model_traits<Model>::max_chunk(model));
    auto rest = std::span<const token_id>(b.tokens).subspan(static_cast<std::size_t>(known.length));
    while (!rest.empty()) {
      if (cancelled()) return forward_status::aborted;
      const chunk c{b.stream, rest.first((std::min)(at_once, rest.size())), want_logits::none};
      const forward_status status = model.forward({&c, 1});
      if (status != forward_status::ok) return status;
      ++work.calls;
      work.beginning_tokens += size(c.tokens);
      rest = rest.subspan(c.tokens.size());
    }
    return forward_status::ok;
  }

  // Of those that were last used at `until` or before.
  bool forget_oldest(Model& model, std::uint64_t until) {
    const auto oldest = std::ranges::min_element(held_, {}, &beginning::used);
    if (oldest == held_.end() || oldest->used > until) return false;
    const stream_id stream = oldest->stream;
    held_.erase(oldest);
    quietly([&] { model.drop(stream); });
    return true;
  }

  index_t shortest_;
  index_t most_ = 4;  // streams: one for each side, and the two that follow them
  std::vector<beginning> held_;
  std::vector<noticed> noticed_;
  std::array<std::vector<token_id>, 2> last_;  // prompts, without their last token
  std::uint64_t clock_ = 0;
};

}  // namespace idiolect::detail
