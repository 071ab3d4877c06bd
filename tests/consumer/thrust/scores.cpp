// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// A host's program on a Thrust system: the token of a model that always says the same is its own.

#include <cstdio>
#include <vector>

#include <thrust/system/cpp/execution_policy.h>

#include <idiolect/backend/thrust/thrust.hpp>
#include <idiolect/loss/gates.hpp>

int main() {
  const std::vector<float> logits{0, 20, 0};
  const std::vector<int> target{1};
  std::vector<float> gradient(3);
  const idiolect::thrust_system system{thrust::cpp::par};
  const auto score = idiolect::score(system, logits, target).front();
  const auto report =
      idiolect::loss_and_gradient(system, logits, target, idiolect::idft{}, gradient);
  std::printf("phi %g, loss %g, gradient %g\n", score.phi, report.loss,
              static_cast<double>(gradient[1]));
  const bool own = score.phi > -1e-6 && score.phi < 1e-6 && report.loss < 1e-6;
  return own && gradient[1] <= 0 ? 0 : 1;
}
