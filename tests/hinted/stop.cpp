// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// What watches a growing text, beside versions that look at the whole of it every time.

#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <idiolect/hinted/stop.hpp>

#include "support/catch.hpp"
#include "support/rows.hpp"

namespace idiolect::test {
namespace {

std::string random_bytes(random_source& random, index_t longest, std::string_view alphabet) {
  std::string bytes(static_cast<std::size_t>(random.below(longest + 1)), ' ');
  for (char& c : bytes) {
    c = alphabet[static_cast<std::size_t>(random.below(static_cast<index_t>(alphabet.size())))];
  }
  return bytes;
}

void append_character(std::string& text, char32_t c) {
  const auto byte = [&](char32_t x) { text += static_cast<char>(static_cast<unsigned char>(x)); };
  if (c < 0x80) {
    byte(c);
  } else if (c < 0x800) {
    byte(0xC0 | c >> 6);
    byte(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    byte(0xE0 | c >> 12);
    byte(0x80 | (c >> 6 & 0x3F));
    byte(0x80 | (c & 0x3F));
  } else {
    byte(0xF0 | c >> 18);
    byte(0x80 | (c >> 12 & 0x3F));
    byte(0x80 | (c >> 6 & 0x3F));
    byte(0x80 | (c & 0x3F));
  }
}

}  // namespace

TEST_CASE("a byte sequence is found across any borders of pieces") {
  random_source random(1);
  index_t found = 0;
  for (int round = 0; round < 5000; ++round) {
    const std::string needle = random_bytes(random, 5, "ab\xC3");
    byte_watch watch(needle);
    std::string text;
    for (int piece = 0; piece < 12; ++piece) {
      const std::string bytes = random_bytes(random, 3, "ab\xC3");
      text += bytes;
      const bool expected = !needle.empty() && text.find(needle) != std::string::npos;
      if (watch.add(bytes) != expected || watch.found() != expected) {
        FAIL("'" << needle << "' in '" << text << "'");
      }
    }
    found += watch.found() ? 1 : 0;
  }
  CHECK(found > 500);
  CHECK(found < 4500);
}

TEST_CASE("a delimiter counts where its rule says, across any borders of pieces") {
  random_source random(3);
  index_t found = 0;
  for (int round = 0; round < 8000; ++round) {
    delimiter_rule rule{random_bytes(random, 3, "#a"), random.below(2) == 0,
                        random.below(2) == 0 ? random_bytes(random, 3, "a>") : ""};
    delimiter_watch watch(rule);
    std::string text;
    for (int piece = 0; piece < 14; ++piece) {
      const std::string bytes = random_bytes(random, 4, "#a> \n*");
      text += bytes;
      // By hand: behind the first `after`, the first delimiter that only marks stand before.
      const auto open = text.find(rule.after);
      std::size_t end = 0;
      if (open != std::string::npos && !rule.delimiter.empty()) {
        const std::string rest = text.substr(open + rule.after.size());
        for (auto at = rest.find(rule.delimiter); at != std::string::npos && end == 0;
             at = rest.find(rule.delimiter, at + 1)) {
          const auto line = rest.substr(0, at).rfind('\n') + 1;
          const auto before = rest.substr(line, at - line);
          if (!rule.line_start || before.find_first_not_of(" \t*_") == std::string::npos) {
            end = open + rule.after.size() + at + rule.delimiter.size();
          }
        }
      }
      if (watch.add(text, bytes.size()) != (end > 0) || watch.end() != end) {
        FAIL("'" << rule.delimiter << "' behind '" << rule.after << "' in '" << text << "'");
      }
    }
    found += watch.found() ? 1 : 0;
  }
  CHECK(found > 1000);
  CHECK(found < 7000);
}

TEST_CASE("an n-gram that comes back is counted as by hand") {
  random_source random(2);
  index_t stopped = 0;
  for (int round = 0; round < 3000; ++round) {
    const repetition_options o{1 + random.below(6), random.below(6)};
    repetition_watch watch(o);
    std::vector<token_id> tokens;
    const index_t vocab = 1 + random.below(4);
    for (int step = 0; step < 60; ++step) {
      tokens.push_back(static_cast<token_id>(random.below(vocab)));
      index_t count = 0;
      if (static_cast<index_t>(tokens.size()) >= o.length) {
        for (auto at = tokens.begin(); tokens.end() - at >= o.length; ++at) {
          count += std::equal(at, at + o.length, tokens.end() - o.length) ? 1 : 0;
        }
      }
      const bool expected = o.times > 0 && count > 0 && count >= o.times;
      if (watch.add(tokens) != expected) {
        FAIL("round " << round << ", " << tokens.size() << " tokens, length " << o.length
                      << ", times " << o.times);
      }
      if (expected) {
        ++stopped;
        break;
      }
    }
  }
  CHECK(stopped > 1000);
  CHECK_THROWS_AS(repetition_watch({.length = 0, .times = 2}), shape_error);
  CHECK_NOTHROW(repetition_watch({.length = 0, .times = 0}));
}

TEST_CASE("the default repetition stop takes thirty tokens five times") {
  repetition_watch watch(repetition_options{});
  std::vector<token_id> tokens;
  bool stopped = false;
  while (!stopped && tokens.size() < 1000) {
    tokens.push_back(static_cast<token_id>(tokens.size() % 7));
    stopped = watch.add(tokens);
  }
  CHECK(tokens.size() == 30 + 4 * 7);
}

TEST_CASE("what is shown ends with a whole character") {
  random_source random(4);
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    std::vector<std::size_t> borders = {0};
    for (index_t k = random.below(8); k >= 0; --k) {
      const char32_t highest[] = {0x7F, 0x7FF, 0xFFFF, 0x10FFFF};
      append_character(text, static_cast<char32_t>(
                                 random.below(static_cast<index_t>(highest[random.below(4)]) + 1)));
      borders.push_back(text.size());
    }
    for (std::size_t cut = 0; cut <= text.size(); ++cut) {
      const auto whole = *std::prev(std::ranges::upper_bound(borders, cut));
      if (complete_utf8(std::string_view(text).substr(0, cut)).size() != whole) {
        FAIL("cut at " << cut << " of " << text.size());
      }
    }
  }
  // What is not UTF-8 is somebody else's business, but never a crash or an endless wait.
  for (int round = 0; round < 3000; ++round) {
    const std::string bytes = random_bytes(random, 9, "a\x80\xBF\xC3\xE2\xF0\xFF");
    const auto shown = complete_utf8(bytes);
    CHECK(bytes.starts_with(shown));
    CHECK(bytes.size() - shown.size() <= 3);
  }
}

TEST_CASE("every stop has a name of its own") {
  std::set<std::string_view> names;
  const int count = static_cast<int>(stop_reason::model_failed) + 1;
  for (int r = 0; r < count; ++r) names.insert(name(static_cast<stop_reason>(r)));
  CHECK(static_cast<int>(names.size()) == count);
  CHECK_FALSE(names.contains("unknown"));
}

}  // namespace idiolect::test
