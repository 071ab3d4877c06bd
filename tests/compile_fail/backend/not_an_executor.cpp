// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
// expect: no matching function for call to .*loss
// expect: executor\.bulk

// A policy made of something without bulk(n, f) is refused by the constraint, which says so.
#include <idiolect/backend/cpu/cpu.hpp>
#include <idiolect/loss/gates/nll.hpp>
#include <idiolect/loss/loss.hpp>

#include <vector>

int main() {
  const std::vector<float> logits{1, 2, 3};
  const std::vector<int> targets{0};
#ifdef MUST_FAIL
  const idiolect::cpu policy{4};  // the number of threads?
#else
  const idiolect::cpu policy{idiolect::thread_executor(4)};
#endif
  return static_cast<int>(idiolect::loss(policy, logits, targets, idiolect::nll{}).loss);
}
