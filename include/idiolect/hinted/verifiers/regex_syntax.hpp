// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// How regular expressions are written. The syntax is ECMAScript's, over bytes:
//
//   .  [a-z]  [^...]  [[:alpha:]]  \d \D \w \W \s \S  \n \r \t \f \v \0  \xHH  \uHHHH (as UTF-8)
//   ^ $ (of the whole text)  \b \B   a|b  (a) (?:a)   * + ? {n} {n,} {n,m}, each with ? for "few"
//
// Refused by name, since no automaton does them: backreferences (\1) and lookahead ((?=, (?!).

#include <algorithm>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <idiolect/core/error.hpp>
#include <idiolect/hinted/verifiers/characters.hpp>

namespace idiolect {

/// What must hold at a place in the text; begin and end are those of the whole text.
enum class regex_assertion : std::uint8_t { begin, end, word_border, no_word_border };

namespace detail {

struct regex_node {
  enum class kind : std::uint8_t { set, assertion, sequence, alternatives, group, repeat };
  kind what = kind::sequence;
  std::vector<regex_node> parts = {};
  std::size_t set = 0;
  regex_assertion asserted = regex_assertion::begin;
  std::size_t number = 0;           ///< of a group, from 1; 0 takes nothing
  std::size_t least = 0, most = 0;  ///< of a repeat; `most` 0: any number
  bool greedy = true;
};

/// Reads a pattern. Calls itself for groups, which may be nested so deep and no deeper.
class regex_parser {
 public:
  static constexpr std::size_t longest = 4096, deepest = 100, most_repeats = 1000;

  explicit regex_parser(std::string_view pattern) : pattern_(pattern) {
    check(pattern.size() <= longest, "it has more than 4096 bytes");
  }

  regex_node read() {
    regex_node all = alternatives(0);
    check(at_ == pattern_.size(), "a ) closes nothing");
    return all;
  }

  std::vector<std::bitset<256>> sets;
  std::size_t groups = 0;

  [[noreturn]] void refuse(const std::string& why) const {
    raise(
        shape_error("pattern", "'" + std::string(pattern_) + "' is no regular expression: " + why));
  }
  void check(bool condition, const char* why) const {
    if (!condition) refuse(why);
  }

 private:
  using bytes = std::bitset<256>;

  [[nodiscard]] bool ended() const { return at_ == pattern_.size(); }
  [[nodiscard]] bool next_is(char c) const { return !ended() && pattern_[at_] == c; }
  bool take(std::string_view what) {
    if (!pattern_.substr(at_).starts_with(what)) return false;
    at_ += what.size();
    return true;
  }

  regex_node alternatives(std::size_t depth) {
    check(depth <= deepest, "more than 100 groups inside each other");
    regex_node either{.what = regex_node::kind::alternatives};
    do {
      regex_node s;
      while (!ended() && !next_is('|') && !next_is(')')) term(s, depth);
      either.parts.push_back(std::move(s));
    } while (take("|"));
    return either;
  }

  void term(regex_node& sequence, std::size_t depth) {
    for (const auto& [spelled, a] :
         {std::pair("^", regex_assertion::begin), std::pair("$", regex_assertion::end),
          std::pair("\\b", regex_assertion::word_border),
          std::pair("\\B", regex_assertion::no_word_border)}) {
      if (!take(spelled)) continue;
      sequence.parts.push_back({.what = regex_node::kind::assertion, .asserted = a});
      return;
    }
    const auto before = sequence.parts.size();
    atom(sequence, depth);
    // Of a character of several bytes the last is repeated, as everywhere in this syntax.
    if (sequence.parts.size() > before) repeated(sequence.parts.back());
  }

  void atom(regex_node& sequence, std::size_t depth) {
    const char c = pattern_[at_];
    if (c == '(') {
      check(!pattern_.substr(at_).starts_with("(?=") && !pattern_.substr(at_).starts_with("(?!") &&
                !pattern_.substr(at_).starts_with("(?<"),
            "lookahead and lookbehind cannot be searched for in linear time");
      at_ += 1;
      const bool captures = !take("?:");
      check(!next_is('?'), "(? is followed by neither : nor a group's beginning");
      regex_node group{.what = regex_node::kind::group, .number = captures ? ++groups : 0};
      group.parts.push_back(alternatives(depth + 1));
      check(take(")"), "a ( is not closed");
      sequence.parts.push_back(std::move(group));
    } else if (c == '[') {
      add(sequence, bracket());
    } else if (c == '.') {
      ++at_;
      bytes any = bytes().set();
      any.reset('\n');
      any.reset('\r');
      add(sequence, any);
    } else if (c == '\\') {
      escape(sequence);
    } else {
      check(c != '*' && c != '+' && c != '?' && c != '{', "there is nothing to repeat");
      ++at_;
      add(sequence, one(c));
    }
  }

  void repeated(regex_node& what) {
    regex_node r{.what = regex_node::kind::repeat};
    if (take("*")) {
    } else if (take("+")) {
      r.least = 1;
    } else if (take("?")) {
      r.most = 1;
    } else if (take("{")) {
      r.least = number();
      r.most = r.least;
      bool none = r.most == 0;
      if (take(",")) {
        none = false;
        r.most = 0;
        if (!next_is('}')) {
          r.most = number();
          none = r.most == 0;
        }
      }
      check(take("}"), "a { is not closed");
      check(none || r.most == 0 || r.most >= r.least, "{m,n} with m above n");
      check(!none || r.least == 0, "{m,n} with m above n");
      if (none) {  // not at all: what it captures is never there
        what = regex_node{};
        return;
      }
    } else {
      return;
    }
    r.greedy = !take("?");
    r.parts.push_back(std::move(what));
    what = std::move(r);
  }

  std::size_t number() {
    std::size_t n = 0;
    const auto begin = at_;
    for (; !ended() && detail::is_digit(pattern_[at_]); ++at_) {
      n = 10 * n + static_cast<std::size_t>(pattern_[at_] - '0');
      check(n <= most_repeats, "something is repeated more than 1000 times");
    }
    check(at_ > begin, "{ is not followed by a number");
    return n;
  }

  static bytes one(char c) { return bytes().set(static_cast<unsigned char>(c)); }
  static bytes range(int low, int high) {
    bytes b;
    for (int k = low; k <= high; ++k) b.set(static_cast<std::size_t>(k));
    return b;
  }
  void add(regex_node& sequence, const bytes& b) {
    const auto same = std::ranges::find(sets, b);
    sequence.parts.push_back(
        {.what = regex_node::kind::set, .set = static_cast<std::size_t>(same - sets.begin())});
    if (same == sets.end()) sets.push_back(b);
  }

  // \d and its kin, after the backslash.
  static std::optional<bytes> class_of(char c) {
    const bytes digits = range('0', '9');
    const bytes words = digits | range('a', 'z') | range('A', 'Z') | one('_');
    const bytes spaces = range('\t', '\r') | one(' ');
    switch (c) {
      case 'd':
        return digits;
      case 'D':
        return ~digits;
      case 'w':
        return words;
      case 'W':
        return ~words;
      case 's':
        return spaces;
      case 'S':
        return ~spaces;
      default:
        return std::nullopt;
    }
  }

  /// The character that an escape stands for; `at_` is behind the backslash.
  unsigned code_point() {
    const char c = pattern_[at_++];
    switch (c) {
      case 'n':
        return '\n';
      case 'r':
        return '\r';
      case 't':
        return '\t';
      case 'f':
        return '\f';
      case 'v':
        return '\v';
      case '0':
        return 0;
      case 'x':
        return hexadecimal(2);
      case 'u':
        return hexadecimal(4);
      default:
        break;
    }
    check(c < '1' || c > '9', "backreferences cannot be searched for in linear time");
    if (detail::is_letter(c)) refuse(std::string("\\") + c + " means nothing");
    return static_cast<unsigned char>(c);
  }
  unsigned hexadecimal(int digits) {
    unsigned n = 0;
    for (; digits > 0; --digits) {
      constexpr std::string_view symbols = "0123456789abcdefABCDEF";
      const auto k = ended() ? std::string_view::npos : symbols.find(pattern_[at_]);
      check(k != std::string_view::npos, "\\x needs two hexadecimal digits, \\u four");
      n = 16 * n + static_cast<unsigned>(k < 16 ? k : k - 6);
      ++at_;
    }
    return n;
  }

  void escape(regex_node& sequence) {
    check(++at_ < pattern_.size(), "it ends with a backslash");
    if (const auto known = class_of(pattern_[at_])) {
      ++at_;
      return add(sequence, *known);
    }
    const bool unicode = next_is('u');
    const unsigned u = code_point();
    const auto byte = [&](unsigned b) { add(sequence, one(static_cast<char>(b))); };
    if (!unicode || u < 0x80) return byte(u);
    if (u >= 0x800) byte(0xE0 | u >> 12);
    byte(u >= 0x800 ? 0x80 | (u >> 6 & 0x3F) : 0xC0 | u >> 6);
    byte(0x80 | (u & 0x3F));
  }

  bytes bracket() {
    ++at_;
    const bool inverted = take("^");
    bytes all;
    while (!take("]")) {
      check(!ended(), "a [ is not closed");
      int low = 0;
      if (bracket_class(all, low)) continue;
      if (next_is('-') && at_ + 1 < pattern_.size() && pattern_[at_ + 1] != ']') {
        ++at_;
        int high = 0;
        check(!bracket_class(all, high), "a class cannot end a range");
        check(low <= high, "a range in [] begins above its end");
        all |= range(low, high);
      } else {
        all |= range(low, low);
      }
    }
    return inverted ? ~all : all;
  }

  /// Takes a class into `all` and returns true, or the next character into `single`.
  bool bracket_class(bytes& all, int& single) {
    if (take("[:")) {
      const auto end = pattern_.find(":]", at_);
      check(end != std::string_view::npos, "a [: is not closed");
      all |= named(pattern_.substr(at_, end - at_));
      at_ = end + 2;
      return true;
    }
    check(!pattern_.substr(at_).starts_with("[=") && !pattern_.substr(at_).starts_with("[."),
          "[= and [. depend on a locale");
    if (!take("\\")) {
      single = static_cast<unsigned char>(pattern_[at_++]);
      return false;
    }
    check(!ended(), "it ends with a backslash");
    if (const auto known = class_of(pattern_[at_])) {
      ++at_;
      all |= *known;
      return true;
    }
    if (take("b")) {
      single = '\b';
      return false;
    }
    const bool unicode = next_is('u');
    const unsigned u = code_point();
    check(u < 0x80 || (!unicode && u < 0x100), "a set is one of bytes: no \\u above 7f in []");
    single = static_cast<int>(u);
    return false;
  }

  [[nodiscard]] bytes named(std::string_view name) const {
    const bytes upper = range('A', 'Z');
    const bytes lower = range('a', 'z');
    const bytes digits = range('0', '9');
    const bytes shown = range('!', '~');
    if (name == "alpha") return upper | lower;
    if (name == "digit") return digits;
    if (name == "alnum") return upper | lower | digits;
    if (name == "upper") return upper;
    if (name == "lower") return lower;
    if (name == "space") return *class_of('s');
    if (name == "blank") return one(' ') | one('\t');
    if (name == "punct") return shown & ~(upper | lower | digits);
    if (name == "xdigit") return digits | range('a', 'f') | range('A', 'F');
    if (name == "print") return shown | one(' ');
    if (name == "graph") return shown;
    if (name == "cntrl") return range(0, 31) | range(127, 127);
    refuse("[:" + std::string(name) + ":] means nothing");
  }

  std::string_view pattern_;
  std::size_t at_ = 0;
};

}  // namespace detail

}  // namespace idiolect
