// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Losses and gradients on a device beside the oracle: every scalar type, rows for a warp, a block
// and a cluster, rows that begin anywhere, and indices beyond 2^31.

#include <string>
#include <vector>

#include "cuda/loss_run.hpp"

namespace idiolect::test {
namespace {

constexpr index_t few_rows(index_t cols) {
  return cols > 100000 ? 3 : cols > 10000 ? 5 : 37;
}

}  // namespace

TEMPLATE_TEST_CASE("device losses and gradients are right at every length of row", "", float,
                   double, half, bfloat16) {
  if (no_device()) return;
  using T = TestType;
  for (const index_t cols : {1, 7, 512, 2049, 4097, 8200, 32000, 65536, 131072, 151936}) {
    const host_batch<T> batch(few_rows(cols), cols, static_cast<std::uint64_t>(cols));
    for (const auto f : all_device_losses) {
      const auto got = on_device(batch, f);
      const auto want = on_host(batch, f);
      INFO("V = " << cols << ", loss " << int{f.which});
      const auto report = report_error(got.report, want.report);
      INFO(report.where);
      CHECK(report.value <= report_tolerance<accumulator_t<T>>);
      const auto gradient =
          gradient_error_of(batch, got.gradient, f, 1 / static_cast<double>(batch.rows));
      INFO(gradient.where);
      CHECK(gradient.value <= 1);
      CHECK(got.clean);
    }
  }
}

TEMPLATE_TEST_CASE("device rows may begin anywhere", "", float, double, half, bfloat16) {
  if (no_device()) return;
  using T = TestType;
  const device_test_loss f{device_test_loss::entropic};
  for (const index_t cols : {1, 9, 515, 2049, 9001, 70001}) {
    const host_batch<T> batch(3, cols, 500 + static_cast<std::uint64_t>(cols));
    const auto aligned = on_device(batch, f);
    for (index_t shift = 0; shift < 9; ++shift) {
      // Logits and gradient at the same place modulo 16 bytes, and not.
      for (const index_t other : {shift, (shift * 5 + 1) % 8}) {
        const auto moved = on_device(batch, f, {}, {shift % 3, shift}, {(other + 1) % 4, other});
        INFO("V = " << cols << ", logits at " << shift << ", gradient at " << other);
        const auto report = report_error(moved.report, aligned.report);
        CHECK(report.value <= report_tolerance<accumulator_t<T>>);
        const auto gradient = gradient_error_of(batch, moved.gradient, f, 1.0 / 3);
        INFO(gradient.where);
        CHECK(gradient.value <= 1);
        CHECK(moved.clean);
      }
    }
  }
}

TEST_CASE("a device gradient may be of another type than its logits", "") {
  if (no_device()) return;
  const device_test_loss f{device_test_loss::gated_pull};
  for (const index_t cols : {7, 2049, 32000, 131072}) {
    const host_batch<bfloat16> batch(few_rows(cols), cols, 900);
    const auto got = on_device<bfloat16, float>(batch, f, {}, {1, 3}, {0, 1});
    const auto gradient =
        gradient_error_of(batch, got.gradient, f, 1 / static_cast<double>(batch.rows));
    INFO("V = " << cols << ", " << gradient.where);
    CHECK(gradient.value <= 1);
    CHECK(got.clean);
  }
}

TEST_CASE("device indices beyond 2^31 elements are right") {
  if (no_device()) return;
  constexpr index_t rows = 4, cols = 100, stride = (index_t{1} << 30) + 3;
  const auto bytes = static_cast<std::size_t>((rows - 1) * stride + cols) * sizeof(half);
  std::size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  if (free < bytes + (std::size_t{1} << 28)) {
    return skip("this device does not have 7 GB to spare");
  }
  const host_batch<half> batch(rows, cols, 74);
  const auto near = on_device(batch, device_test_loss{});
  device_array<half> memory((rows - 1) * stride + cols);
  const matrix_view<half> z(memory.data(), rows, cols, stride);
  for (index_t i = 0; i < rows; ++i) {
    check(cudaMemcpy(z.row(i), batch.row(i), cols * sizeof(half), cudaMemcpyDefault), "upload");
  }
  const device_call<half> call(batch);
  const auto report = loss_and_gradient(call.where(), matrix_view<const half>(z), call.y.span(),
                                        device_test_loss{}, z)
                          .wait();
  CHECK(report_error(report, near.report).value <= report_tolerance<float>);
  for (index_t i = 0; i < rows; ++i) {
    std::vector<half> far(cols);
    check(cudaMemcpy(far.data(), z.row(i), cols * sizeof(half), cudaMemcpyDefault), "download");
    const auto first = near.gradient.begin() + i * cols;
    CHECK(same_bits(far, std::vector<half>(first, first + cols)));
  }
}

}  // namespace idiolect::test
