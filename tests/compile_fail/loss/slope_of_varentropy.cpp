// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
// expect: the gradient of varentropy and collision leaves the span

// A gate on the varentropy cannot be differentiated through its weight, even if it claims a slope.

#include <idiolect/idiolect.hpp>
#include <vector>

struct steady {
  static constexpr idiolect::moments required = idiolect::moments::varentropy;

  template <class Stats>
  typename Stats::real weight(const Stats& s) const {
    return 1 / (1 + s.varentropy());
  }
  template <class Stats>
  idiolect::weight_slope<typename Stats::real> slope(const Stats&) const {
    return {};
  }
};

int main() {
  const std::vector<float> logits = {1, 2, 3};
  const std::vector<int> targets = {1};
#ifdef MUST_FAIL
  return idiolect::loss(idiolect::cpu{}, logits, targets, idiolect::through_weight(steady{})).valid > 0;
#else
  return idiolect::loss(idiolect::cpu{}, logits, targets, steady{}).valid > 0;
#endif
}
