// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
// expect: this gate has no slope\(\)

// A weight of the collision statistic has a gradient outside the three vectors every backend writes.
#include <idiolect/loss/gates.hpp>
#include <idiolect/loss/token_loss.hpp>

template <class Loss>
double value(const Loss& loss) {
  const idiolect::row_stats<double, Loss::required> statistics{};
  return loss.evaluate(statistics).value;
}

int main() {
#ifdef MUST_FAIL
  return static_cast<int>(value(idiolect::through_weight(idiolect::deft{})));
#else
  return static_cast<int>(value(idiolect::as_token_loss(idiolect::deft{})));
#endif
}
