// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Rotary position embedding on interleaved pairs (Su et al., arXiv 2104.09864): elements 2i and
// 2i + 1 of a head turn by the angle position * base^(-2 i / head_size).

#include <cmath>
#include <cstddef>
#include <vector>

#include "tiny_llama/config.hpp"

namespace tiny_llama {

/// Cosines and sines for every position of the context: context_size x head_size / 2 of each.
template <class Real>
class rope_table {
 public:
  rope_table() = default;

  explicit rope_table(const config& c) : head_size_(c.head_size()) {
    const index_t pairs = head_size_ / 2;
    cosines_.reserve(static_cast<std::size_t>(c.context_size * pairs));
    sines_.reserve(cosines_.capacity());
    for (index_t position = 0; position < c.context_size; ++position) {
      for (index_t i = 0; i < pairs; ++i) {
        const double exponent = static_cast<double>(2 * i) / static_cast<double>(head_size_);
        const double angle = static_cast<double>(position) * std::pow(c.rope_base, -exponent);
        cosines_.push_back(static_cast<Real>(std::cos(angle)));
        sines_.push_back(static_cast<Real>(std::sin(angle)));
      }
    }
  }

  /// Turns `heads` consecutive heads at x to their position.
  void turn(Real* x, index_t heads, index_t position) const { apply(x, heads, position, Real{1}); }

  /// The inverse, which is also the transpose: how a gradient passes back through `turn`.
  void turn_back(Real* x, index_t heads, index_t position) const {
    apply(x, heads, position, Real{-1});
  }

  [[nodiscard]] const std::vector<Real>& cosines() const noexcept { return cosines_; }
  [[nodiscard]] const std::vector<Real>& sines() const noexcept { return sines_; }

 private:
  void apply(Real* x, index_t heads, index_t position, Real direction) const {
    const index_t pairs = head_size_ / 2;
    const Real* cosine = cosines_.data() + position * pairs;
    const Real* sine = sines_.data() + position * pairs;
    for (index_t h = 0; h < heads; ++h, x += head_size_) {
      for (index_t i = 0; i < pairs; ++i) {
        const Real c = cosine[i];
        const Real s = direction * sine[i];
        const Real a = x[2 * i];
        const Real b = x[2 * i + 1];
        x[2 * i] = a * c - b * s;
        x[2 * i + 1] = a * s + b * c;
      }
    }
  }

  index_t head_size_ = 0;
  std::vector<Real> cosines_;
  std::vector<Real> sines_;
};

}  // namespace tiny_llama
