// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The promises for what the CUDA kernels do with a row, run on the host.

#include "numerics/device_runner.hpp"
#include "numerics/promises.hpp"
#include "support/catch.hpp"

namespace idiolect::test {

TEMPLATE_TEST_CASE("what holds of every row of a kernel", "", float, double, half, bfloat16) {
  check_promises(device_runner<TestType>{});
}

TEMPLATE_TEST_CASE("one possible token is certain to a kernel", "", float, double, half, bfloat16) {
  check_certain_rows(device_runner<TestType>{});
}

TEMPLATE_TEST_CASE("next to certainty nothing cancels in a kernel", "", float, double, half,
                   bfloat16) {
  check_nearly_certain_rows(device_runner<TestType>{});
}

TEMPLATE_TEST_CASE("a kernel's temperatures from end to end of the type", "", float, double, half,
                   bfloat16) {
  check_temperatures(device_runner<TestType>{});
}

TEST_CASE("a common offset under a temperature in a kernel") {
  check_common_offset(device_runner<double>{});
}

}  // namespace idiolect::test
