// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

/// \file
/// Catch2, v3 or v2, whichever is there. Tests include this header and no other of Catch2's.
///
/// Written so that both accept it: `Catch::Approx`, `Catch::Matchers::WithinAbs`, `WithinRel`,
/// `ContainsSubstring`; no commas or quotes in the names of tests.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;  // as in v2
#else
#include <catch2/catch.hpp>

namespace Catch {
using Detail::Approx;
}
namespace Catch::Matchers {
inline auto ContainsSubstring(const std::string& text) { return Contains(text); }
}  // namespace Catch::Matchers
#endif

#include <iostream>
#include <string_view>

namespace idiolect::test {

/// Says that this test case cannot be run here, and why; ctest then counts it as skipped. The test
/// case returns after the call. (Any line on std::cout that begins with `SKIPPED:` does the same.)
inline void skip(std::string_view why) { std::cout << "SKIPPED: " << why << std::endl; }

}  // namespace idiolect::test
