// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Loss and gradient of a Llama over a batch of packed sequences, with any loss on the logits:
//
//   forward_backward(weights, batch, gradient, workspace, loss, executor)
//
// The batch is cut into shards by its sequences alone, and their gradients are added in order, so
// that the result has the same bits for any executor.

#include <algorithm>
#include <concepts>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <idiolect/backend/cpu/cpu.hpp>
#include <idiolect/core/error.hpp>
#include <idiolect/core/executor.hpp>
#include <idiolect/core/matrix_view.hpp>
#include <idiolect/loss/loss.hpp>

#include "tiny_llama/backward.hpp"
#include "tiny_llama/config.hpp"
#include "tiny_llama/rope.hpp"
#include "tiny_llama/weights.hpp"

namespace tiny_llama {

/// Sequences end to end, without padding. Row i is the prediction that follows tokens[i] and its
/// target; sequence k is the rows [offsets[k], offsets[k + 1]).
struct batch {
  std::vector<token_id> tokens;
  std::vector<token_id> targets;  ///< idiolect::ignored_target where nothing is trained
  std::vector<index_t> offsets = {0};

  [[nodiscard]] index_t rows() const { return static_cast<index_t>(tokens.size()); }
  [[nodiscard]] index_t sequences() const { return static_cast<index_t>(offsets.size()) - 1; }

  /// Appends a text: every token but the last is a row, its target the token after it, or none for
  /// targets at positions before `prompt` (which belong to a question and are not trained).
  void append(std::span<const token_id> text, index_t prompt = 0) {
    for (std::size_t i = 0; i + 1 < text.size(); ++i) {
      const bool trained = static_cast<index_t>(i) + 1 >= prompt;
      tokens.push_back(text[i]);
      targets.push_back(trained ? text[i + 1] : idiolect::ignored_target);
    }
    offsets.push_back(rows());
  }

  /// Empty again, keeping its memory.
  void clear() {
    tokens.clear();
    targets.clear();
    offsets.assign(1, 0);
  }
};

namespace training {

/// Shards of a batch, however many threads there are: enough to keep a desktop busy, few enough
/// that a copy of the gradient for each does not matter.
inline constexpr index_t most_shards = 8;
/// A shard has at least this many rows, if the batch has: below, matrix products lose their speed.
inline constexpr index_t least_shard_rows = 128;

/// Ranges of sequences with about the same number of rows: shard s is the sequences
/// [result[s], result[s + 1]).
[[nodiscard]] inline std::vector<index_t> cut_into_shards(std::span<const index_t> offsets) {
  const index_t rows = offsets.back();
  const index_t shard_rows = std::max(least_shard_rows, (rows + most_shards - 1) / most_shards);
  std::vector<index_t> cuts = {0};
  index_t begin = 0;
  for (std::size_t s = 1; s < offsets.size(); ++s) {
    if (offsets[s] - begin >= shard_rows || s + 1 == offsets.size()) {
      cuts.push_back(static_cast<index_t>(s));
      begin = offsets[s];
    }
  }
  return cuts;
}

inline void check_batch(const config& c, const batch& b) {
  idiolect::require(b.tokens.size() == b.targets.size(), "batch", [&] {
    return std::to_string(b.tokens.size()) + " tokens and " + std::to_string(b.targets.size()) +
           " targets";
  });
  const bool ascending = !b.offsets.empty() && b.offsets.front() == 0 &&
                         b.offsets.back() == b.rows() && std::ranges::is_sorted(b.offsets);
  idiolect::require(ascending, "batch", "offsets do not ascend from 0 to the number of tokens");
  for (std::size_t s = 0; s + 1 < b.offsets.size(); ++s) {
    const index_t length = b.offsets[s + 1] - b.offsets[s];
    idiolect::require(length <= c.context_size, "batch", [&] {
      return "sequence " + std::to_string(s) + " has " + std::to_string(length) +
             " tokens, the context " + std::to_string(c.context_size);
    });
  }
  for (index_t i = 0; i < b.rows(); ++i) {
    const token_id t = b.tokens[static_cast<std::size_t>(i)];
    idiolect::require<idiolect::target_error>(
        t >= 0 && t < c.vocab_size, "tokens",
        [&] { return "token " + std::to_string(t) + " is not in the vocabulary"; }, i);
  }
}

}  // namespace training

/// Memory for activations and gradients, kept from step to step. One per concurrent call.
template <class Real = float>
class training_workspace {
 public:
  /// The logits of the last forward pass, or what the loss has made of them: rows x vocab_size.
  [[nodiscard]] idiolect::matrix_view<Real> logits() {
    auto z = logits_.as(rows_, vocab_size_);
    return {z.data(), rows_, vocab_size_};
  }

 private:
  template <class R, idiolect::executor E>
  friend void training_forward(const weights<R>&, const batch&, training_workspace<R>&, const E&);
  template <class R, idiolect::executor E>
  friend void training_backward(const weights<R>&, const batch&, training_workspace<R>&,
                                weights<R>&, const E&);

  // Calls f(shard, its workspace, its sequences, its rows of the logits) for every shard.
  template <class Executor, class F>
  void for_each_shard(const batch& b, const Executor& executor, F&& f) {
    executor.bulk(static_cast<index_t>(cuts_.size()) - 1, [&](index_t s) {
      const auto first = static_cast<std::size_t>(cuts_[static_cast<std::size_t>(s)]);
      const auto last = static_cast<std::size_t>(cuts_[static_cast<std::size_t>(s) + 1]);
      const index_t row = b.offsets[first];
      const index_t rows = b.offsets[last] - row;
      const training::packed sequences{std::span(b.tokens).subspan(static_cast<std::size_t>(row),
                                                                   static_cast<std::size_t>(rows)),
                                       std::span(b.offsets).subspan(first, last - first + 1)};
      f(s, shards_[static_cast<std::size_t>(s)], sequences, logits().block(row, rows));
    });
  }

  config shape_{};
  rope_table<Real> rope_;
  std::vector<index_t> cuts_;
  std::vector<training::shard_workspace<Real>> shards_;
  training::buffer<Real> logits_;
  index_t rows_ = 0;
  index_t vocab_size_ = 0;
};

/// Computes `workspace.logits()` for a batch and keeps what `training_backward` needs. Raises
/// shape_error or target_error for a batch that does not fit the model.
template <class Real, idiolect::executor Executor>
void training_forward(const weights<Real>& w, const batch& b, training_workspace<Real>& workspace,
                      const Executor& executor) {
  training::check_batch(w.shape(), b);
  if (workspace.shape_ != w.shape() || workspace.shards_.empty()) {
    workspace.shape_ = w.shape();
    workspace.rope_ = rope_table<Real>(w.shape());
    workspace.shards_.clear();
    workspace.shards_.resize(training::most_shards);
  }
  workspace.cuts_ = training::cut_into_shards(b.offsets);
  workspace.rows_ = b.rows();
  workspace.vocab_size_ = w.shape().vocab_size;
  static_cast<void>(workspace.logits());  // allocates before the threads ask for it
  workspace.for_each_shard(b, executor, [&](index_t, auto& shard, const auto& sequences, auto z) {
    training::shard_forward(w, workspace.rope_, sequences, shard, z);
  });
}

/// Overwrites `gradient` with that of every parameter. `workspace.logits()` holds the gradient of
/// the logits by now; its activations are used up.
template <class Real, idiolect::executor Executor>
void training_backward(const weights<Real>& w, const batch& b, training_workspace<Real>& workspace,
                       weights<Real>& gradient, const Executor& executor) {
  if (gradient.shape() != w.shape() || gradient.size() == 0) gradient = weights<Real>(w.shape());
  std::ranges::fill(gradient.flat(), Real{0});
  workspace.for_each_shard(b, executor, [&](index_t s, auto& shard, const auto& sequences, auto dz) {
    weights<Real>& sum = s == 0 ? gradient : shard.gradient;
    if (s > 0 && sum.shape() == w.shape() && sum.size() > 0) {
      std::ranges::fill(sum.flat(), Real{0});
    } else if (s > 0) {
      sum = weights<Real>(w.shape());
    }
    training::shard_backward<Real>(w, workspace.rope_, sequences, shard, dz, sum);
  });
  constexpr index_t block = 1 << 14;
  executor.bulk((gradient.size() + block - 1) / block, [&](index_t k) {
    const index_t end = std::min(gradient.size(), (k + 1) * block);
    for (std::size_t s = 1; s + 1 < workspace.cuts_.size(); ++s) {
      const Real* const part = workspace.shards_[s].gradient.flat().data();
      for (index_t i = k * block; i < end; ++i)
        gradient.flat().data()[i] += part[i];
    }
  });
}

/// A loss on logits: called with the logits of all rows and their targets, it replaces the logits
/// by their gradient and returns whatever it has to report.
template <class F, class Real>
concept logits_loss = std::invocable<F&, idiolect::matrix_view<Real>, std::span<const token_id>>;

/// One step's forward pass, loss and backward pass; `gradient` is overwritten. Returns what the
/// loss returns. O(rows * parameters + sum of squared lengths * dim) time.
template <class Real, logits_loss<Real> Loss, idiolect::executor Executor>
auto forward_backward(const weights<Real>& w, const batch& b, weights<Real>& gradient,
                      training_workspace<Real>& workspace, Loss&& loss, const Executor& executor) {
  training_forward(w, b, workspace, executor);
  auto report = loss(workspace.logits(), std::span<const token_id>(b.targets));
  training_backward(w, b, workspace, gradient, executor);
  return report;
}

/// The same with one of the library's losses or gates. A loss by sequence gets the batch's offsets,
/// unless the options name others.
template <class Real, class Loss, idiolect::executor Executor>
requires(idiolect::token_loss<Loss> || idiolect::gate<Loss>) idiolect::loss_report
    forward_backward(const weights<Real>& w, const batch& b, weights<Real>& gradient,
                     training_workspace<Real>& workspace, const Loss& loss,
                     idiolect::loss_options options, const Executor& executor) {
  if (options.sequence_offsets.empty()) options.sequence_offsets = b.offsets;
  const auto in_place = [&](idiolect::matrix_view<Real> z, std::span<const token_id> targets) {
    return idiolect::loss_and_gradient(idiolect::cpu{executor}, z, targets, loss, z, options);
  };
  return forward_backward(w, b, gradient, workspace, in_place, executor);
}

}  // namespace tiny_llama
