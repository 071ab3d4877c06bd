// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The guide's snippet: the comments `// [name]` mark its region.

#include <cmath>
#include <vector>

#if defined(_OPENMP)
#include <thrust/system/omp/execution_policy.h>
#endif

#include <idiolect/backend/thrust/thrust.hpp>
#include <idiolect/loss/gates.hpp>

#include "support/catch.hpp"

#if defined(_OPENMP)
TEST_CASE("guide: a Thrust system") {
  std::vector<float> memory(3 * 5, 0.5f);
  const idiolect::matrix_view logits(memory.data(), 3, 5);
  const std::vector<int> targets{4, -100, 0};

  // [thrust]
  const idiolect::thrust_system system{thrust::omp::par};
  const auto scores = idiolect::score(system, logits, targets);
  const auto report =
      idiolect::loss_and_gradient(system, logits, targets, idiolect::idft{}, logits);
  // [thrust]

  CHECK(scores[0].phi == Approx(0).margin(1e-12));
  CHECK(report.mean_nll == Approx(std::log(5.0)));
  CHECK(memory[4] == Approx(-0.2 * 0.8 / 2));  // p (p - 1) / 2, as phi is 0
}
#endif
