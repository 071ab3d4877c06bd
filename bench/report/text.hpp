// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Numbers, pairs of numbers and tables as Markdown.

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

namespace idiolect::bench {

// Three digits; none behind the point from 1000 on.
inline std::string number(double x) {
  char text[32];
  std::snprintf(text, sizeof text, std::abs(x) >= 999.5 ? "%.0f" : "%.3g", x);
  return text;
}
inline std::string rounded(double x, const char* format) {
  char text[32];
  std::snprintf(text, sizeof text, format, x);
  return text;
}
inline std::string number(std::optional<double> x) {
  return x ? number(*x) : "-";
}
inline std::string share(std::optional<double> x) {
  return x ? rounded(*x, "%.2f") : "-";
}
inline std::string times(std::optional<double> x) {
  return x ? rounded(*x, "%.1f") + "x" : "-";
}

inline std::optional<double> ratio(std::optional<double> a, std::optional<double> b) {
  return a && b ? std::optional(*a / *b) : std::nullopt;
}

/// One and two threads.
using pair = std::array<std::optional<double>, 2>;

template <class Text>
std::string both(const pair& p, Text&& text) {
  return text(p[0]) + " / " + text(p[1]);
}
inline std::string in_numbers(const pair& p) {
  return both(p, [](auto x) { return number(x); });
}
inline std::string in_shares(const pair& p) {
  return both(p, [](auto x) { return share(x); });
}
inline std::string in_times(const pair& p) {
  return both(p, [](auto x) { return times(x); });
}

using row = std::vector<std::string>;
inline void write_row(std::ostream& out, const row& cells) {
  for (const auto& cell : cells) out << "| " << cell << ' ';
  out << "|\n";
}
inline void write_head(std::ostream& out, const row& cells) {
  write_row(out, cells);
  for (std::size_t i = 0; i < cells.size(); ++i) out << "|---";
  out << "|\n";
}

}  // namespace idiolect::bench
