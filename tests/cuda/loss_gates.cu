// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Gates as users pass them to a device: the library's, which know no part in p (log p + H) and have
// kernels without one, a user's on moments that have to be asked for, and the loss without a
// gradient.

#include <vector>

#include "cuda/loss_run.hpp"

namespace idiolect::test {
namespace {

/// A user's gate, on every moment there is.
struct sharp_gate {
  static constexpr moments required = moments::varentropy | moments::collision;
  template <class Stats>
  [[nodiscard]] IDIOLECT_HD typename Stats::real weight(const Stats& s) const {
    return s.collision() / (1 + s.varentropy());
  }
};

template <class T, class Gate>
void compare(const Gate& gate) {
  using A = accumulator_t<T>;
  for (const index_t cols : {67, 2500, 150000}) {
    const host_batch<T> batch(cols > 10000 ? 4 : 50, cols, 50);
    const device_call<T> call(batch);
    const auto got = call.run(gate);
    const auto want = on_host(batch, gate);
    INFO("V = " << cols);
    const auto error = report_error(got.report, want.report);
    INFO(error.where);
    CHECK(error.value <= report_tolerance<A>);
    const auto gradient = gradient_error_of(batch, got.gradient, as_token_loss(gate),
                                            1 / static_cast<double>(batch.rows));
    INFO(gradient.where);
    CHECK(gradient.value <= 1);
    CHECK(got.clean);

    const auto alone = loss(call.where(), call.z.input(), call.y.span(), gate).wait();
    CHECK(report_error(alone, got.report).value == 0);
  }
}

}  // namespace

TEST_CASE("a gate of the library on a device", "[small]") {
  if (no_device()) return;
  compare<bfloat16>(idft{});
}

TEST_CASE("a gate of a user on a device", "[small]") {
  if (no_device()) return;
  compare<float>(sharp_gate{});
}

}  // namespace idiolect::test
