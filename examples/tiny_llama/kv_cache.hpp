// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Keys and values of many streams in pages of 16 positions. A stream takes pages as it grows; a
// fork shares those of its origin, and whoever writes to a shared page first takes a copy.

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "tiny_llama/config.hpp"
#include "tiny_llama/lanes.hpp"

namespace tiny_llama::inference {

/// Where a layer's keys and values stand in a page. Keys lie position by position within a
/// dimension, so that 16 scores are computed side by side; values dimension by dimension within a
/// position, so that the output of a head is.
struct page_layout {
  page_layout() = default;
  explicit page_layout(const config& c)
      : head_size(c.head_size()),
        padded_head(padded(c.head_size())),
        kv_heads(c.kv_heads),
        layers(c.layers) {}

  index_t head_size = 0;
  index_t padded_head = 0;
  index_t kv_heads = 0;
  index_t layers = 0;

  [[nodiscard]] index_t layer_size() const {
    return lane_count * kv_heads * (head_size + padded_head);
  }
  [[nodiscard]] index_t size() const { return layers * layer_size(); }

  /// [head_size, 16]
  [[nodiscard]] index_t keys(index_t layer, index_t head) const {
    return layer * layer_size() + head * head_size * lane_count;
  }
  /// [16, padded_head]
  [[nodiscard]] index_t values(index_t layer, index_t head) const {
    return layer * layer_size() + lane_count * (kv_heads * head_size + head * padded_head);
  }
};

/// Keys and values of 16 positions, in all layers.
template <class Real>
struct page {
  aligned_vector<Real> values;
  index_t owners = 0;
};

template <class Real>
class kv_cache {
 public:
  /// The pages of a stream: page p holds positions [16 p, 16 p + 16).
  using page_list = std::vector<page<Real>*>;

  kv_cache() = default;

  /// At most `most_pages` pages; -1: as many as memory holds.
  kv_cache(const page_layout& layout, index_t most_pages) : layout_(layout), most_(most_pages) {}

  [[nodiscard]] const page_layout& layout() const noexcept { return layout_; }

  /// Pages that nobody owns and pages that were never made: what `take` can still give, or -1 if
  /// there is no limit.
  [[nodiscard]] index_t room() const noexcept { return most_ < 0 ? -1 : most_ - in_use_; }

  /// Pages that `extend` would take. A page that two streams share and both write to in one call
  /// counts for both, though the second could keep the original.
  [[nodiscard]] static index_t needed(const page_list& pages, index_t length, index_t tokens) {
    if (tokens == 0) return 0;
    const index_t have = static_cast<index_t>(pages.size());
    const index_t want = (length + tokens + lane_count - 1) / lane_count;
    const bool copies = length % lane_count != 0 && pages.back()->owners > 1;
    return want - have + (copies ? 1 : 0);
  }

  /// Makes the positions [length, length + tokens) writable. `room` has been asked before.
  void extend(page_list& pages, index_t length, index_t tokens) {
    if (tokens == 0) return;
    if (length % lane_count != 0 && pages.back()->owners > 1) {
      page<Real>* const own = take();
      own->values = pages.back()->values;
      release(std::exchange(pages.back(), own));
    }
    while (static_cast<index_t>(pages.size()) * lane_count < length + tokens) {
      pages.push_back(take());
    }
  }

  /// Gives back what lies behind the first `length` positions.
  void shrink(page_list& pages, index_t length) {
    const index_t keep = (length + lane_count - 1) / lane_count;
    while (static_cast<index_t>(pages.size()) > keep) {
      release(pages.back());
      pages.pop_back();
    }
  }

  [[nodiscard]] static page_list share(const page_list& pages) {
    for (page<Real>* const p : pages)
      ++p->owners;
    return pages;
  }

 private:
  page<Real>* take() {
    if (free_.empty()) {
      all_.push_back(std::make_unique<page<Real>>());
      all_.back()->values.resize(static_cast<std::size_t>(layout_.size()));
      free_.push_back(all_.back().get());
    }
    page<Real>* const p = free_.back();
    free_.pop_back();
    p->owners = 1;
    ++in_use_;
    return p;
  }

  void release(page<Real>* p) {
    if (--p->owners > 0) return;
    free_.push_back(p);
    --in_use_;
  }

  page_layout layout_;
  index_t most_ = -1;
  index_t in_use_ = 0;
  std::vector<std::unique_ptr<page<Real>>> all_;
  std::vector<page<Real>*> free_;
};

}  // namespace tiny_llama::inference
