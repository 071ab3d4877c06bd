// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
// expect: moments required = idiolect::moments::collision

// A gate that reads a statistic it has not asked for would read a number nobody computed; the message
// says the line that is missing.
#include <idiolect/loss/token_loss.hpp>

struct my_gate {
#ifndef MUST_FAIL
  static constexpr idiolect::moments required = idiolect::moments::collision;
#endif
  template <class Stats>
  auto weight(const Stats& s) const {
    return s.collision();
  }
};

int main() { (void)idiolect::as_token_loss(my_gate{}); }
