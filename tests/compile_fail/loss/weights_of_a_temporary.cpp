// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
// expect: options would keep a view of a temporary

// Weights that are gone when the call reads them.
#include <idiolect/loss/options.hpp>

#include <span>
#include <vector>

int main() {
  const std::vector<float> named(3, 2.0f);
  idiolect::loss_options options;
#ifdef MUST_FAIL
  options.weights = std::vector<float>(3, 2.0f);
#else
  options.weights = named;
  options.weights = std::span(named).first(2);
#endif
  return static_cast<int>(options.weights.size()) - 2;
}
