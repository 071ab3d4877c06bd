// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the study is expected to show, as checks that can fail; and what is only compared, with a
// verdict in words that follows from the numbers alone.

#include <string>
#include <vector>

#include "study/figures.hpp"

namespace study {

/// The statement that a number lies above `beyond`. It holds if it does in every one of several
/// seeds, or if the interval of the mean does; for one seed, if that seed's own interval does.
struct check {
  int finding = 0;  ///< 1 to 6
  std::string statement;
  double beyond = 0;
  std::vector<measured> seeds = {};
  measured mean = {};
  bool holds = false;
  std::string verdict = {};
};

/// A difference that nothing is expected of.
struct comparison {
  std::string group;
  std::string statement;  ///< "a - b, of what"
  std::vector<measured> seeds = {};
  measured mean = {};
  std::string verdict = {};
};

[[nodiscard]] std::string finding_title(int finding);
[[nodiscard]] std::vector<check> make_checks(figures& f, const std::vector<double>& rates);
[[nodiscard]] std::vector<comparison> make_comparisons(figures& f,
                                                       const std::vector<double>& rates);

/// "1e-4"
[[nodiscard]] std::string rate_text(double rate);

}  // namespace study
