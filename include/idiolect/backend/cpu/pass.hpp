// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Statistics and gradient of the rows of a matrix in one pass over the logits: the fold keeps its
// exponentials, and the gradient is made of them. Where they are kept depends on the gradient:
//
//   in_gradient  where the gradient will stand, which is written over them: in place, and wherever
//                the gradient stays in the caches. No memory but one number for each block.
//   streamed     in scratch rows, two for each thread at work; the gradient of row i - 1 is streamed
//                past the caches while row i is folded.
//   scratch      in a scratch row for each thread: gradients in another type, or accumulated.

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <memory>
#include <mutex>
#include <new>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <idiolect/backend/cpu/fold.hpp>
#include <idiolect/backend/cpu/gradient.hpp>
#include <idiolect/config.hpp>
#include <idiolect/core/executor.hpp>
#include <idiolect/core/matrix_view.hpp>
#include <idiolect/core/scalar.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/loss/span.hpp>
#include <idiolect/stats/fold.hpp>
#include <idiolect/stats/row_state.hpp>

namespace idiolect::detail::inline IDIOLECT_TARGET {

/// Aligned, uninitialised memory for numbers.
template <std::floating_point A>
class scratch_memory {
 public:
  explicit scratch_memory(index_t n)
      : data_(static_cast<A*>(::operator new(static_cast<std::size_t>(n) * sizeof(A), alignment))) {}
  [[nodiscard]] A* data() const { return data_.get(); }

 private:
  static constexpr std::align_val_t alignment{64};
  struct release {
    void operator()(A* p) const { ::operator delete(p, alignment); }
  };
  std::unique_ptr<A, release> data_;
};

/// Memory that pieces of one call use one after another.
template <std::floating_point A>
class scratch_pool {
 public:
  explicit scratch_pool(index_t each) : each_(each) {}

  [[nodiscard]] scratch_memory<A> take() {
    {
      const std::scoped_lock lock(mutex_);
      if (!free_.empty()) {
        scratch_memory<A> memory = std::move(free_.back());
        free_.pop_back();
        return memory;
      }
      free_.reserve(++made_);  // putting it back must not throw
    }
    return scratch_memory<A>(each_);
  }
  void put_back(scratch_memory<A> memory) {
    const std::scoped_lock lock(mutex_);
    free_.push_back(std::move(memory));
  }

 private:
  index_t each_;
  std::size_t made_ = 0;
  std::mutex mutex_;
  std::vector<scratch_memory<A>> free_;
};

/// One call: where exponentials are kept, and the scratch rows.
template <moments Set, logit_scalar T, logit_scalar G, class Executor>
class gradient_pass {
  using A = accumulator_t<T>;
  enum class keeping { in_gradient, streamed, scratch };

 public:
  class worker;

  gradient_pass(const Executor& executor, matrix_view<const T> logits, matrix_view<G> gradient,
                double inverse_temperature, bool accumulate)
      : executor_(executor),
        logits_(logits),
        gradient_(gradient),
        scale_(inverse_temperature),
        accumulate_(accumulate),
        shares_rows_(few_long_rows(executor, segment_size, logits.rows(), logits.cols())),
        blocks_(logits.cols() / block_size<A> + 1 + packet<A>::lanes),
        keeping_(choose()),
        pool_(keeping_ == keeping::in_gradient ? batch() * blocks_
              : keeping_ == keeping::streamed  ? 2 * (row_size() + blocks_)
                                               : batch() * (row_size() + blocks_)) {}

  /// Whether the executor's threads share each row: rows are then taken one by one.
  [[nodiscard]] bool shares_rows() const { return shares_rows_; }

  /// How many rows fold() takes at once.
  [[nodiscard]] index_t batch() const {
    return keeping_ == keeping::streamed ? 1 : short_rows(logits_.cols());
  }

  /// Folds rows in order, writes their gradients, at the latest in finish(). One thread's.
  [[nodiscard]] worker start() { return worker(*this); }

 private:
  keeping choose() const {
    if (!std::same_as<A, G> || accumulate_) return keeping::scratch;
    const bool in_place = static_cast<const void*>(logits_.data()) == gradient_.data();
    const auto bytes = static_cast<std::size_t>(gradient_.rows()) *
                       static_cast<std::size_t>(gradient_.cols()) * sizeof(G);
    return in_place || shares_rows_ || bytes < streaming_bytes ? keeping::in_gradient : keeping::streamed;
  }
  [[nodiscard]] index_t row_size() const { return logits_.cols(); }

  const Executor& executor_;
  matrix_view<const T> logits_;
  matrix_view<G> gradient_;
  fold_scale<A> scale_;
  bool accumulate_;
  bool shares_rows_;
  index_t blocks_;
  keeping keeping_;
  scratch_pool<A> pool_;
};

template <moments Set, logit_scalar T, logit_scalar G, class Executor>
class gradient_pass<Set, T, G, Executor>::worker {
 public:
  explicit worker(gradient_pass& pass) : pass_(pass), memory_(pass.pool_.take()) {}
  worker(const worker&) = delete;
  worker& operator=(const worker&) = delete;
  ~worker() { pass_.pool_.put_back(std::move(memory_)); }

  void fold(std::span<const index_t> rows, row_state<double, Set>* states) {
    const index_t n = pass_.logits_.cols();
    rows_ = rows;
    for (std::size_t k = 0; k < rows.size(); ++k) kept_[k] = place(rows[k], k);
    if constexpr (std::same_as<T, A>) {
      if (n <= block_size<A> && !pending_) {
        const A* pointers[max_batch];
        for (std::size_t k = 0; k < rows.size(); ++k) pointers[k] = pass_.logits_.row(rows[k]);
        return fold_short_rows<Set, true>(std::span<const A* const>(pointers, rows.size()), n,
                                          pass_.scale_, kept_, states);
      }
    }
    for (std::size_t k = 0; k < rows.size(); ++k) states[k] = fold_one(rows[k], kept_[k]);
  }

  /// The gradient of a finite row, the k-th of the last fold(), for a loss without a part in
  /// p (log p + H).
  void write(std::size_t k, const row_span<double>& r) {
    const index_t n = pass_.logits_.cols();
    G* const gradient = pass_.gradient_.row(rows_[k]);
    if constexpr (std::same_as<A, G>) {
      if (pass_.keeping_ == keeping::streamed) {
        streaming_ = {kept_[k], gradient, n, r, pass_.scale_, false};
        pending_ = true;
        return;
      }
    }
    const gradient_writer<A, G, false> writer(kept_[k], gradient, n, r, pass_.scale_,
                                              pass_.accumulate_);
    if (!pass_.shares_rows_) return writer.write_all();
    constexpr index_t piece = segment_size / block_size<A>;
    const index_t blocks = (n + block_size<A> - 1) / block_size<A>;
    pass_.executor_.bulk((blocks + piece - 1) / piece, [&](index_t j) {
      writer.write(j * piece, (std::min)(blocks, (j + 1) * piece));
    });
  }

  void finish() {
    if constexpr (std::same_as<A, G>) {
      if (pass_.keeping_ != keeping::streamed) return;
      if (pending_) streaming_.write_all();
      pending_ = false;
      finish_streaming();
    }
  }

 private:
  [[nodiscard]] row_state<double, Set> fold_one(index_t i, kept_row<A> kept) {
    const T* const row = pass_.logits_.row(i);
    const index_t n = pass_.logits_.cols();
    no_writer writes;
    if (pass_.shares_rows_) {
      return fold_segments<Set>(pass_.executor_, n, segment_size, pass_.scale_.inverse_temperature,
                                [&](index_t first, index_t count) {
                                  const kept_row<A> part{kept.exponentials + first,
                                                         kept.references + first / block_size<A>};
                                  return fold_row<Set, true>(row + first, count, pass_.scale_, part,
                                                             writes);
                                });
    }
    if constexpr (std::same_as<A, G>) {
      if (pending_) {
        pending_ = false;
        return fold_row<Set, true>(row, n, pass_.scale_, kept, streaming_);
      }
    }
    return fold_row<Set, true>(row, n, pass_.scale_, kept, writes);
  }

  // Where row i, the k-th of its batch, keeps its exponentials and references.
  [[nodiscard]] kept_row<A> place(index_t i, std::size_t k) {
    A* const memory = memory_.data();
    const index_t row = pass_.row_size();
    const auto slot = static_cast<index_t>(k);
    if constexpr (std::same_as<A, G>) {
      if (pass_.keeping_ == keeping::in_gradient) {
        return {pass_.gradient_.row(i), memory + slot * pass_.blocks_};
      }
    }
    odd_ = !odd_;  // streamed rows take turns
    const index_t half = pass_.keeping_ == keeping::streamed ? index_t{odd_} : slot;
    A* const start = memory + half * (row + pass_.blocks_);
    return {start, start + row};
  }

  struct nothing {};
  gradient_pass& pass_;
  scratch_memory<A> memory_;
  std::span<const index_t> rows_;
  kept_row<A> kept_[max_batch];
  [[no_unique_address]] std::conditional_t<std::same_as<A, G>, gradient_writer<A, A, true>, nothing>
      streaming_;
  bool pending_ = false;
  bool odd_ = false;
};

}  // namespace idiolect::detail::inline IDIOLECT_TARGET
