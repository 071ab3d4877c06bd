// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
// expect: the gradient of a temporary would be lost

// A gradient that nobody can read; a span of memory that stays is fine.
#include <idiolect/backend/reference/reference.hpp>
#include <idiolect/loss/gates/nll.hpp>
#include <idiolect/loss/loss.hpp>

#include <span>
#include <vector>

int main() {
  const std::vector<float> logits{1, 2, 3};
  const std::vector<int> targets{0};
  std::vector<float> gradient(3);
#ifdef MUST_FAIL
  idiolect::loss_and_gradient(idiolect::reference{}, logits, targets, idiolect::nll{},
                              std::vector<float>(3));
#else
  idiolect::loss_and_gradient(idiolect::reference{}, logits, targets, idiolect::nll{},
                              std::span(gradient));
#endif
}
