// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The same number as the reference. Numbers are compared exactly, as fractions of decimals of any
// length: 1/2 = 0.50 = \frac{3}{6}, and 0.333 is not 1/3.
//
// What counts as the answer of a text, whichever begins last:
//   #### 72         the rest of the line
//   \boxed{72}      up to the brace that closes it; the last one that is closed
//   A: 72           the rest of a line that begins so
// A reference without any of these is an answer as a whole; a text without any has no answer.
//
// What does not count in an answer: white space around it, commas (thousands: "3,14" is 314), `$`
// and `%` (50% is 50), dots at the end, LaTeX's \$ \% \, \! and {,}. A number is
// [+-]digits[.digits], a/b of two such, or \frac{a}{b} (also \dfrac, \tfrac), which may have a
// sign; U+2212 is a minus. If either answer is no number, the two are compared as text, after the
// same simplification. Words beside a number ("18 dollars") make it text.
//
// This reproduces all labels of GSM8K's example_model_solutions.jsonl.

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <idiolect/hinted/verifiers/answer.hpp>

namespace idiolect {

/// A rational number with decimal digits of any length.
class exact_number {
 public:
  /// Longer spellings are no numbers: comparing takes the product of two lengths.
  static constexpr std::size_t longest = 1000;

  /// Nothing if `text`, as `simplified_answer` gives it, is no number.
  [[nodiscard]] static std::optional<exact_number> parse(std::string_view text) {
    if (text.size() > longest) return std::nullopt;
    exact_number n;
    n.take_sign(text);
    auto parts = fraction(text);
    if (parts) {  // each part may have a sign of its own
      n.take_sign(parts->first);
      n.take_sign(parts->second);
    } else {
      parts.emplace(text, "1");
    }
    const auto a = decimal(parts->first);
    const auto b = decimal(parts->second);
    if (!a || !b || b->digits.empty()) return std::nullopt;
    n.numerator_ = shifted(a->digits, b->places);
    n.denominator_ = shifted(b->digits, a->places);
    return n;
  }

  [[nodiscard]] friend bool operator==(const exact_number& a, const exact_number& b) {
    const bool zero = a.numerator_.empty();
    if (zero || b.numerator_.empty()) return zero && b.numerator_.empty();
    return a.negative_ == b.negative_ &&
           product(a.numerator_, b.denominator_) == product(b.numerator_, a.denominator_);
  }

 private:
  struct decimal_digits {
    std::string digits;      // without leading zeros: empty is zero
    std::size_t places = 0;  // of them behind the point
  };

  void take_sign(std::string_view& text) {
    if (text.empty() || (text.front() != '-' && text.front() != '+')) return;
    negative_ ^= text.front() == '-';
    text.remove_prefix(1);
  }

  static std::optional<std::pair<std::string_view, std::string_view>> fraction(
      std::string_view text) {
    if (const auto slash = text.find('/'); slash != std::string_view::npos) {
      return std::pair(trimmed(text.substr(0, slash)), trimmed(text.substr(slash + 1)));
    }
    for (const std::string_view command : {"\\frac{", "\\dfrac{", "\\tfrac{"}) {
      if (!text.starts_with(command)) continue;
      text.remove_prefix(command.size());
      const auto above = closing_brace(text);
      if (!above || !text.substr(*above).starts_with("}{")) return std::nullopt;
      const auto rest = text.substr(*above + 2);
      const auto below = closing_brace(rest);
      if (!below || *below + 1 != rest.size()) return std::nullopt;
      return std::pair(trimmed(text.substr(0, *above)), trimmed(rest.substr(0, *below)));
    }
    return std::nullopt;
  }

  static std::optional<decimal_digits> decimal(std::string_view text) {
    decimal_digits d;
    bool point = false;
    bool any = false;
    for (const char c : text) {
      if (c == '.' && !point) {
        point = true;
        continue;
      }
      if (c < '0' || c > '9') return std::nullopt;
      any = true;
      if (point) ++d.places;
      if (c != '0' || !d.digits.empty()) d.digits += c;
    }
    if (!any) return std::nullopt;
    return d;
  }

  static std::string shifted(std::string digits, std::size_t places) {
    if (!digits.empty()) digits.append(places, '0');
    return digits;
  }

  static std::string product(const std::string& a, const std::string& b) {
    std::string sum(a.size() + b.size(), '\0');  // least significant first
    for (std::size_t i = 0; i < a.size(); ++i) {
      int carry = 0;
      for (std::size_t k = 0; k < b.size() || carry > 0; ++k) {
        const int x = a[a.size() - 1 - i] - '0';
        const int y = k < b.size() ? b[b.size() - 1 - k] - '0' : 0;
        carry += sum[i + k] + x * y;
        sum[i + k] = static_cast<char>(carry % 10);
        carry /= 10;
      }
    }
    while (!sum.empty() && sum.back() == '\0') sum.pop_back();
    return sum;
  }

  std::string numerator_;    // without leading zeros: empty is zero
  std::string denominator_;  // not zero
  bool negative_ = false;
};

/// An answer without what does not count: see above. O(n).
[[nodiscard]] inline std::string simplified_answer(std::string_view answer) {
  std::string kept;
  for (std::size_t i = 0; i < answer.size(); ++i) {
    const auto rest = answer.substr(i);
    if (rest.starts_with("\xE2\x88\x92")) {
      kept += '-';
      i += 2;
    } else if (rest.starts_with("{,}")) {
      i += 2;
    } else if (rest.starts_with("\\$") || rest.starts_with("\\%") || rest.starts_with("\\,") ||
               rest.starts_with("\\!")) {
      i += 1;
    } else if (rest.front() != ',' && rest.front() != '$' && rest.front() != '%') {
      kept += rest.front();
    }
  }
  std::string_view text = trimmed(kept);
  while (text.ends_with('.')) text = trimmed(text.substr(0, text.size() - 1));
  return std::string(text);
}

/// The answer that a text gives, trimmed: see above. O(n) where braces are closed.
[[nodiscard]] inline std::optional<std::string_view> marked_answer(std::string_view text) {
  std::optional<std::string_view> last;
  const auto take = [&](std::optional<std::string_view> found) {
    if (found && (!last || found->data() > last->data())) last = found;
  };
  take(answer_after(text, "####"));
  take(answer_after(text, "\\boxed{"));
  for (auto end = text.size();;) {  // the last line that begins with "A:"
    const auto before = end > 0 ? text.rfind('\n', end - 1) : std::string_view::npos;
    const auto begin = before == std::string_view::npos ? 0 : before + 1;
    const auto line = text.substr(begin, end - begin);
    if (const auto first = line.find_first_not_of(" \t");
        first != std::string_view::npos && line.substr(first).starts_with("A:")) {
      take(trimmed(line.substr(first + 2)));
      break;
    }
    if (begin == 0) break;
    end = begin - 1;
  }
  return last;
}

/// Whether two answers are the same number, or else the same text. Nothing equals an empty answer.
[[nodiscard]] inline bool same_answer(std::string_view a, std::string_view b) {
  const std::string left = simplified_answer(a);
  const std::string right = simplified_answer(b);
  if (left.empty() || right.empty()) return false;
  const auto x = exact_number::parse(left);
  const auto y = exact_number::parse(right);
  return x && y ? *x == *y : left == right;
}

/// Accepts a text whose answer is the reference's number.
struct numeric_verifier {
  std::string delimiter = {};  ///< look behind this one instead of the three above

  [[nodiscard]] std::optional<std::string_view> answer(std::string_view text) const {
    return delimiter.empty() ? marked_answer(text) : answer_after(text, delimiter);
  }

  template <has_reference R>
  [[nodiscard]] bool operator()(const R& record, std::string_view text) const {
    const std::string_view reference = reference_of(record);
    const auto found = answer(text);
    return found && same_answer(*found, answer(reference).value_or(reference));
  }
};

}  // namespace idiolect
