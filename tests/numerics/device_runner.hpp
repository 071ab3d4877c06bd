// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the CUDA kernels do with a row, run on the host by one thread, in tiles: a Runner of
// promises.hpp.

#include <vector>

#include <idiolect/backend/cuda/loss_row.hpp>
#include <idiolect/backend/cuda/score_row.hpp>

namespace idiolect::test {

template <class T>
struct device_runner {
  using scalar = T;
  using accumulator = accumulator_t<T>;
  using gradient_type = accumulator;
  /// One thread adds up what a warp would, and merges tiles where a warp has one.
  static constexpr double rounding = std::is_same_v<accumulator, float> ? 4e-5 : 1e-12;
  static constexpr detail::tile_shape tile{.vectors = 16, .edges = detail::max_edges<T>};

  static token_score score(const std::vector<T>& row, token_id y, double temperature) {
    token_score result;
    detail::score_row<tile>(detail::lone_thread{}, row.data(), static_cast<int>(row.size()), y,
                            static_cast<accumulator>(1 / temperature),
                            [&](const token_score& s) { result = s; });
    return result;
  }
  template <class Loss>
  static std::vector<gradient_type> gradient(const std::vector<T>& row, token_id y,
                                             double temperature, const Loss& f) {
    std::vector<gradient_type> dz(row.size());
    detail::loss_row<tile>(detail::lone_thread{}, row.data(), static_cast<int>(row.size()),
                           detail::row_place{0, y, 1.0}, as_token_loss(f),
                           detail::row_options_of({.temperature = temperature}),
                           detail::gradient_row<gradient_type>{dz.data(), false},
                           [](const detail::row_report&) {});
    return dz;
  }
};

}  // namespace idiolect::test
