// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Numbers that a caller gives as options: each is held against its bounds where the object is used,
// and refused by name. NaN is outside of all bounds, and so is infinity: none of the library's
// options has a meaning for it, and either would spread through every result in silence.

#include <cmath>
#include <cstdio>
#include <string>
#include <string_view>

#include <idiolect/core/error.hpp>
#include <idiolect/core/types.hpp>

namespace idiolect::detail {

[[nodiscard]] inline std::string shown(double x) {
  char text[32];
  (void)std::snprintf(text, sizeof text, "%.9g", x);
  return text;
}

/// Raises shape_error: `argument` is `x` and must be `what`.
[[noreturn]] inline void raise_bound(std::string_view argument, const std::string& what, double x) {
  raise(shape_error(argument, "must be " + what + ", got " + shown(x)));
}

/// Raises shape_error for NaN and infinities.
inline void require_finite(double x, std::string_view argument) {
  if (!std::isfinite(x)) raise_bound(argument, "finite", x);
}
/// Raises shape_error unless low <= x and x is finite.
inline void require_at_least(double low, double x, std::string_view argument) {
  if (!(x >= low) || !std::isfinite(x)) raise_bound(argument, "finite and >= " + shown(low), x);
}
/// Raises shape_error unless low < x and x is finite.
inline void require_above(double low, double x, std::string_view argument) {
  if (!(x > low) || !std::isfinite(x)) raise_bound(argument, "finite and > " + shown(low), x);
}
/// Raises shape_error unless low <= x <= high.
inline void require_within(double low, double high, double x, std::string_view argument) {
  if (!(x >= low && x <= high))
    raise_bound(argument, "in [" + shown(low) + ", " + shown(high) + "]", x);
}
/// The same for counts and sizes, which are exact.
inline void require_count(index_t low, index_t high, index_t n, std::string_view argument) {
  if (n >= low && n <= high) return;
  raise(shape_error(argument, "must be in [" + std::to_string(low) + ", " + std::to_string(high) +
                                  "], got " + std::to_string(n)));
}

}  // namespace idiolect::detail
