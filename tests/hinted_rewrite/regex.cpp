// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The regex verifier, and its engine beside std::regex: the same matches of random patterns in
// short texts, where backtracking is quick.

#include <idiolect/hinted/verifiers/regex.hpp>

#include <chrono>
#include <regex>
#include <string>
#include <string_view>
#include <vector>

#include "support/catch.hpp"
#include "support/rows.hpp"

namespace idiolect {
namespace {

using clock = std::chrono::steady_clock;
using Catch::Matchers::ContainsSubstring;

bool accepts(const std::string& pattern, std::string_view reference, std::string_view text) {
  return regex_verifier(pattern)(reference, text);
}

linear_regex::result search(const linear_regex& r, std::string_view text, std::size_t from = 0) {
  std::size_t steps = 1'000'000;
  return r.search(text, from, steps);
}

/// Patterns of what both engines know. Groups that can be empty are not repeated: there the two
/// differ in what the group has taken.
std::string random_pattern(test::random_source& random, int depth) {
  static const std::vector<std::string> atoms = {"a", "b",   "c",     "\\d", "[ab]", "[^a]",
                                                 ".", "\\w", "[b-c]", "\\s", "\\.",  "1"};
  static const std::vector<std::string> repeats = {"*",     "+",    "?",  "{2}",
                                                   "{1,3}", "{2,}", "*?", "+?"};
  static const std::vector<std::string> places = {"^", "$", "\\b", "\\B"};
  const auto pick = [&](const auto& all) {
    return all[static_cast<std::size_t>(random.below(static_cast<index_t>(all.size())))];
  };
  std::string p = random.below(6) == 0 ? pick(places) : "";
  for (index_t k = 1 + random.below(3); k > 0; --k) {
    switch (depth > 0 ? random.below(6) : random.below(3)) {
      case 0:
        p += pick(atoms);
        break;
      case 1:
      case 2:
        p += pick(atoms) + pick(repeats);
        break;
      case 3:
        p += "(" + random_pattern(random, depth - 1) + ")";
        break;
      case 4:
        p += "(?:" + random_pattern(random, depth - 1) + "|" + random_pattern(random, depth - 1) +
             ")";
        break;
      default:
        p += "(?:" + pick(atoms) + random_pattern(random, depth - 1) + ")" + pick(repeats);
        break;
    }
  }
  return random.below(6) == 0 ? p + pick(places) : p;
}

}  // namespace

TEST_CASE("regex verifier") {
  CHECK(accepts("^ok .*>[0-9]$", "", "ok 1>5"));
  CHECK_FALSE(accepts("^ok .*>[0-9]$", "", "so 1>5"));
  CHECK(accepts("answer is ([^.]*)", "the answer is 5.", "I say: answer is  5 ."));
  CHECK(accepts("answer is ([^.]*)", "5", "answer is 5"));
  CHECK(accepts("answer is ([^.]*)", "5", "answer is 4. No: answer is 5."));
  CHECK_FALSE(accepts("answer is ([^.]*)", "5", "answer is 5. No: answer is 4."));
  CHECK_FALSE(accepts("answer is ([^.]*)", "5", "five"));
  CHECK_FALSE(accepts("answer is ([^.]*)", "", "answer is "));
  CHECK(accepts("(5)|x", "5", "x5"));
  CHECK_FALSE(accepts("(5)|x", "5", "5x"));  // the last match has no answer
  CHECK(accepts("caf\\u00e9 \\x41", "", "caf\xC3\xA9 A"));
  CHECK(accepts("[[:upper:]]{2}\\b", "", "xAB y"));
  // What cannot begin at the first byte may begin at a later one.
  CHECK(accepts("$", "", "N"));
  CHECK(accepts("\\bin\\b", "", "what is in it"));
  CHECK(accepts("\\B(\\d)$", "5", "a=15"));
  // A text that never ended: its end is searched.
  CHECK(accepts("answer (7)", "7", std::string(5'000'000, 'x') + " answer 7"));
  CHECK_FALSE(accepts("^x", "", std::string(1, 'x') + std::string(regex_verifier::reach, 'y')));
}

TEST_CASE("what cannot be searched without backtracking is refused by name") {
  const auto refused = [](const std::string& pattern, const char* why) {
    CHECK_THROWS_AS(regex_verifier(pattern), shape_error);
    CHECK_THROWS_WITH(regex_verifier(pattern), ContainsSubstring(why));
  };
  refused("a(b", "'a(b'");
  refused("a)b", "closes nothing");
  refused("[ab", "not closed");
  refused("*a", "nothing to repeat");
  refused("a**", "nothing to repeat");
  refused("^*", "nothing to repeat");
  refused("a{3,1}", "m above n");
  refused("a{2,0}", "m above n");
  refused("a{1001}", "1000");
  refused("a{", "number");
  refused("[b-a]", "above its end");
  refused("a\\", "backslash");
  refused("\\q", "\\q means nothing");
  refused("[[:what:]]", "[:what:]");
  refused("(a)\\1", "backreferences");
  refused("(?=a)", "lookahead");
  refused("(?!a)b", "lookahead");
  refused("((((a{100}){100}){100}){100})", "4000 steps");
  refused("(?:(?:(?:){1000}){1000}x){1000}{2}", "nothing to repeat");
  refused(std::string(200, '(') + std::string(200, ')'), "inside each other");
  refused(std::string(5000, 'a'), "4096");
  CHECK(accepts("(?:(?:(?:){1000}){1000}){1000}", "", "x"));
}

TEST_CASE("no pattern takes minutes, nor the stack") {
  const auto begin = clock::now();
  const std::string many(40, 'a');
  for (const char* p : {"^(a+)+$", "^(a*)*$", "^(a|a)*$", "^(a|aa)+$", "^(.*)*x$", "^((a+)*)+$",
                        "^(([a-z])+.)+[A-Z]([a-z])+$", "^(a?){40}a{40}$x"}) {
    INFO(p);
    CHECK_FALSE(accepts(p, "5", many + "!"));
  }
  const std::string endless(regex_verifier::reach, 'a');
  for (const char* p : {"(a+)+$", "(.|\\n)*", "((a*)*)*b", "(a.*)?b", "a(.*z)?", "(a|b|ab)*c",
                        "(a{0,50}){0,35}b"}) {
    INFO(p);
    (void)accepts(p, "5", endless);
  }
  CHECK(clock::now() - begin < std::chrono::seconds(60));
}

TEST_CASE("the engine finds what std::regex finds") {
  test::random_source random(11);
  index_t matches = 0;
  index_t groups = 0;
  for (int round = 0; round < 4000; ++round) {
    const std::string pattern = random_pattern(random, 2);
    const linear_regex mine(pattern);
    const std::regex theirs(pattern);
    REQUIRE(mine.groups() == theirs.mark_count());
    for (int k = 0; k < 5; ++k) {
      std::string text;
      for (index_t n = random.below(9); n > 0; --n) {
        text += std::string_view("aabbc1. ")[static_cast<std::size_t>(random.below(8))];
      }
      INFO("'" << pattern << "' in '" << text << "'");
      const auto found = search(mine, text);
      std::smatch expected;
      const bool any = std::regex_search(text, expected, theirs);
      REQUIRE(found.found.has_value() == any);
      if (!any) continue;
      CHECK(found.found->begin == static_cast<std::size_t>(expected.position(0)));
      CHECK(found.found->end - found.found->begin == static_cast<std::size_t>(expected.length(0)));
      ++matches;
      if (mine.groups() == 0 || !expected[1].matched) continue;
      CHECK(found.found->group_begin == static_cast<std::size_t>(expected.position(1)));
      CHECK(found.found->group_end ==
            static_cast<std::size_t>(expected.position(1) + expected.length(1)));
      ++groups;
    }
  }
  CHECK(matches > 3000);
  CHECK(groups > 500);
}

}  // namespace idiolect
