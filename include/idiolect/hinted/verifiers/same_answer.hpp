// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Whether two answers are the same, as a person who grades would say: the same number, the same
// list, tuple, set or interval of such, the same option, or else the same text.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <idiolect/hinted/verifiers/characters.hpp>
#include <idiolect/hinted/verifiers/exact_number.hpp>
#include <idiolect/hinted/verifiers/plain_answer.hpp>

namespace idiolect {

/// What a percent sign behind a number means.
enum class percent_sign : std::uint8_t {
  ignored,     ///< 50% is 50
  hundredths,  ///< 50% is 0.5
  kept         ///< 50% is 50%, and no other number
};

/// How answers are compared.
struct answer_options {
  percent_sign percent = percent_sign::ignored;
  /// Words that do not count behind a number, where only one answer has one: "cm^2", "dollars".
  /// Two different ones are two answers.
  std::vector<std::string> units = {};
  bool any_order = false;  ///< of a bare list; that of a set never counts, that of a tuple always
};

namespace detail {

/// An option named by its letter.
struct option_name {
  char letter = 0;
  bool bare = true;  ///< nothing but the letter: what the option says does not follow
};

/// B, (B), B), "option B", "(B) 6", "B: 6", "B. six": letters A to J in either case, of a
/// simplified answer.
[[nodiscard]] inline std::optional<option_name> option_of(std::string_view text) {
  for (const std::string_view word : {"option", "choice", "answer"}) {
    if (text.size() <= word.size() + 1) continue;
    if (!std::ranges::equal(text.substr(0, word.size()), word, {}, lower_case)) continue;
    text.remove_prefix(word.size());
    if (text[0] == ' ') text.remove_prefix(1);
    break;
  }
  const bool opened = text.starts_with('(') || text.starts_with('[');
  if (opened) text.remove_prefix(1);
  if (text.empty()) return std::nullopt;
  const char letter = lower_case(text[0]);
  if (letter < 'a' || letter > 'j') return std::nullopt;
  text.remove_prefix(1);
  const bool closed = text.starts_with(')') || text.starts_with(']');
  if (opened && !closed) return std::nullopt;
  if (text.empty() || (closed && text.size() == 1)) return option_name{letter, true};
  if (closed || text[0] == ':' || text.starts_with(". ")) return option_name{letter, false};
  return std::nullopt;
}

/// The currency that an answer names; empty if it names none. One `$` is dollars, two are LaTeX.
[[nodiscard]] inline std::string_view currency_of(std::string_view answer) {
  for (const std::string_view sign : {"\xE2\x82\xAC", "\xC2\xA3", "\xC2\xA5", "\xE2\x82\xB9"}) {
    if (answer.find(sign) != std::string_view::npos) return sign;
  }
  const bool dollars =
      answer.find("\\$") != std::string_view::npos || std::ranges::count(answer, '$') % 2 == 1;
  return dollars ? "$" : "";
}

/// Compares simplified answers.
class answer_comparison {
 public:
  explicit answer_comparison(const answer_options& o) : options_(o) {
    for (const std::string& u : o.units) units_.push_back(simplified_answer(u));
    std::ranges::sort(units_, std::greater{}, &std::string::size);
  }

  [[nodiscard]] bool same(std::string_view a, std::string_view b) const {
    // "x = 5" where 5 was asked for.
    if (a.find('=') == std::string_view::npos) b = without_variable(b);
    if (b.find('=') == std::string_view::npos) a = without_variable(a);
    return same(a, b, 0);
  }

 private:
  static constexpr int deepest = 8;
  static constexpr std::size_t largest_set = 200;  // compared each with each

  // A list between `brackets` ("()", "[)", "\{\}", nothing), or one part without any: a leaf.
  struct shape {
    std::string brackets;
    std::vector<std::string_view> parts;
    [[nodiscard]] bool leaf() const { return parts.size() == 1 && brackets.empty(); }
  };

  struct quantity {
    std::optional<exact_number> number;
    bool percent = false;
    std::string_view unit;
  };

  [[nodiscard]] bool same(std::string_view a, std::string_view b, int depth) const {
    if (a.empty() || b.empty()) return false;
    if (a == b) return true;
    if (depth > deepest) return false;
    const auto x = option_of(a);
    const auto y = option_of(b);
    if (x && y && (x->bare || y->bare)) return x->letter == y->letter;
    const shape left = shape_of(a);
    const shape right = shape_of(b);
    if (left.brackets != right.brackets) return false;
    if (left.leaf() || right.leaf()) {
      return left.leaf() && right.leaf() && same_leaf(left.parts[0], right.parts[0]);
    }
    if (left.brackets == "\\{\\}" || left.brackets == "{}") {
      return holds(left.parts, right.parts, depth) && holds(right.parts, left.parts, depth);
    }
    if (left.parts.size() != right.parts.size()) return false;
    if (options_.any_order && left.brackets.empty()) {
      return same_in_any_order(left.parts, right.parts, depth);
    }
    return std::ranges::equal(left.parts, right.parts, [&](std::string_view p, std::string_view q) {
      return same(p, q, depth + 1);
    });
  }

  /// Whether each of `some` is in `all`.
  [[nodiscard]] bool holds(const std::vector<std::string_view>& all,
                           const std::vector<std::string_view>& some, int depth) const {
    if (all.size() > largest_set || some.size() > largest_set) return false;
    return std::ranges::all_of(some, [&](std::string_view p) {
      return std::ranges::any_of(all, [&](std::string_view q) { return same(p, q, depth + 1); });
    });
  }

  [[nodiscard]] bool same_in_any_order(const std::vector<std::string_view>& a,
                                       std::vector<std::string_view> b, int depth) const {
    if (a.size() > largest_set) return false;
    return std::ranges::all_of(a, [&](std::string_view p) {
      const auto found =
          std::ranges::find_if(b, [&](std::string_view q) { return same(p, q, depth + 1); });
      if (found == b.end()) return false;
      b.erase(found);
      return true;
    });
  }

  static bool opens(std::string_view text, std::size_t i) {
    return text[i] == '(' || text[i] == '[' || text[i] == '{';
  }
  static bool closes(std::string_view text, std::size_t i) {
    return text[i] == ')' || text[i] == ']' || text[i] == '}';
  }

  static std::vector<std::string_view> split(std::string_view text) {
    std::vector<std::string_view> parts;
    std::size_t begin = 0;
    int depth = 0;
    for (std::size_t i = 0; i <= text.size(); ++i) {
      if (i < text.size()) {
        depth += opens(text, i) - closes(text, i);
        if (text[i] != ';' || depth > 0) continue;
      }
      auto part = trimmed(text.substr(begin, i - begin));
      while (part.size() > 1 && (part[0] == '*' || part[0] == '`')) part.remove_prefix(1);
      while (part.size() > 1 && (part.back() == '*' || part.back() == '`')) part.remove_suffix(1);
      parts.push_back(part);
      begin = i + 1;
    }
    return parts;
  }

  static shape shape_of(std::string_view text) {
    for (int k = 0; k < deepest; ++k) {
      const std::size_t mark = text.starts_with("\\{") ? 2 : 1;
      if (text.size() <= 2 * mark || !opens(text, mark - 1) || !closes(text, text.size() - 1))
        break;
      int depth = 0;
      std::size_t end = 0;
      for (; end < text.size(); ++end) {
        depth += opens(text, end) - closes(text, end);
        if (depth == 0 && end + 1 > mark) break;
      }
      if (end + 1 != text.size()) break;
      const bool marked = text[end - 1] == '\\';
      if (marked != (mark == 2)) break;
      shape s{std::string(text.substr(0, mark)) + std::string(text.substr(end + 1 - mark)),
              split(text.substr(mark, text.size() - 2 * mark))};
      if (s.parts.size() > 1 && mark == 2) s.brackets = "{}";
      if (s.parts.size() > 1 || (s.brackets != "()" && s.brackets != "{}")) return s;
      text = s.parts[0];  // (5) is 5
    }
    return {"", split(text)};
  }

  static std::string_view without_variable(std::string_view text) {
    const auto equals = text.find('=');
    if (equals == std::string_view::npos || equals == 0) return text;
    auto name = text.substr(0, equals);
    if (name[0] == '\\') {
      name.remove_prefix(1);
    } else if (name.size() > 1 && name[1] != '_') {
      return text;
    }
    return !name.empty() && is_letter(name[0]) ? text.substr(equals + 1) : text;
  }

  [[nodiscard]] quantity quantity_of(std::string_view text) const {
    quantity q;
    for (const std::string& u : units_) {
      if (u.empty() || text.size() <= u.size() || !text.ends_with(u)) continue;
      const auto rest = trimmed(text.substr(0, text.size() - u.size()));
      if (rest.empty() || is_letter(rest.back())) continue;
      q.unit = u;
      text = rest;
      break;
    }
    for (const std::string_view sign : {"%", "percent"}) {
      if (q.percent || !text.ends_with(sign)) continue;
      q.percent = true;
      text = trimmed(text.substr(0, text.size() - sign.size()));
    }
    q.number = exact_number::parse(text);
    if (q.number && q.percent && options_.percent == percent_sign::hundredths) q.number->shift(-2);
    return q;
  }

  /// "inf" and its kin, without a sign.
  static bool is_infinity(std::string_view text) {
    for (const std::string_view name : {"\\infty", "inf", "Inf", "INF", "infinity", "Infinity"}) {
      if (text == name) return true;
    }
    return false;
  }

  [[nodiscard]] bool same_leaf(std::string_view a, std::string_view b) const {
    const quantity x = quantity_of(a);
    const quantity y = quantity_of(b);
    if (x.number && y.number) {
      if (!x.unit.empty() && !y.unit.empty() && x.unit != y.unit) return false;
      if (options_.percent == percent_sign::kept && x.percent != y.percent) return false;
      return *x.number == *y.number;
    }
    const bool minus = a.starts_with('-');
    const auto magnitude = [](std::string_view s) {
      return s.starts_with('-') || s.starts_with('+') ? s.substr(1) : s;
    };
    if (is_infinity(magnitude(a)) && is_infinity(magnitude(b))) return minus == b.starts_with('-');
    return a == b;
  }

  const answer_options& options_;
  std::vector<std::string> units_;  // simplified, longest first
};

}  // namespace detail

/// Longer answers are compared byte for byte.
inline constexpr std::size_t longest_answer = std::size_t{1} << 14;

/// Whether two answers are the same. Nothing equals an empty answer. O(n) but for sets, which are
/// compared each with each, and fractions, whose digits are multiplied.
[[nodiscard]] inline bool same_answer(std::string_view a, std::string_view b,
                                      const answer_options& options = {}) {
  if (a.size() > longest_answer || b.size() > longest_answer) return trimmed(a) == trimmed(b);
  const auto x = detail::currency_of(a);
  const auto y = detail::currency_of(b);
  if (!x.empty() && !y.empty() && x != y) return false;
  return detail::answer_comparison(options).same(simplified_answer(a), simplified_answer(b));
}

}  // namespace idiolect
