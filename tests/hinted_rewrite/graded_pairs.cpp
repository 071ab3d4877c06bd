// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The numeric verifier beside grades that people gave: graded_pairs.txt.

#include <idiolect/hinted/verifiers/numeric.hpp>

#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <string_view>

#include "support/catch.hpp"

namespace idiolect {
namespace {

std::string with_line_breaks(std::string text) {
  constexpr std::string_view mark = "\u23CE";
  for (auto at = text.find(mark); at != std::string::npos; at = text.find(mark)) {
    text.replace(at, mark.size(), "\n");
  }
  return text;
}

/// Takes what stands in brackets on a line.
void set_option(std::istringstream words, answer_options& o) {
  std::string what;
  std::string value;
  words >> what;
  if (what == "percent") {
    words >> value;
    o.percent = value == "kept" ? percent_sign::kept : percent_sign::hundredths;
  } else if (what == "units") {
    while (words >> value) o.units.push_back(value);
  } else if (what == "any") {
    o.any_order = true;
  } else {
    FAIL("no option " << what);
  }
}

}  // namespace

TEST_CASE("answers are graded as people do") {
  std::ifstream in(std::string(IDIOLECT_TEST_SOURCE_DIR) +
                   "/tests/hinted_rewrite/graded_pairs.txt");
  REQUIRE(in);
  numeric_verifier v;
  std::string kind;
  std::map<std::string, int> graded;
  int pairs = 0;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("## ")) {
      kind = line.substr(3);
      v = {};
    } else if (line.starts_with("[")) {
      set_option(std::istringstream(line.substr(1, line.size() - 2)), v.answers);
    } else if (!line.empty() && !line.starts_with("#")) {
      const bool same = line.starts_with("yes ");
      const auto arrow = line.find(" <- ");
      REQUIRE((same || line.starts_with("no ")));
      REQUIRE(arrow != std::string::npos);
      const auto begin = line.find(' ') + 1;
      const std::string reference = with_line_breaks(line.substr(begin, arrow - begin));
      const std::string text = with_line_breaks(line.substr(arrow + 4));
      INFO(kind << ": " << line);
      CHECK(v(reference, text) == same);
      // Who gives the reference as an answer is right.
      CHECK(same_answer(v.answer(reference).value_or(reference),
                        v.answer(reference).value_or(reference), v.answers));
      ++graded[kind];
      ++pairs;
    }
  }
  CHECK(pairs >= 270);
  CHECK(graded.size() == 24);
}

TEST_CASE("whether two answers are the same does not depend on which is asked for") {
  std::ifstream in(std::string(IDIOLECT_TEST_SOURCE_DIR) +
                   "/tests/hinted_rewrite/graded_pairs.txt");
  for (std::string line; std::getline(in, line);) {
    const auto arrow = line.find(" <- #### ");
    if (arrow == std::string::npos) continue;
    const std::string a = line.substr(line.find(' ') + 1, arrow - line.find(' ') - 1);
    const std::string b = line.substr(arrow + 9);
    INFO(line);
    CHECK(same_answer(a, b) == same_answer(b, a));
  }
}

}  // namespace idiolect
