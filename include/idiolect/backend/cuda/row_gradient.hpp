// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The gradient of a row by a group of threads, from what they hold of it:
//
//   dz_i = p_i ((a + c) + b (log p_i + H))
//   p_i  = exp((z_i - max) / temperature) / sum
//
// times the row's scale and 1 / temperature, but for the target's, which is in the row_span. Where
// the row has several tiles, the last is at hand and the others are read once more. In place, every
// element is read by the thread that overwrites it.

#include <cstdint>

#include <idiolect/backend/cuda/row_fold.hpp>
#include <idiolect/backend/cuda/row_group.hpp>
#include <idiolect/backend/cuda/row_tile.hpp>
#include <idiolect/config.hpp>
#include <idiolect/core/scalar.hpp>
#include <idiolect/loss/span.hpp>

namespace idiolect::detail {

/// What the gradient of a row is made of, beside the row: few numbers, which every thread holds.
template <std::floating_point Real>
struct row_coefficients {
  Real common = 0;     ///< (a + c) scale / sum: times exp(z - max)
  Real entropic = 0;   ///< b scale / sum: times exp(z - max) (log p + H)
  Real at_target = 0;  ///< dz_y
  Real mean_offset = 0;
};

template <std::floating_point Wanted, std::floating_point Real>
[[nodiscard]] IDIOLECT_HD row_coefficients<Wanted> coefficients_of(const row_span<Real>& r,
                                                                   Real sum) {
  row_coefficients<Wanted> c;
  c.common = static_cast<Wanted>(silenced(1 / sum, r.common));
  c.entropic = static_cast<Wanted>(silenced(1 / sum, r.entropic));
  c.at_target = static_cast<Wanted>(r.at_target);
  c.mean_offset = static_cast<Wanted>(r.mean_offset);
  return c;
}

/// Elements of a row's gradient. `Entropic`: the loss may have a part in p (log p + H).
template <std::floating_point Real, bool Entropic>
class span_elements {
 public:
  IDIOLECT_HD span_elements(const row_coefficients<Real>& c, Real max, Real inverse_temperature)
      : exponential_(max, inverse_temperature), coefficients_(c) {}

  /// Not the target's. 0 for a masked logit.
  [[nodiscard]] IDIOLECT_HD Real operator()(Real z) const {
    const Real x = exponential_.exponent(z);
    const Real p = exponential_(x);
    if constexpr (Entropic) {
      const Real centred =
          exponential_.bounded(x) * exponential_.ln_2 - coefficients_.mean_offset;
      return p == 0 ? Real{0} : p * (coefficients_.common + coefficients_.entropic * centred);
    } else {
      return p * coefficients_.common;
    }
  }
  [[nodiscard]] IDIOLECT_HD Real at_target() const { return coefficients_.at_target; }

 private:
  tempered_exp<Real> exponential_;
  row_coefficients<Real> coefficients_;
};

/// Where a row's gradient goes.
template <class G>
struct gradient_row {
  G* data;
  bool accumulate;
};

/// The gradient of a tile's vectors. `Plain`: they are overwritten, 16 bytes at a time.
template <bool Plain, class T, tile_shape Shape, class G, class Real, bool Entropic>
IDIOLECT_HD void write_vectors(const row_tile<T, Shape>& tile, int first, int step,
                               const row_layout<T>& layout,
                               const span_elements<Real, Entropic>& element, int target,
                               const gradient_row<G>& gradient, bool aligned) {
  constexpr int width = vector_width<T>;
  unrolled<Shape.vectors>([&](int k) {
    const int v = first + k * step;
    if (v >= layout.vectors) return;
    G* const out = gradient.data + layout.vector(v);
    Real values[width];
    unrolled<width>([&](int i) { values[i] = element(load(tile.vectors[k].element(i))); });
    const int lane = target - layout.vector(v);
    if (lane >= 0 && lane < width) {
      unrolled<width>([&](int i) { values[i] = i == lane ? element.at_target() : values[i]; });
    }
    if (!Plain && gradient.accumulate) {
      if constexpr (sizeof(accumulator_t<G>) > sizeof(Real)) {  // what is there has more digits
        unrolled<width>([&](int i) { out[i] += values[i]; });
        return;
      } else {
        unrolled<width>([&](int i) { values[i] += static_cast<Real>(load(out[i])); });
      }
    }
    store_vector(out, values, Plain || aligned);
  });
}

/// One tile's gradient.
template <class T, tile_shape Shape, class G, class Real, bool Entropic, row_group Group>
IDIOLECT_HD void write_tile(const Group& group, const row_tile<T, Shape>& tile, int number,
                            const row_layout<T>& layout,
                            const span_elements<Real, Entropic>& element, int target,
                            const gradient_row<G>& gradient) {
  constexpr int chunk = vector_width<T> * static_cast<int>(sizeof(G));
  const auto begin = reinterpret_cast<std::uintptr_t>(gradient.data + layout.head);
  const bool aligned = begin % (chunk < 16 ? chunk : 16) == 0;
  const int first = tile.first_vector(number, group.rank(), group.size());
  if (aligned && !gradient.accumulate) {
    write_vectors<true>(tile, first, group.size(), layout, element, target, gradient, true);
  } else {
    write_vectors<false>(tile, first, group.size(), layout, element, target, gradient, aligned);
  }
  unrolled<Shape.edges>([&](int k) {
    const int e = k * group.size() + group.rank();
    if (number != 0 || e >= layout.edges()) return;
    const int j = layout.edge(e);
    const Real value = j == target ? element.at_target() : element(load(tile.edges[k]));
    gradient.data[j] =
        gradient.accumulate ? store<G>(value + load(gradient.data[j])) : store<G>(value);
  });
}

/// The gradient of a finite row that `fold_row` has read: `tile` holds its last tile.
template <class T, tile_shape Shape, class G, class Real, bool Entropic, row_group Group>
IDIOLECT_HD void write_gradient(const Group& group, const T* row, const row_layout<T>& layout,
                                row_tile<T, Shape>& tile,
                                const span_elements<Real, Entropic>& element, int target,
                                const gradient_row<G>& gradient) {
  for (int t = tile.tiles(layout, group.size()) - 1; t >= 0; --t) {
    write_tile(group, tile, t, layout, element, target, gradient);
    if (t > 0) tile.read(row, layout, t - 1, group.rank(), group.size());
  }
}

/// Writes one number to a whole row of n.
template <class G, row_group Group>
IDIOLECT_HD void fill_row(const Group& group, G* row, int n, G value) {
  const row_layout<G> layout(row, n);
  packed<G> values;
  values.fill(value);
  for (int v = group.rank(); v < layout.vectors; v += group.size()) {
    store_words(row + layout.vector(v), values.bits);
  }
  for (int e = group.rank(); e < layout.edges(); e += group.size()) row[layout.edge(e)] = value;
}

}  // namespace idiolect::detail
