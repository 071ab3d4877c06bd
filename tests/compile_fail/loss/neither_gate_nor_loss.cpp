// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
// expect: no matching function for call to .*loss
// expect: token_loss<Loss> \|\| gate<Loss>

// A struct with neither weight() nor evaluate() is refused by the constraint, not from within.
#include <idiolect/backend/reference/reference.hpp>
#include <idiolect/loss/loss.hpp>

#include <vector>

struct my_loss {
#ifndef MUST_FAIL
  template <class Stats>
  double weight(const Stats& s) const {
    return s.prob();
  }
#endif
};

int main() {
  const std::vector<float> logits{1, 2, 3};
  const std::vector<int> targets{0};
  return static_cast<int>(
      idiolect::loss(idiolect::reference{}, logits, targets, my_loss{}).loss);
}
