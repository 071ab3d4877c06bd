// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Reads an answer back and says what is wrong with it. Two separate judgements: is the final answer
// right, and is every step that was written down right? A right answer over a wrong step is what
// a student produces who knows the result beforehand.

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "world/question.hpp"
#include "world/solution.hpp"
#include "world/style.hpp"
#include "world/vocabulary.hpp"

namespace world {

/// The first thing that is wrong, in reading order.
enum class fault {
  none,
  bad_opener,       ///< does not begin with an opener
  bad_step,         ///< a step, separator or closing word that cannot be read
  wrong_operation,  ///< a step echoes something else than what is to be done
  wrong_result,     ///< a step's result is wrong
  missing_step,     ///< closed before all steps were written
  extra_step,       ///< more steps than the question has
  no_answer,        ///< no `>`, or nothing after it
  wrong_answer      ///< the text after `>` is not the answer
};

[[nodiscard]] constexpr std::string_view to_text(fault f) {
  switch (f) {
    case fault::none:
      return "none";
    case fault::bad_opener:
      return "bad opener";
    case fault::bad_step:
      return "unreadable step";
    case fault::wrong_operation:
      return "wrong operation";
    case fault::wrong_result:
      return "wrong result";
    case fault::missing_step:
      return "missing step";
    case fault::extra_step:
      return "extra step";
    case fault::no_answer:
      return "no answer";
    case fault::wrong_answer:
      return "wrong answer";
  }
  return "";
}

struct verdict {
  bool answer_right = false;  ///< the text after `>` answers the question
  bool trace_right = false;   ///< all steps are there, readable and right
  bool closed = false;        ///< the text ends with the end character
  int steps_read = 0;
  int echoes_read = 0;  ///< steps that showed their operation
  fault first_fault = fault::none;
  int fault_step = -1;  ///< the step of the fault, where it is one of a step

  /// Answer and steps are right and the text was closed.
  [[nodiscard]] bool flawless() const { return answer_right && trace_right && closed; }
};

/// The text after the first `>`, without the end character; nothing without a `>`.
[[nodiscard]] inline std::optional<std::string_view> final_answer(std::string_view completion) {
  const auto at = completion.find('>');
  if (at == std::string_view::npos) return {};
  auto answer = completion.substr(at + 1);
  if (answer.ends_with(end_character)) answer.remove_suffix(1);
  return answer;
}

namespace detail {

// The longest wording that `text` starts with, as its length; wordings may be empty.
inline std::optional<std::size_t> match(std::span<const wording> wordings, std::string_view text) {
  std::optional<std::size_t> length;
  for (const wording& w : wordings) {
    if (text.starts_with(w.text) && (!length || w.text.size() > *length)) length = w.text.size();
  }
  return length;
}

struct written_step {
  std::optional<std::string_view> operation;
  std::string_view result;
};

// One step from the front of `text`; nothing if there is none.
inline std::optional<written_step> take_step(std::string_view& text) {
  const auto length = std::min(text.find_first_not_of("0123456789+#^g="), text.size());
  const auto body = text.substr(0, length);
  text.remove_prefix(length);
  const auto equals = body.find('=');
  written_step s;
  if (equals != std::string_view::npos) s.operation = body.substr(0, equals);
  s.result = equals == std::string_view::npos ? body : body.substr(equals + 1);
  if (s.result.size() != 1 || s.result.front() < '0' || s.result.front() > '9') return {};
  if (s.operation && s.operation->empty()) return {};
  return s;
}

inline bool offers(const question& q, char digit) {
  return std::find(q.operands.begin(), q.operands.end(), digit - '0') != q.operands.end();
}

// Whether `answer` could be given to `q` at all; for picks any digit on offer will do.
inline bool answers(const question& q, const solution& truth, std::string_view answer) {
  if (q.kind != task::picks) return answer == truth.answer;
  return answer.size() == 1 && offers(q, answer.front());
}

// Compares step number `at` with what it should be.
inline fault judge(const question& q, const solution& truth, std::size_t at,
                   const written_step& written) {
  if (at >= truth.steps.size()) return fault::extra_step;
  if (written.operation && *written.operation != truth.steps[at].operation)
    return fault::wrong_operation;
  const bool right = q.kind == task::picks ? offers(q, written.result.front())
                                           : written.result == truth.steps[at].result;
  return right ? fault::none : fault::wrong_result;
}

}  // namespace detail

/// Judges `completion`, with or without its end character, as an answer to `q` whose solution is
/// `truth`. For a question without `g`, `verify(q, completion)` knows the solution itself.
[[nodiscard]] inline verdict verify(const question& q, const solution& truth,
                                    std::string_view completion) {
  verdict v;
  const auto blame = [&v](fault f, int at = -1) {
    if (v.first_fault == fault::none) {
      v.first_fault = f;
      v.fault_step = at;
    }
  };
  v.closed = completion.ends_with(end_character);
  if (v.closed) completion.remove_suffix(1);

  std::string_view last;
  auto rest = completion;
  if (const auto opener = detail::match(openers, rest)) {
    rest.remove_prefix(*opener);
    for (bool more = true; more;) {
      const auto written = detail::take_step(rest);
      if (!written) {
        blame(fault::bad_step, v.steps_read);
        break;
      }
      const auto found = detail::judge(q, truth, static_cast<std::size_t>(v.steps_read), *written);
      if (found != fault::none) blame(found, v.steps_read);
      last = written->result;
      ++v.steps_read;
      v.echoes_read += written->operation ? 1 : 0;
      more = false;
      if (const auto separator = detail::match(separators, rest)) {
        rest.remove_prefix(*separator);
        more = true;
      } else {
        rest.remove_prefix(detail::match(closings, rest).value_or(0));
        if (rest.empty()) {
          blame(fault::no_answer);
        } else if (rest.front() != '>') {
          blame(fault::bad_step, v.steps_read);
        } else if (v.steps_read < static_cast<int>(truth.steps.size())) {
          blame(fault::missing_step, v.steps_read);
        }
      }
    }
  } else {
    blame(fault::bad_opener);
  }
  v.trace_right = v.first_fault == fault::none;

  const auto answer = final_answer(completion);
  v.answer_right = answer && detail::answers(q, truth, *answer);
  if (!answer || answer->empty()) {
    blame(fault::no_answer);
  } else if (!v.answer_right) {
    blame(fault::wrong_answer);
  } else if (q.kind == task::picks && v.trace_right && *answer != last) {
    blame(fault::wrong_answer);  // a digit on offer, but not the one that was picked last
    v.answer_right = false;
  }
  return v;
}

/// The same for a question whose operations all have a rule.
[[nodiscard]] inline verdict verify(const question& q, std::string_view completion) {
  draws unused(0, purpose::outcome, 0);  // picks are judged by what is on offer, not by this draw
  return verify(q, solve(q, unused), completion);
}

}  // namespace world
