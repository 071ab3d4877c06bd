// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Rows of activations times a weight matrix, y = x W^T, such that a row's result has the same bits
// whatever rows come with it: element (i, j) is always the sum over k = 0, 1, 2, ... of
// x(i, k) W(j, k), one multiply-add after the other. (Eigen's products, like any BLAS, choose their
// kernel and with it the order of the sum by the shape of the whole.)

#include <algorithm>
#include <array>
#include <cstddef>
#include <initializer_list>
#include <type_traits>
#include <utility>

#include <idiolect/core/matrix_view.hpp>

#include "tiny_llama/config.hpp"
#include "tiny_llama/lanes.hpp"

namespace tiny_llama::inference {

/// Weight matrices with the same inputs, packed one under the other: panels of 16 outputs, each
/// stored input by input. Outputs are padded with zeros to whole panels, matrix by matrix.
template <class Real>
class packed_matrix {
 public:
  packed_matrix() = default;

  /// Each part: outputs x inputs.
  explicit packed_matrix(std::initializer_list<idiolect::matrix_view<const Real>> parts) {
    for (const auto& part : parts) {
      inputs_ = part.cols();
      outputs_ += padded(part.rows());
    }
    values_.assign(static_cast<std::size_t>(inputs_ * outputs_), Real{0});
    index_t first = 0;
    for (const auto& part : parts) {
      for (index_t j = 0; j < part.rows(); ++j) {
        const index_t output = first + j;
        Real* const panel = values_.data() + output / lane_count * (lane_count * inputs_);
        for (index_t k = 0; k < inputs_; ++k)
          panel[k * lane_count + output % lane_count] = part(j, k);
      }
      first += padded(part.rows());
    }
  }

  [[nodiscard]] index_t inputs() const noexcept { return inputs_; }
  /// A multiple of 16.
  [[nodiscard]] index_t outputs() const noexcept { return outputs_; }
  [[nodiscard]] index_t panels() const noexcept { return outputs_ / lane_count; }
  [[nodiscard]] const Real* panel(index_t p) const {
    return values_.data() + p * lane_count * inputs_;
  }

 private:
  index_t inputs_ = 0;
  index_t outputs_ = 0;
  aligned_vector<Real> values_;
};

/// What becomes of a product: it replaces what was there, or is added to it.
enum class destination { replace, add };

namespace detail {

/// `Rows` rows by `Panels` panels; every sum is a chain of its own, whatever the two numbers are.
template <index_t Rows, index_t Panels, class Real>
void product_tile(const Real* x, index_t x_stride, const Real* panel, index_t inputs, Real* y,
                  index_t y_stride, destination to) {
  constexpr auto unrolled = [](auto&& f) {
    [&]<std::size_t... i>(std::index_sequence<i...>) {
      (f(static_cast<index_t>(i) / Panels, static_cast<index_t>(i) % Panels,
         std::integral_constant<std::size_t, i>{}),
       ...);
    }
    (std::make_index_sequence<static_cast<std::size_t>(Rows * Panels)>{});
  };
  std::array<lanes<Real>, static_cast<std::size_t>(Rows * Panels)> sums;
  unrolled([&](index_t, index_t, auto i) { sums[i] = lanes<Real>(Real{0}); });
  const index_t panel_size = lane_count * inputs;
  for (index_t k = 0; k < inputs; ++k) {
    unrolled([&](index_t row, index_t p, auto i) {
      sums[i].add_product(lanes<Real>(x[row * x_stride + k]),
                          lanes<Real>::load(panel + p * panel_size + k * lane_count));
    });
  }
  unrolled([&](index_t row, index_t p, auto i) {
    Real* const place = y + row * y_stride + p * lane_count;
    if (to == destination::add) sums[i] = lanes<Real>::load(place) + sums[i];
    sums[i].store(place);
  });
}

/// All whole groups of `Rows` rows, and then what is left in smaller groups. Few rows go through
/// many panels at once, to have enough independent sums to hide the latency of the multiply-add.
template <index_t Rows, index_t Sums, class Real>
void product_rows(const Real* x, index_t x_stride, index_t rows, const packed_matrix<Real>& w, Real* y,
                  index_t y_stride, destination to) {
  constexpr index_t panels = Sums / Rows;
  const index_t whole = rows / Rows * Rows;
  const auto tiles = [&]<index_t Panels>(index_t p) {  // the panels stay in the cache for all rows
    for (index_t i = 0; i < whole; i += Rows) {
      product_tile<Rows, Panels>(x + i * x_stride, x_stride, w.panel(p), w.inputs(),
                                 y + i * y_stride + p * lane_count, y_stride, to);
    }
  };
  index_t p = 0;
  for (; p + panels <= w.panels(); p += panels)
    tiles.template operator()<panels>(p);
  for (; p < w.panels(); ++p)
    tiles.template operator()<1>(p);
  if constexpr (Rows > 1) {
    product_rows<Rows / 2, Sums>(x + whole * x_stride, x_stride, rows - whole, w,
                                 y + whole * y_stride, y_stride, to);
  }
}

}  // namespace detail

/// y = x W^T or y += x W^T for `rows` rows: x is rows x w.inputs(), y rows x w.outputs(), both with
/// strides of their own. O(rows * inputs * outputs).
template <class Real>
void product(const Real* x, index_t x_stride, index_t rows, const packed_matrix<Real>& w, Real* y,
             index_t y_stride, destination to = destination::replace) {
  // Eight registers for sums leave eight for operands on the smallest machines, and keep two
  // multiply-add units of latency four busy on the largest.
  constexpr index_t sums = std::max<index_t>(1, 8 / lanes<Real>::registers);
  constexpr index_t tall = std::min<index_t>(4, sums);
  detail::product_rows<tall, sums>(x, x_stride, rows, w, y, y_stride, to);
}

}  // namespace tiny_llama::inference
