// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Numbers as people write them, compared exactly: digits of any length, no rounding anywhere.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <idiolect/hinted/verifiers/answer.hpp>
#include <idiolect/hinted/verifiers/characters.hpp>

namespace idiolect {

// Spellings, after `simplified_answer`:
//
//   12  -0.50  .5  007                 decimals of any length
//   1e3  1.5e-4  1.5*10^{3}  10^3      with an exponent of at most 9 digits
//   1/2  \frac{1}{2}                   of two decimals, each may have a sign
//   2 1/4  2\frac{1}{4}                mixed: digits and a fraction below 1

/// A rational number: a sign, decimal digits above and below, and a power of ten.
class exact_number {
 public:
  /// Digits of a fraction's parts: with more it is no number. Comparing takes the product of two
  /// lengths; for decimals, their sum.
  static constexpr std::size_t longest = 1000;

  /// Nothing if `text` is no number. O(n).
  [[nodiscard]] static std::optional<exact_number> parse(std::string_view text) {
    exact_number n;
    n.take_sign(text);
    if (n.take_mixed(text) || n.take_fraction(text)) return n;
    auto d = decimal(text);
    if (!d) return std::nullopt;
    n.numerator_ = std::move(d->digits);
    n.exponent_ = d->exponent;
    return n;
  }

  /// Multiplies by 10^tens.
  void shift(std::int64_t tens) { exponent_ += tens; }

  [[nodiscard]] friend bool operator==(const exact_number& a, const exact_number& b) {
    const bool zero = a.numerator_.empty();
    if (zero || b.numerator_.empty()) return zero && b.numerator_.empty();
    if (a.negative_ != b.negative_) return false;
    scaled left{product(a.numerator_, b.denominator_), a.exponent_};
    scaled right{product(b.numerator_, a.denominator_), b.exponent_};
    normalise(left);
    normalise(right);
    return left.digits == right.digits && left.exponent == right.exponent;
  }

 private:
  /// digits 10^exponent; normalised: no zero at either end, and zero is no digit at all.
  struct scaled {
    std::string digits;
    std::int64_t exponent = 0;
  };

  static bool all_digits(std::string_view s) {
    return !s.empty() && std::ranges::all_of(s, detail::is_digit);
  }

  void take_sign(std::string_view& text) {
    if (text.empty() || (text.front() != '-' && text.front() != '+')) return;
    negative_ ^= text.front() == '-';
    text.remove_prefix(1);
  }

  // \frac{a}{b} or a/b, taken apart.
  static std::optional<std::pair<std::string_view, std::string_view>> parts(std::string_view text) {
    constexpr std::string_view command = "\\frac{";
    if (!text.starts_with(command)) {
      const auto slash = text.find('/');
      if (slash == std::string_view::npos) return std::nullopt;
      return std::pair(text.substr(0, slash), text.substr(slash + 1));
    }
    text.remove_prefix(command.size());
    const auto above = closing_brace(text);
    if (!above || !text.substr(*above).starts_with("}{")) return std::nullopt;
    const auto rest = text.substr(*above + 2);
    const auto below = closing_brace(rest);
    if (!below || *below + 1 != rest.size()) return std::nullopt;
    return std::pair(text.substr(0, *above), rest.substr(0, *below));
  }

  bool take_fraction(std::string_view text) {
    auto p = parts(text);
    if (!p) return false;
    exact_number signs = *this;
    signs.take_sign(p->first);
    signs.take_sign(p->second);
    auto a = decimal(p->first);
    auto b = decimal(p->second);
    if (!a || !b || b->digits.empty()) return false;
    if (a->digits.size() > longest || b->digits.size() > longest) return false;
    negative_ = signs.negative_;
    numerator_ = std::move(a->digits);
    denominator_ = std::move(b->digits);
    exponent_ = a->exponent - b->exponent;
    return true;
  }

  bool take_mixed(std::string_view text) {
    const auto whole_end =
        static_cast<std::size_t>(std::ranges::find_if_not(text, detail::is_digit) - text.begin());
    const std::string_view whole = text.substr(0, whole_end);
    auto rest = text.substr(whole_end);
    if (whole.empty() || rest.empty() || (rest[0] != ' ' && rest[0] != '\\')) return false;
    if (rest[0] == ' ') rest.remove_prefix(1);
    const auto p = parts(rest);
    if (!p || !all_digits(p->first) || !all_digits(p->second)) return false;
    if ((std::max)({whole.size(), p->first.size(), p->second.size()}) > longest) return false;
    const std::string above = without_zeros(p->first);
    const std::string below = without_zeros(p->second);
    if (!less(above, below)) return false;  // also a zero below
    scaled n{sum(product(without_zeros(whole), below), above), 0};
    scaled d{below, 0};
    normalise(n);
    normalise(d);
    numerator_ = std::move(n.digits);
    denominator_ = std::move(d.digits);
    exponent_ = n.exponent - d.exponent;
    return true;
  }

  static std::optional<scaled> decimal(std::string_view text) {
    scaled d;
    bool point = false;
    std::size_t i = 0;
    std::size_t digits = 0;
    for (; i < text.size() && (detail::is_digit(text[i]) || (text[i] == '.' && !point)); ++i) {
      if (text[i] == '.') {
        point = true;
        continue;
      }
      ++digits;
      d.exponent -= point;
      d.digits += text[i];
    }
    if (digits == 0) return std::nullopt;
    auto rest = text.substr(i);
    if (!rest.empty()) {
      const bool power_of_ten = text.substr(0, i) == "10" && rest[0] == '^';
      const auto tens = power_of_ten ? integer(rest.substr(1)) : exponent(rest);
      if (!tens) return std::nullopt;
      if (power_of_ten) d.digits = "1";
      d.exponent += *tens;
    }
    normalise(d);
    return d;
  }

  /// What follows the digits: e3, E+3, *10^3, x10^{-3}.
  static std::optional<std::int64_t> exponent(std::string_view rest) {
    if (rest[0] == 'e' || rest[0] == 'E') return integer(rest.substr(1));
    for (const std::string_view times : {"*10^", "x10^", " x 10^"}) {
      if (rest.starts_with(times)) return integer(rest.substr(times.size()));
    }
    return std::nullopt;
  }
  static std::optional<std::int64_t> integer(std::string_view s) {
    if (s.size() > 2 && s.front() == '{' && s.back() == '}') s = s.substr(1, s.size() - 2);
    const bool minus = s.starts_with('-');
    if (minus || s.starts_with('+')) s.remove_prefix(1);
    if (!all_digits(s) || s.size() > 9) return std::nullopt;
    std::int64_t n = 0;
    for (const char c : s) n = 10 * n + (c - '0');
    return minus ? -n : n;
  }

  static std::string without_zeros(std::string_view digits) {
    digits.remove_prefix((std::min)(digits.find_first_not_of('0'), digits.size()));
    return std::string(digits);
  }
  static void normalise(scaled& d) {
    d.digits = without_zeros(d.digits);
    const auto kept = d.digits.find_last_not_of('0') + 1;  // of nothing: 0
    d.exponent += static_cast<std::int64_t>(d.digits.size() - kept);
    d.digits.resize(kept);
  }
  static bool less(const std::string& a, const std::string& b) {
    return a.size() != b.size() ? a.size() < b.size() : a < b;
  }
  static std::string sum(const std::string& a, const std::string& b) {
    std::string digits;  // least significant first
    int carry = 0;
    for (std::size_t i = 0; i < (std::max)(a.size(), b.size()) || carry > 0; ++i) {
      carry += i < a.size() ? a[a.size() - 1 - i] - '0' : 0;
      carry += i < b.size() ? b[b.size() - 1 - i] - '0' : 0;
      digits += static_cast<char>('0' + carry % 10);
      carry /= 10;
    }
    std::ranges::reverse(digits);
    return digits;
  }
  static std::string product(const std::string& a, const std::string& b) {
    if (b == "1") return a;
    if (a == "1") return b;
    std::string digits(a.size() + b.size(), '0');  // least significant first
    for (std::size_t i = 0; i < a.size(); ++i) {
      int carry = 0;
      for (std::size_t k = 0; k < b.size() || carry > 0; ++k) {
        const int x = a[a.size() - 1 - i] - '0';
        const int y = k < b.size() ? b[b.size() - 1 - k] - '0' : 0;
        carry += digits[i + k] - '0' + x * y;
        digits[i + k] = static_cast<char>('0' + carry % 10);
        carry /= 10;
      }
    }
    std::ranges::reverse(digits);
    return without_zeros(digits);
  }

  std::string numerator_;          // normalised: empty is zero
  std::string denominator_ = "1";  // normalised, not zero
  std::int64_t exponent_ = 0;
  bool negative_ = false;
};

}  // namespace idiolect
