// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The gradient of a row, in two ways. From the exponentials that the fold kept, for every loss whose
// gradient is a (p - e_y) + c p:
//
//   dz_i = e_i f,    f = (a + c) scale 2^((r - m) u) / sum
//
// but for the target's element, which the row_span holds, with one factor f for each block, whose
// exponentials are relative to r. From the logits, for
// losses that depend on the entropy as well: `span_row`.

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <type_traits>

#include <idiolect/backend/cpu/block.hpp>
#include <idiolect/backend/cpu/convert.hpp>
#include <idiolect/backend/cpu/fold.hpp>
#include <idiolect/backend/cpu/packet.hpp>
#include <idiolect/config.hpp>
#include <idiolect/core/scalar.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/loss/span.hpp>

namespace idiolect::detail::inline IDIOLECT_TARGET {

/// Writes the gradient of one row from its kept exponentials, block by block. The gradient may stand
/// where the exponentials do.
template <std::floating_point A, logit_scalar G, bool Streaming>
class gradient_writer {
  using P = packet<A>;
  static_assert(!Streaming || std::same_as<A, G>);

 public:
  gradient_writer() = default;

  /// Turns the block references in `kept` into the blocks' factors.
  gradient_writer(kept_row<A> kept, G* gradient, index_t n, const row_span<double>& r,
                  const fold_scale<A>& scale, bool accumulate)
      : exponentials_(kept.exponentials),
        factors_(kept.references),
        gradient_(gradient),
        size_(n),
        target_(r.target),
        dz_target_(static_cast<A>(r.at_target)),
        accumulate_(accumulate) {
    if constexpr (Streaming) {
      const auto past = reinterpret_cast<std::uintptr_t>(gradient) % sizeof(P);
      ahead_ = static_cast<index_t>((sizeof(P) - past) % sizeof(P) / sizeof(A));
    }
    const auto common = static_cast<A>(r.common * std::exp(-r.log_sum));
    const index_t blocks = (n + block_size<A> - 1) / block_size<A>;
    if (blocks == 1) {  // its reference is the row's largest logit
      factors_[0] = common;
      return;
    }
    const A part = scale.wide ? A{0.25} : A{1};  // no difference of quarters overflows
    const P parts = P::all(part);
    const P largest = P::all(static_cast<A>(r.max) * part);
    const P per_logit = P::all(scale.per_logit / part);
    std::fill_n(factors_ + blocks, P::lanes - 1, A{0});  // there is room, and it is read
    for (index_t b = 0; b < blocks; b += P::lanes) {
      const P t = bounded(difference(P::load(factors_ + b) * parts, largest) * per_logit);
      (exponential<A>::power(packets<A, 1>{t})[0] * P::all(common)).store(factors_ + b);
    }
  }

  /// Starts a whole block; what is returned writes its packets, all of them, in any order.
  auto begin(index_t block) {
    start(block);
    const A* const from = exponentials_ + start_ + ahead_;
    G* const to = gradient_ + start_ + ahead_;
    if constexpr (Streaming) {  // to aligned addresses; the ends of the block as scalars
      for (index_t i = 0; i < ahead_; ++i) scalar(i);
      if (ahead_ > 0) {
        for (index_t i = block_size<A> - P::lanes + ahead_; i < block_size<A>; ++i) scalar(i);
      }
      const index_t last = ahead_ > 0 ? block_size<A> - P::lanes : block_size<A>;
      return [from, to, last, factor = P::all(factor_)](index_t i, index_t) {
        if (i < last) stream(to + i, P::load(from + i) * factor);
      };
    } else {
      return [from, to, accumulate = accumulate_, factor = P::all(factor_)](index_t i, index_t) {
        const P dz = P::load(from + i) * factor;
        accumulate ? add_packet(to + i, dz) : store_packet(to + i, dz);
      };
    }
  }
  void end() {
    if (in_block_) gradient_[target_] = store<G>(at_target_);
  }

  /// A block by itself.
  void write(index_t block) {
    if (size_ >= (block + 1) * block_size<A>) {
      const auto packet_at = begin(block);
      for (index_t i = 0; i < block_size<A>; i += P::lanes) packet_at(i, 0);
    } else {  // the last: aligning it is not worth the trouble
      start(block);
      const P factor = P::all(factor_);
      const index_t count = size_ - start_;
      index_t i = 0;
      for (; i + P::lanes <= count; i += P::lanes) {
        const P dz = P::load(exponentials_ + start_ + i) * factor;
        G* const to = gradient_ + start_ + i;
        accumulate_ ? add_packet(to, dz) : store_packet(to, dz);
      }
      for (; i < count; ++i) scalar(i);
    }
    end();
  }
  /// Blocks [first, last), for instance on a thread of their own.
  void write(index_t first, index_t last) const {
    gradient_writer copy(*this);
    for (index_t b = first; b < last; ++b) copy.write(b);
  }
  /// The whole row.
  void write_all() const { write(0, (size_ + block_size<A> - 1) / block_size<A>); }

 private:
  void start(index_t block) {
    start_ = block * block_size<A>;
    factor_ = factors_[block];
    in_block_ = target_ >= start_ && target_ < (std::min)(start_ + block_size<A>, size_);
    if (!in_block_) return;
    at_target_ = dz_target_;
    if (accumulate_) at_target_ += load(gradient_[target_]);  // before the block is written
  }
  void scalar(index_t i) {
    write_scalar(gradient_[start_ + i], exponentials_[start_ + i] * factor_, accumulate_);
  }

  A* exponentials_ = nullptr;
  A* factors_ = nullptr;
  G* gradient_ = nullptr;
  index_t size_ = 0;
  index_t target_ = 0;
  A dz_target_ = 0;
  bool accumulate_ = false;
  index_t ahead_ = 0;  // values before the first aligned address

  index_t start_ = 0;  // of the block under way
  A factor_ = 0;
  std::common_type_t<A, accumulator_t<G>> at_target_ = 0;
  bool in_block_ = false;
};

/// Writes (or adds) the gradient of a finite row of n logits, whatever the loss; `gradient` may be
/// the row. Takes the exponentials again. O(n).
template <logit_scalar T, logit_scalar G>
void span_row(const T* row, G* gradient, index_t n, const row_span<double>& r, bool accumulate) {
  using A = accumulator_t<T>;
  using P = packet<A>;
  const fold_scale<A> scale(r.inverse_temperature);
  if (scale.wide) [[unlikely]]
    return write_span(row, gradient, n, r, accumulate);
  const double inverse_sum = std::exp(-r.log_sum);
  const P largest = P::all(static_cast<A>(r.max));
  const P per_logit = P::all(scale.per_logit);
  const P common = P::all(static_cast<A>(r.common * inverse_sum));
  // b (log p + H) with log p + H = t in nats - (E_p[z] - m)
  const P entropic = P::all(static_cast<A>(r.entropic * inverse_sum * scale.nats));
  const P mean = P::all(static_cast<A>(r.mean_offset / scale.nats));

  const auto one_packet = [&](P z) {
    const P t = bounded(difference(z, largest) * per_logit);
    return exponential<A>::power(packets<A, 1>{t})[0] * P::multiply_add(entropic, t - mean, common);
  };
  std::common_type_t<A, accumulator_t<G>> at_target = static_cast<A>(r.at_target);
  const bool has_target = r.target >= 0 && r.target < n;
  if (has_target && accumulate) at_target += load(gradient[r.target]);

  index_t i = 0;
  for (; i + P::lanes <= n; i += P::lanes) {
    const P dz = one_packet(load_packet(row + i));
    accumulate ? add_packet(gradient + i, dz) : store_packet(gradient + i, dz);
  }
  if (i < n) {
    A lane[P::lanes] = {};
    widen(row + i, n - i, lane);
    one_packet(P::load(lane)).store(lane);
    for (index_t k = 0; i + k < n; ++k) write_scalar(gradient[i + k], lane[k], accumulate);
  }
  if (has_target) gradient[r.target] = store<G>(at_target);
}

}  // namespace idiolect::detail::inline IDIOLECT_TARGET
