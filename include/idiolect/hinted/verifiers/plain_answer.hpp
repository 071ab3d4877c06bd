// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// An answer in plain characters: what LaTeX, Markdown, Unicode and habit put around and into it is
// taken away, so that what is left can be compared.
//
//   white space, dots, commas and colons at the end; * ` _ " and one pair of braces around it
//   $ \$ and other currency signs, degree signs; \text{}, \mathrm{}, \boxed{} ... around a part
//   \dfrac, \tfrac, \frac12  ->  \frac{1}{2}       1/2 as one character   ->  \frac{1}{2}
//   any minus  ->  -         \times, \cdot  ->  *   a superscript  ->  ^ and digits
//   thousands  ->  nothing   any other comma, and ", "  ->  ;
//
// A comma separates thousands in 1,200 and 1,234,567.8: outside brackets, one to three digits that
// do not begin with 0, then groups of exactly three. In 1,2 and 3,14 and (1,200) it separates a
// list: a decimal comma is not guessed.

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <idiolect/hinted/verifiers/answer.hpp>
#include <idiolect/hinted/verifiers/characters.hpp>
#include <idiolect/hinted/verifiers/exact_number.hpp>

namespace idiolect {

namespace detail {

struct respelling {
  std::string_view from, to;
};

/// A blank that joins the groups of a number, and is a blank elsewhere.
inline constexpr std::string_view thin_blank = "\x01";

inline constexpr respelling respellings[] = {
    {"\xE2\x88\x92", "-"},  // U+2212 minus
    {"\xE2\x80\x90", "-"},  // hyphens and dashes
    {"\xE2\x80\x91", "-"},
    {"\xE2\x80\x93", "-"},
    {"\xEF\xB9\xA3", "-"},
    {"\xEF\xBC\x8D", "-"},
    {"\xEF\xBC\x8B", "+"},
    {"\xE2\x81\x84", "/"},  // fraction slash, division slash
    {"\xE2\x88\x95", "/"},
    {"\xC3\x97", "*"},  // times, dots
    {"\xC2\xB7", "*"},
    {"\xE2\x8B\x85", "*"},
    {"\xE2\x88\x9E", "\\infty"},
    {"\xE2\x88\xAA", "\\cup"},
    {"\xCF\x80", "\\pi"},
    {"\xC2\xB1", "\\pm"},
    {"\xC2\xB0", ""},              // degree
    {"\xE2\x82\xAC", ""},          // euro
    {"\xC2\xA3", ""},              // pound
    {"\xC2\xA5", ""},              // yen
    {"\xE2\x82\xB9", ""},          // rupee
    {"\xC2\xA0", thin_blank},      // no-break space
    {"\xE2\x80\x89", thin_blank},  // thin space
    {"\xE2\x80\xAF", thin_blank},
    {"\xE2\x80\x8B", ""},  // of no width
    {"\xEF\xBB\xBF", ""},
    {"\xE2\x80\x9C", "\""},
    {"\xE2\x80\x9D", "\""},
    {"\xE3\x80\x82", "."},
    {"\xEF\xBC\x8C", ","},
    {"\xEF\xBC\x88", "("},
    {"\xEF\xBC\x89", ")"},
    {"\xEF\xBC\x85", "%"},
    {"\xC2\xBD", "\\frac{1}{2}"},
    {"\xC2\xBC", "\\frac{1}{4}"},
    {"\xC2\xBE", "\\frac{3}{4}"},
    {"\xE2\x85\x90", "\\frac{1}{7}"},
    {"\xE2\x85\x91", "\\frac{1}{9}"},
    {"\xE2\x85\x92", "\\frac{1}{10}"},
    {"\xE2\x85\x93", "\\frac{1}{3}"},
    {"\xE2\x85\x94", "\\frac{2}{3}"},
    {"\xE2\x85\x95", "\\frac{1}{5}"},
    {"\xE2\x85\x96", "\\frac{2}{5}"},
    {"\xE2\x85\x97", "\\frac{3}{5}"},
    {"\xE2\x85\x98", "\\frac{4}{5}"},
    {"\xE2\x85\x99", "\\frac{1}{6}"},
    {"\xE2\x85\x9A", "\\frac{5}{6}"},
    {"\xE2\x85\x9B", "\\frac{1}{8}"},
    {"\xE2\x85\x9C", "\\frac{3}{8}"},
    {"\xE2\x85\x9D", "\\frac{5}{8}"},
    {"\xE2\x85\x9E", "\\frac{7}{8}"},
    {"^{\\circ}", ""},
    {"^\\circ", ""},
    {"\\$", ""},
    {"\\%", "%"},
    {"\\,", thin_blank},
    {"\\!", ""},
    {"\\;", " "},
    {"\\:", " "},
    {"\\ ", " "},
    {"\\\\", " "},
    {"\\(", ""},
    {"\\)", ""},
    {"\\[", ""},
    {"\\]", ""},
    {"\\#", "#"},
    {"\\&", "&"},
    {"\\_", "_"},
    {"~~", "~~"},  // struck out
    {"~", " "},
    {"$", ""},
};

/// Superscript digits and their minus, in order: 0 to 9, -.
inline constexpr std::string_view superscripts[] = {
    "\xE2\x81\xB0", "\xC2\xB9",     "\xC2\xB2",     "\xC2\xB3",     "\xE2\x81\xB4", "\xE2\x81\xB5",
    "\xE2\x81\xB6", "\xE2\x81\xB7", "\xE2\x81\xB8", "\xE2\x81\xB9", "\xE2\x81\xBB"};

/// LaTeX and Unicode as ASCII. Calls itself for the arguments of a command.
class respelled_answer {
 public:
  explicit respelled_answer(std::string_view text, int depth = 0) : text_(text), depth_(depth) {
    while (at_ < text_.size()) step();
  }
  [[nodiscard]] std::string take() && { return std::move(out_); }

 private:
  static constexpr int deepest = 16;

  [[nodiscard]] std::string_view rest() const { return text_.substr(at_); }

  void step() {
    const char c = text_[at_];
    if (c == '\\' && at_ + 1 < text_.size() && is_letter(text_[at_ + 1])) return command();
    if (rest().starts_with("{,}") || rest().starts_with(",\\!")) {  // thousands, and meant so
      at_ += 3;
      if (!joins_group()) out_ += ',';
      return;
    }
    if (static_cast<unsigned char>(c) >= 0x80 || c == '\\' || c == '$' || c == '~' || c == '^') {
      if (superscript() || wide_digit()) return;
      for (const respelling& r : respellings) {
        if (!rest().starts_with(r.from)) continue;
        at_ += r.from.size();
        if (r.to == thin_blank) {
          if (!joins_group()) out_ += ' ';
        } else {
          out_ += r.to;
        }
        return;
      }
      if (c == '^' && rest().size() > 3 && text_[at_ + 1] == '{' && text_[at_ + 3] == '}') {
        out_ += {'^', text_[at_ + 2]};  // ^{2} is ^2
        at_ += 4;
        return;
      }
      if (c == '\\' && at_ + 1 < text_.size()) {  // \{, and what else there may be
        out_ += text_.substr(at_, 2);
        at_ += 2;
        return;
      }
    }
    out_ += c;
    ++at_;
  }

  /// Between a digit and three digits.
  [[nodiscard]] bool joins_group() const {
    const auto next = rest();
    return !out_.empty() && is_digit(out_.back()) && next.size() >= 3 &&
           std::ranges::all_of(next.substr(0, 3), is_digit) &&
           (next.size() == 3 || !is_digit(next[3]));
  }

  bool superscript() {
    std::string raised;
    for (bool more = true; more;) {
      more = false;
      for (std::size_t k = 0; k < std::size(superscripts); ++k) {
        if (!rest().starts_with(superscripts[k])) continue;
        raised += "0123456789-"[k];
        at_ += superscripts[k].size();
        more = true;
      }
    }
    if (raised.empty()) return false;
    out_ += raised.size() == 1 ? "^" + raised : "^{" + raised + "}";
    return true;
  }

  /// U+FF10 to U+FF19.
  bool wide_digit() {
    if (!rest().starts_with("\xEF\xBC") || rest().size() < 3) return false;
    const int digit = static_cast<unsigned char>(text_[at_ + 2]) - 0x90;
    if (digit < 0 || digit > 9) return false;
    out_ += static_cast<char>('0' + digit);
    at_ += 3;
    return true;
  }

  /// An argument of a command: a group, or one character. What is too deep stays as it is.
  std::string argument() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
    if (at_ == text_.size()) return {};
    if (text_[at_] != '{') return std::string(1, text_[at_++]);
    const auto length = closing_brace(rest().substr(1));
    if (!length) return std::string(1, text_[at_++]);
    const auto inside = rest().substr(1, *length);
    at_ += *length + 2;
    if (depth_ >= deepest) return std::string(inside);
    return respelled_answer(inside, depth_ + 1).take();
  }

  void command() {
    const auto begin = at_++;
    while (at_ < text_.size() && is_letter(text_[at_])) ++at_;
    const auto name = text_.substr(begin + 1, at_ - begin - 1);
    const auto is = [&](auto... names) { return ((name == names) || ...); };
    const auto next = rest().find_first_not_of(' ');
    const bool grouped = next != std::string_view::npos && rest()[next] == '{';
    if (is("frac", "dfrac", "tfrac", "cfrac")) {
      out_ += "\\frac{" + argument() + "}{";
      out_ += argument() + "}";
    } else if (is("sqrt") && !rest().starts_with('[')) {
      out_ += "\\sqrt{" + argument() + "}";
    } else if (grouped && is("text", "textbf", "textit", "textrm", "texttt", "mbox", "emph")) {
      out_ += " " + argument() + " ";
    } else if (grouped && is("mathrm", "mathbf", "mathit", "mathsf", "boldsymbol", "bm", "boxed",
                             "fbox", "operatorname")) {
      out_ += argument();
    } else if (is("times", "cdot")) {
      out_ += '*';
    } else if (is("quad", "qquad")) {
      out_ += ' ';
    } else if (is("lbrace")) {
      out_ += "\\{";
    } else if (is("rbrace")) {
      out_ += "\\}";
    } else if (!is("left", "right", "big", "Big", "bigl", "bigr", "Bigl", "Bigr", "displaystyle",
                   "textstyle", "degree")) {
      out_ += text_.substr(begin, at_ - begin);
    }
  }

  std::string_view text_;
  std::size_t at_ = 0;
  int depth_;
  std::string out_;
};

/// Without what stands around an answer.
[[nodiscard]] inline std::string_view unframed(std::string_view text) {
  int groups = 4;  // each is looked through for its end
  for (std::size_t before = text.size() + 1; text.size() != before;) {
    before = text.size();
    text = trimmed(text);
    const auto around = [&](std::string_view any) {
      return text.size() > 1 && text.front() == text.back() &&
             any.find(text.front()) != std::string_view::npos;
    };
    while (!text.empty() &&
           std::string_view(".,;:*`").find(text.back()) != std::string_view::npos) {
      text = trimmed(text.substr(0, text.size() - 1));
    }
    while (!text.empty() &&
           std::string_view("=:,;*`").find(text.front()) != std::string_view::npos) {
      text = trimmed(text.substr(1));
    }
    if (around("\"_")) text = text.substr(1, text.size() - 2);
    if (text.starts_with('{') && text.ends_with('}') && groups-- > 0 &&
        text.find_first_of(",;") == std::string_view::npos &&
        closing_brace(text.substr(1)) == text.size() - 2) {
      text = text.substr(1, text.size() - 2);
    }
  }
  return text;
}

/// Digits in groups of three behind one to three that do not begin with 0.
[[nodiscard]] inline bool is_grouped(std::string_view run) {
  const auto first = run.find(',');
  if (first == std::string_view::npos || first == 0 || first > 3 || run[0] == '0') return false;
  for (auto at = first; at < run.size(); at += 4) {
    const auto group = run.substr(at + 1, 3);
    if (run[at] != ',' || group.size() != 3 || !std::ranges::all_of(group, is_digit)) return false;
  }
  return true;
}

/// Blanks only between words, thousands without commas, other commas as semicolons.
[[nodiscard]] inline std::string tightened(std::string_view text) {
  constexpr std::string_view blanks = " \t\r\n\f\v";
  constexpr std::string_view operators = "+-*/=^()[]{};,:%<>|&\\_";
  const auto joins = [&](char c) { return operators.find(c) != std::string_view::npos; };
  std::string out;
  int depth = 0;  // of brackets that hold a list
  std::vector<bool> braces;
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i];
    const char last = i > 0 ? text[i - 1] : ' ';
    if (blanks.find(c) != std::string_view::npos) {
      i = (std::min)(text.find_first_not_of(blanks, i), text.size());
      if (!out.empty() && i < text.size() && !joins(out.back()) && !joins(text[i])) out += ' ';
      continue;
    }
    if (is_digit(c) && !is_digit(last)) {
      auto end = (std::min)(text.find_first_not_of("0123456789,", i), text.size());
      while (text[end - 1] == ',') --end;
      const bool thousands = depth <= 0 && last != '.' && is_grouped(text.substr(i, end - i));
      for (; i < end; ++i) {
        if (text[i] != ',') {
          out += text[i];
        } else if (!thousands) {
          out += ';';
        }
      }
      continue;
    }
    if (c == '(' || c == '[') ++depth;
    if (c == ')' || c == ']') --depth;
    if (c == '{') {  // of a set, or of a command's argument
      braces.push_back(!is_letter(last) && last != '}' && last != '^' && last != '_');
      depth += braces.back();
    }
    if (c == '}' && !braces.empty()) {
      depth -= braces.back();
      braces.pop_back();
    }
    out += c == ',' ? ';' : c;
    ++i;
  }
  return out;
}

/// "5 or 6", "5, 6 and 7" as "5;6;7": numbers only, for words are text. Else nothing.
[[nodiscard]] inline std::string worded_list(std::string_view text) {
  std::string list;
  bool any = false;
  while (!text.empty()) {
    const auto skip = text.starts_with(" or ") ? 4 : text.starts_with(" and ") ? 5 : 0;
    any |= skip > 0;
    list += skip > 0 ? std::string(", ") : std::string(1, text[0]);
    text.remove_prefix(static_cast<std::size_t>((std::max)(skip, 1)));
  }
  if (!any) return {};
  std::string kept;
  const std::string plain = tightened(list);
  for (std::size_t at = 0; at <= plain.size();) {
    const auto end = (std::min)(plain.find(';', at), plain.size());
    const auto part = std::string_view(plain).substr(at, end - at);
    at = end + 1;
    if (part.empty()) continue;  // "5, and 6"
    if (!exact_number::parse(part)) return {};
    kept += (kept.empty() ? "" : ";") + std::string(part);
  }
  return kept;
}

}  // namespace detail

/// An answer without what does not count, as above; "%" stays. O(n).
[[nodiscard]] inline std::string simplified_answer(std::string_view answer) {
  const std::string text = detail::respelled_answer(answer).take();
  const auto bare = detail::unframed(text);
  std::string list = detail::worded_list(bare);
  return list.empty() ? detail::tightened(bare) : list;
}

}  // namespace idiolect
