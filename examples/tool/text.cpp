// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "tool/text.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace tool {

namespace {

std::string print(const char* format, int digits, double x) {
  char buffer[400];  // a double has 309 digits before its point
  const int n = std::snprintf(buffer, sizeof buffer, format, digits, x);
  return {buffer, static_cast<std::size_t>(std::clamp(n, 0, 399))};
}

/// Columns a cell takes: continuation bytes take none.
std::size_t width(const std::string& cell) {
  return static_cast<std::size_t>(std::ranges::count_if(
      cell, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

}  // namespace

std::string fixed(double x, int digits) {
  if (std::isnan(x)) return "-";
  if (std::isinf(x)) return x > 0 ? "inf" : "-inf";
  std::string text = print("%.*f", digits, x);
  const bool zero = text.find_first_of("123456789") == std::string::npos;
  return zero && text.front() == '-' ? text.substr(1) : text;
}

std::string probability(double p) {
  if (std::isnan(p)) return "-";
  if (p < 1e-300) return "<1e-300";
  return p < 1e-3 ? print("%.*e", 1, p) : print("%.*f", 3, p);
}

std::string percent(double share) {
  return std::isnan(share) ? "-" : fixed(100 * share, 1) + "%";
}

std::string counted(long long n, std::string_view noun) {
  return std::to_string(n) + " " + std::string(noun) + (n == 1 ? "" : "s");
}

std::string unescape(std::string_view typed) {
  std::string text;
  for (std::size_t i = 0; i < typed.size(); ++i) {
    const char next = i + 1 < typed.size() ? typed[i + 1] : '\0';
    const auto place = std::string_view("ntr\\").find(next);
    if (typed[i] == '\\' && next != '\0' && place != std::string_view::npos) {
      text += "\n\t\r\\"[place];
      ++i;
    } else {
      text += typed[i];
    }
  }
  return text;
}

std::string_view stripped(std::string_view text) {
  constexpr std::string_view space = " \t\r\n\f\v";
  const auto first = text.find_first_not_of(space);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(space) - first + 1);
}

std::string table::str() const {
  std::vector<std::size_t> widths;
  for (const auto& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
  }
  std::string text;
  for (const auto& row : rows_) {
    std::string line = " ";
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string filling(widths[i] - width(row[i]), ' ');
      line += i == 0 ? " " + row[i] + filling : "  " + filling + row[i];
    }
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

}  // namespace tool
