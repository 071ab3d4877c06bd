// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
// expect: the varentropy was not accumulated
// expect: moments required = idiolect::moments::varentropy

// A callable has no `required`: it can read log_prob, entropy, phi and lse, and no more.
#include <idiolect/backend/reference/reference.hpp>
#include <idiolect/loss/loss.hpp>

#include <vector>

int main() {
  const std::vector<float> logits{1, 2, 3};
  const std::vector<int> targets{0};
#ifdef MUST_FAIL
  const auto gate = [](const auto& s) { return s.varentropy(); };
#else
  const auto gate = [](const auto& s) { return s.entropy(); };
#endif
  return static_cast<int>(loss(idiolect::reference{}, logits, targets, gate).loss);
}
