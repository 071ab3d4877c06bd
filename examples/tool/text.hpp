// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Numbers and strings as a person reads or types them.

#include <string>
#include <string_view>
#include <vector>

#include "files/shown.hpp"

namespace tool {

/// `x` with so many digits after the point; "-" for NaN, "inf" and "-inf".
[[nodiscard]] std::string fixed(double x, int digits);

/// A p-value: "0.013", "4.2e-09", "<1e-300".
[[nodiscard]] std::string probability(double p);

/// A share as "12.3%".
[[nodiscard]] std::string percent(double share);

/// "1 token", "2 tokens".
[[nodiscard]] std::string counted(long long n, std::string_view noun);

/// `\n`, `\t`, `\r` and `\\` as typed on a command line; other backslashes stay as they are.
[[nodiscard]] std::string unescape(std::string_view typed);

/// Without white space (blank, tab, line break) around it.
[[nodiscard]] std::string_view stripped(std::string_view text);

using files::is_utf8;
using files::printable;

/// A table for the terminal: the first column to the left, the others to the right.
class table {
 public:
  explicit table(std::vector<std::string> heads) { rows_.push_back(std::move(heads)); }
  void row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }

  /// Lines of text, each indented by two blanks and ended by a line break.
  [[nodiscard]] std::string str() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace tool
