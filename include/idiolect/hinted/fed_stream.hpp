// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A model's stream and the tokens it has still to take: one side of a text that is decoded.

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <idiolect/core/error.hpp>
#include <idiolect/core/matrix_view.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/hinted/beginnings.hpp>
#include <idiolect/model/causal_lm.hpp>

namespace idiolect::detail {

template <causal_lm Model>
class fed_stream {
 public:
  using logits_view = decltype(view(std::declval<const Model&>().logits(stream_id{})));
  using logit = typename logits_view::value_type;

  /// Opens a stream for `prompt`. Returns how many of its tokens it has already, by a fork.
  index_t open(Model& model, shared_beginnings<Model>& beginnings,
               const std::vector<token_id>& prompt) {
    const forked_beginning begun = beginnings.fork(model, prompt);
    stream_ = begun.length > 0 ? begun.stream : model.open();
    open_ = true;
    tokens_ = prompt;
    taken_ = begun.length;
    return begun.length;
  }
  index_t drop(Model& model) {
    if (!open_) return 0;
    open_ = false;
    ready_ = false;
    rows_at_hand_ = {};
    model.drop(stream_);
    return 1;
  }
  [[nodiscard]] bool open() const { return open_; }
  [[nodiscard]] bool ready() const { return ready_; }
  [[nodiscard]] std::span<const token_id> pending() const {
    return std::span(tokens_).subspan(static_cast<std::size_t>(taken_));
  }
  [[nodiscard]] index_t needs() const { return open_ ? static_cast<index_t>(tokens_.size()) : 0; }
  [[nodiscard]] index_t taken() const { return taken_; }

  void push(token_id t) {
    tokens_.push_back(t);
    ready_ = false;
  }
  void forget_last() { tokens_.pop_back(); }

  /// Adds what is pending to a call, or as much of it as `budget` allows where it is not
  /// `complete`.
  void request(index_t& budget, bool complete, bool every_row, std::vector<chunk>& chunks) {
    const auto waiting = pending();
    const auto size = static_cast<index_t>(waiting.size());
    const index_t count = complete ? size : (std::min)(budget, size - 1);
    if (count <= 0) return;
    const auto logits = every_row  ? want_logits::all
                        : complete ? want_logits::last
                                   : want_logits::none;
    chunks.push_back({stream_, waiting.first(static_cast<std::size_t>(count)), logits});
    requested_ = count;
    rows_requested_ = every_row ? count : complete ? 1 : 0;
    budget -= count;
  }
  index_t forwarded() {
    const index_t count = std::exchange(requested_, 0);
    if (count == 0) return 0;
    taken_ += count;
    ready_ = pending().empty();
    fresh_ = rows_requested_ > 0;
    return count;
  }
  void not_forwarded() { requested_ = 0; }

  /// The rows of logits that the last forward gave this stream.
  void collect(const Model& model) {
    rows_at_hand_ = fresh_ ? view(model.logits(stream_)) : logits_view{};
    // A row too few would be waited for forever, one too many would score the wrong token.
    require<backend_error>(!fresh_ || rows() == rows_requested_, "model", [&] {
      return "gave " + std::to_string(rows()) + " rows of logits, asked for " +
             std::to_string(rows_requested_);
    });
    require<backend_error>(
        !fresh_ || cols() == static_cast<index_t>(model.vocab_size()), "model", [&] {
          return "gave rows of " + std::to_string(cols()) + " logits, not of its vocab_size()";
        });
    fresh_ = false;
  }
  [[nodiscard]] index_t rows() const { return rows_at_hand_.rows(); }
  [[nodiscard]] index_t cols() const { return rows_at_hand_.cols(); }
  [[nodiscard]] const logit* row(index_t r) const { return rows_at_hand_.row(r); }

 private:
  stream_id stream_ = 0;
  bool open_ = false;
  bool ready_ = false;            // everything taken, and the last row is at hand
  std::vector<token_id> tokens_;  // prompt and what followed
  index_t taken_ = 0;             // of tokens_, by the model
  index_t requested_ = 0;         // in the call under way
  index_t rows_requested_ = 0;    // of logits, from that call
  bool fresh_ = false;            // rows that nobody has looked at
  logits_view rows_at_hand_;
};

}  // namespace idiolect::detail
