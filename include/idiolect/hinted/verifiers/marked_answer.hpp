// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Where a text says its answer, whichever begins last:
//
//   #### 72          the rest of the line
//   \boxed{72}       up to the brace that closes it; the last one that is closed. Also \fbox{72}
//   A: 72            the rest of a line that begins so, or with "Answer:" or "Final answer:" (in
//                    any case), in bold or not. An "A:" among lines "B:", "C:" lists options
//
// \boxed{5} or \boxed{6} is one answer, of two candidates.

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include <idiolect/hinted/verifiers/answer.hpp>
#include <idiolect/hinted/verifiers/characters.hpp>
#include <idiolect/hinted/verifiers/same_answer.hpp>

namespace idiolect {

namespace detail {

// The last "####" and the rest of its line; of "#### 72 ####" the first.
[[nodiscard]] inline std::optional<std::string_view> answer_behind_hashes(std::string_view text) {
  constexpr std::string_view marker = "####";
  const auto at = text.rfind(marker);
  if (at == std::string_view::npos) return std::nullopt;
  const auto after = at + marker.size();
  const auto answer = trimmed(text.substr(after, text.find('\n', after) - after));
  if (!answer.empty()) return answer;
  const auto line_break = text.rfind('\n', at);
  auto line = text.substr(0, at);
  line.remove_prefix(line_break == std::string_view::npos ? 0 : line_break + 1);
  while (!line.empty() && (line.back() == '#' || line.back() == ' ')) line.remove_suffix(1);
  const auto first = line.rfind(marker);
  if (first == std::string_view::npos) return answer;
  return trimmed(line.substr(first + marker.size()));
}

// A command with a group: \boxed {72}.
struct latex_box {
  std::size_t begin = 0;   // of the command
  std::size_t inside = 0;  // of what is in it
  std::size_t end = 0;     // of the brace that closes it
};

[[nodiscard]] inline std::optional<latex_box> last_box(std::string_view text,
                                                       std::string_view command) {
  auto open = text.size();  // see answer_after
  for (auto at = text.rfind(command); at != std::string_view::npos;
       at = at > 0 ? text.rfind(command, at - 1) : std::string_view::npos) {
    const auto brace = text.find_first_not_of(' ', at + command.size());
    if (brace == std::string_view::npos || brace >= open || text[brace] != '{') continue;
    const auto inside = brace + 1;
    if (const auto length = closing_brace(text.substr(inside, open - inside))) {
      return latex_box{at, inside, inside + *length};
    }
    open = inside;
  }
  return std::nullopt;
}

/// Whether two boxes with this between them are one answer.
[[nodiscard]] inline bool joins_boxes(std::string_view between) {
  if (between.size() > 24) return false;
  std::string letters;
  for (const char c : between) {
    if (is_letter(c)) {
      letters += c;
    } else if (std::string_view(" \t\r\n$\\(){},;").find(c) == std::string_view::npos) {
      return false;
    }
  }
  if (letters.empty()) return between.find_first_of(",;") != std::string_view::npos;
  return letters == "or" || letters == "and" || letters == "textor" || letters == "textand";
}

[[nodiscard]] inline std::optional<std::string_view> boxed_answer(std::string_view text) {
  std::optional<latex_box> last;
  for (const std::string_view command : {"\\boxed", "\\fbox"}) {
    const auto b = last_box(text, command);
    if (b && (!last || b->begin > last->begin)) last = b;
  }
  if (!last) return std::nullopt;
  auto begin = last->begin;
  for (int candidates = 1; candidates < 8; ++candidates) {
    const auto before = last_box(text.substr(0, begin), "\\boxed");
    if (!before || !joins_boxes(text.substr(before->end + 1, begin - before->end - 1))) break;
    begin = before->begin;
  }
  if (begin != last->begin) return text.substr(begin, last->end + 1 - begin);
  return trimmed(text.substr(last->inside, last->end - last->inside));
}

/// What may stand in front of a line's first word.
[[nodiscard]] inline std::string_view without_line_marks(std::string_view line) {
  line.remove_prefix((std::min)(line.find_first_not_of(" \t*_>#"), line.size()));
  return line;
}

/// Whether a line names one of the options B to J: "B: 6", "**C)** 7", "- (D) 8".
[[nodiscard]] inline bool is_option_line(std::string_view line) {
  line.remove_prefix((std::min)(line.find_first_not_of(" \t*_>-("), line.size()));
  if (line.empty() || line[0] < 'B' || line[0] > 'J') return false;
  line.remove_prefix(1);
  line.remove_prefix((std::min)(line.find_first_not_of("*_"), line.size()));
  return line.starts_with(':') || line.starts_with(')') || line.starts_with(". ");
}

/// The last line that is not blank.
[[nodiscard]] inline std::string_view last_line(std::string_view text) {
  text = text.substr(0, text.find_last_not_of(" \t\r\n") + 1);
  return text.substr(text.rfind('\n') + 1);
}

/// What follows "A:" or "Answer:" at the start of a line.
struct line_answer {
  std::string_view answer;
  bool may_be_option = false;
};

[[nodiscard]] inline std::optional<line_answer> answer_of_line(std::string_view line) {
  line = without_line_marks(line);
  for (const std::string_view word : {"final answer", "answer", "A"}) {
    const bool letter = word == "A";
    if (line.size() <= word.size()) continue;
    const auto front = line.substr(0, word.size());
    if (letter ? front != word : !std::ranges::equal(front, word, {}, lower_case)) continue;
    auto rest = line.substr(word.size());
    rest.remove_prefix((std::min)(rest.find_first_not_of("*_"), rest.size()));
    if (!rest.starts_with(':')) continue;
    rest.remove_prefix(1);
    return line_answer{trimmed(rest), letter};
  }
  return std::nullopt;
}

/// `letters`: the answer is an option's letter, so that "A: 5" says what option A is.
[[nodiscard]] inline std::optional<std::string_view> answer_line(std::string_view text,
                                                                 bool letters) {
  std::string_view below;  // the last line that is not blank
  for (auto end = text.size();;) {
    const auto before = end > 0 ? text.rfind('\n', end - 1) : std::string_view::npos;
    const auto begin = before == std::string_view::npos ? 0 : before + 1;
    const auto line = text.substr(begin, end - begin);
    if (const auto found = answer_of_line(line)) {
      const auto a = found->answer;
      const auto names_b = [&](std::string_view b) {  // "A: 5 B: 6"
        const auto place = a.find(b);
        return place != std::string_view::npos && place > 0;
      };
      const bool listed =
          found->may_be_option &&
          (is_option_line(below) || is_option_line(last_line(text.substr(0, begin))) ||
           names_b(" B:") || names_b(" B)") || names_b("(B)"));
      const bool of_option = letters && found->may_be_option && a.size() <= longest_answer &&
                             !option_of(simplified_answer(a));
      if (!listed && !of_option) return a;
    }
    if (!trimmed(line).empty()) below = line;
    if (begin == 0) return std::nullopt;
    end = begin - 1;
  }
}

}  // namespace detail

/// The answer that a text gives, trimmed: see above. `letters`: the reference is the letter of an
/// option, and the text may say what the options are. O(n).
[[nodiscard]] inline std::optional<std::string_view> marked_answer(std::string_view text,
                                                                   bool letters = false) {
  std::optional<std::string_view> last;
  for (const auto& found : {detail::answer_behind_hashes(text), detail::boxed_answer(text),
                            detail::answer_line(text, letters)}) {
    if (found && (!last || found->data() > last->data())) last = found;
  }
  return last;
}

}  // namespace idiolect
