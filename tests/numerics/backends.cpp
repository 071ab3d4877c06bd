// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The promises for every backend and scalar type. Compiled with several sets of flags: see
// CMakeLists.txt.

#include <vector>

#include "numerics/promises.hpp"
#include "support/catch.hpp"
#include "support/cells.hpp"

namespace idiolect::test {

TEMPLATE_TEST_CASE("what holds of every row", "", IDIOLECT_TEST_SUMS) {
  check_promises(cell_runner<TestType>{});
}

TEMPLATE_TEST_CASE("one possible token is certain at any temperature", "", IDIOLECT_TEST_SUMS) {
  check_certain_rows(cell_runner<TestType>{});
}

TEMPLATE_TEST_CASE("next to certainty nothing cancels", "", IDIOLECT_TEST_SUMS) {
  check_nearly_certain_rows(cell_runner<TestType>{});
}

#if !defined(IDIOLECT_TEST_REGROUPED)  // the oracle is compiled with the same flags
TEMPLATE_TEST_CASE("temperatures from end to end of the type", "", IDIOLECT_TEST_SUMS) {
  check_temperatures(cell_runner<TestType>{});
}
#endif

TEMPLATE_TEST_CASE("a common offset under a temperature", "", IDIOLECT_TEST_DOUBLE_CELLS) {
  check_common_offset(cell_runner<TestType>{});
}

TEST_CASE("a likelihood that everybody can check") {
  const std::vector<float> row{0, -0.3f};
  const auto report = loss(fast(), row, std::vector<token_id>{0}, nll{});
  CHECK(report.loss == Approx(0.554355).epsilon(1e-6));
  const std::vector<double> far{1e8, 1e8 - 50};
  const auto s = score(fast(), far, std::vector<token_id>{0}, {.temperature = 1e-3}).front();
  CHECK(s.log_prob == 0);
  CHECK(s.phi == 0);
}

}  // namespace idiolect::test
