// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Options outside their bounds are refused by name, with the number that was given.

#include <idiolect/core/bounds.hpp>

#include <limits>
#include <string>

#include <idiolect/core/matrix_view.hpp>

#include "support/catch.hpp"

namespace idiolect::test {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

template <class F>
std::string refusal(F&& f) {
  try {
    f();
  } catch (const shape_error& e) {
    CHECK(e.argument() == "option");
    return e.what();
  }
  return "";
}

}  // namespace

TEST_CASE("NaN and infinity are outside of all bounds") {
  for (const double bad : {nan, infinity, -infinity}) {
    CHECK(refusal([&] { detail::require_finite(bad, "option"); }) != "");
    CHECK(refusal([&] { detail::require_at_least(-1e308, bad, "option"); }) != "");
    CHECK(refusal([&] { detail::require_above(-1e308, bad, "option"); }) != "");
    CHECK(refusal([&] { detail::require_within(-1e308, 1e308, bad, "option"); }) != "");
  }
}

TEST_CASE("bounds belong to what they bound, or not") {
  CHECK(refusal([] { detail::require_at_least(0, 0, "option"); }) == "");
  CHECK(refusal([] { detail::require_above(0, 5e-324, "option"); }) == "");
  CHECK(refusal([] { detail::require_within(0, 1, 1, "option"); }) == "");
  CHECK(refusal([] { detail::require_count(1, 3, 3, "option"); }) == "");
  CHECK(refusal([] { detail::require_above(0, 0, "option"); }) ==
        "idiolect: option: must be finite and > 0, got 0");
  CHECK(refusal([] { detail::require_within(0.01, 1, 1e-12, "option"); }) ==
        "idiolect: option: must be in [0.01, 1], got 1e-12");
  CHECK(refusal([] { detail::require_count(1, 3, -4, "option"); }) ==
        "idiolect: option: must be in [1, 3], got -4");
}

TEST_CASE("a view of more elements than there are addresses is refused") {
  float x = 0;
  const index_t huge = index_t{1} << 40;
  for (const index_t rows : {huge, std::numeric_limits<index_t>::max()}) {
    try {
      (void)matrix_view<float>(&x, rows, huge);
      FAIL("accepted");
    } catch (const shape_error& e) {
      CHECK(e.argument() == "matrix_view");
    }
  }
}

}  // namespace idiolect::test
