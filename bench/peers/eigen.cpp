// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// IDFT as one writes it with Eigen's expressions, a row at a time, in place:
// what a program gets that uses the same Eigen without this library.

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "../support/ours.hpp"
#include "../support/peak.hpp"

namespace idiolect::bench {
namespace {

double by_expressions(int threads, matrix_view<float> logits, std::span<const token_id> targets) {
  std::vector<double> losses(targets.size());
  const idft gate;
  workers(threads).bulk(logits.rows(), [&](index_t i) {
    Eigen::Map<Eigen::ArrayXf> z(logits.row(i), logits.cols());
    const token_id y = targets[static_cast<std::size_t>(i)];
    const float z_y = z[y];
    z -= z.maxCoeff();
    const float offset = z[y];
    const Eigen::ArrayXf e = z.exp();
    const float sum = e.sum();
    const float mean = (e * z).sum() / sum;
    const float log_prob = offset - std::log(sum);
    const float w = std::exp(gate.gamma(offset - mean) * log_prob);
    const float scale = w / static_cast<float>(logits.rows());
    z = e * (scale / sum);
    z[y] -= scale;
    losses[static_cast<std::size_t>(i)] =
        static_cast<double>(std::isfinite(z_y) ? -w * log_prob : 0);
  });
  return std::reduce(losses.begin(), losses.end()) / static_cast<double>(losses.size());
}

void eigen_expressions(run& r) {
  const auto y = r.targets();
  const auto dz = scratch<float>(r.size());
  const auto prepare = [&] { refresh(r.threads(), dz, r.input()); };
  r.check([&] {
    prepare();
    const double expected = plain_loss<float, idft>(r.size());
    agree(by_expressions(r.threads(), dz, y), expected, 1e-4, expected, "Eigen's loss");
  });
  r.time(prepare, [&] { benchmark::DoNotOptimize(by_expressions(r.threads(), dz, y)); });
}

[[maybe_unused]] const bool registered = [] {
  benchmark::AddCustomContext("peer", "Eigen " + std::to_string(EIGEN_WORLD_VERSION) + '.' +
                                          std::to_string(EIGEN_MAJOR_VERSION) + '.' +
                                          std::to_string(EIGEN_MINOR_VERSION));
  measure_shapes("gradient_in_place", "fp32", gradient_in_place<float>);
  measure_shapes("eigen_expressions", "fp32", eigen_expressions);
  measure_peak("eigen_expressions",
               [](matrix_view<float> z, std::span<const token_id> y) { by_expressions(2, z, y); });
  return true;
}();

}  // namespace
}  // namespace idiolect::bench
