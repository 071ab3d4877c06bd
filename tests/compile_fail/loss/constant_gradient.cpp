// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
// expect: the gradient must be writable

// The gradient is written: a constant vector cannot be one, though it can be logits.
#include <idiolect/backend/reference/reference.hpp>
#include <idiolect/loss/gates/nll.hpp>
#include <idiolect/loss/loss.hpp>

#include <vector>

int main() {
  const std::vector<float> logits{1, 2, 3};
  const std::vector<int> targets{0};
#ifdef MUST_FAIL
  const std::vector<float> gradient(3);
#else
  std::vector<float> gradient(3);
#endif
  idiolect::loss_and_gradient(idiolect::reference{}, logits, targets, idiolect::nll{}, gradient);
}
