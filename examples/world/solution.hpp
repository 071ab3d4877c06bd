// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Worked solutions: a list of steps (what is done, what comes out) and the answer; and their
// wording in a style. `ok 2+6=1;1#3=5>5$` and `we 1 & 5 thus>5$` are the same solution.
//
//   task      operation of a step            result          answer
//   chain     value, operation, operand      value mod 7     the last value
//   reverse   the digits still to take       the last one    all results
//   maximum   largest so far ^ operand       the larger      the last result
//   picks     none, so never echoed          one of them     the last result

#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "world/question.hpp"
#include "world/style.hpp"

namespace world {

struct step {
  std::string operation;
  std::string result;

  bool operator==(const step&) const = default;
};

struct solution {
  std::vector<step> steps;
  std::string answer;

  bool operator==(const solution&) const = default;
};

namespace detail {

inline std::string digit_text(int d) {
  return std::string(1, static_cast<char>('0' + d));
}

inline std::string digits_text(const std::vector<int>& digits, std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text += digit_text(digits[i]);
  return text;
}

}  // namespace detail

/// Works a chain or maximum out with `result(operation, a, b)` as the meaning of its operations.
template <class Result>
[[nodiscard]] solution solve_with(const question& q, Result&& result) {
  solution s;
  int value = q.operands.front();
  for (std::size_t i = 0; i < q.operations.size(); ++i) {
    const int operand = q.operands[i + 1];
    const int next = std::invoke(result, q.operations[i], value, operand);
    s.steps.push_back({detail::digit_text(value) + q.operations[i] + detail::digit_text(operand),
                       detail::digit_text(next)});
    value = next;
  }
  s.answer = detail::digit_text(value);
  return s;
}

/// The solution of `q`. Only the result of `g` and the picks are drawn from `random`.
[[nodiscard]] inline solution solve(const question& q, draws& random) {
  solution s;
  switch (q.kind) {
    case task::chain:
    case task::maximum:
      return solve_with(q, [&random](char operation, int a, int b) {
        const auto known = apply(operation, a, b);
        return known ? *known : random.between(0, modulus - 1);
      });
    case task::reverse:
      for (std::size_t left = q.operands.size(); left > 0; --left) {
        s.steps.push_back(
            {detail::digits_text(q.operands, left), detail::digit_text(q.operands[left - 1])});
        s.answer += s.steps.back().result;
      }
      return s;
    case task::picks:
      for (int i = 0; i < picks_asked; ++i) {
        const int at = random.between(0, static_cast<int>(q.operands.size()) - 1);
        s.steps.push_back({"", detail::digit_text(q.operands[static_cast<std::size_t>(at)])});
      }
      s.answer = s.steps.back().result;
      return s;
  }
  throw std::logic_error("world: unknown task");
}

/// The solution in words, up to the answer and without the end character.
[[nodiscard]] inline std::string render(const solution& s, const style& voice, draws& random) {
  std::string text(choose(openers, voice.opener, random));
  for (std::size_t i = 0; i < s.steps.size(); ++i) {
    if (i > 0) text += choose(separators, voice.separator, random);
    if (!s.steps[i].operation.empty() && !random.chance(probability(bare_step, voice.echo)))
      text += s.steps[i].operation + "=";
    text += s.steps[i].result;
  }
  text += choose(closings, voice.closing, random);
  return text + ">" + s.answer;
}

}  // namespace world
