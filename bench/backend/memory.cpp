// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Peak memory of the library's passes beyond the logits. The peers' are beside their timings.

#include <vector>

#include <idiolect/backend/cpu/cpu.hpp>
#include <idiolect/loss/gates/idft.hpp>
#include <idiolect/loss/loss.hpp>

#include "../support/measure.hpp"
#include "../support/peak.hpp"

namespace idiolect::bench {
namespace {

[[maybe_unused]] const bool registered = [] {
  measure_peak("statistics", [](matrix_view<float> z, std::span<const token_id> y) {
    benchmark::DoNotOptimize(loss(cpu{workers(2)}, z, y, idft{}).loss);
  });
  measure_peak("gradient_in_place", [](matrix_view<float> z, std::span<const token_id> y) {
    loss_and_gradient(cpu{workers(2)}, z, y, idft{}, z);
  });
  measure_peak("gradient_out_of_place", [](matrix_view<float> z, std::span<const token_id> y) {
    std::vector<float> gradient(static_cast<std::size_t>(z.rows() * z.cols()));
    loss_and_gradient(cpu{workers(2)}, z, y, idft{},
                      matrix_view(gradient.data(), z.rows(), z.cols()));
  });
  return true;
}();

}  // namespace
}  // namespace idiolect::bench
