// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The questions of the world. Four tasks, each a letter and its operands:
//
//   c2+6#3   chain      left to right over the integers mod 7; a#b = 3a + 5b + 1
//   r4915    reverse    the digits, last one first
//   m3^7^2   maximum    running maximum, left to right
//   p25839   picks      five times any of the digits: nothing can predict which
//
// Hint documents know a third chain operation, `g`, which has no rule.

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "world/random.hpp"

namespace world {

enum class task : char { chain = 'c', reverse = 'r', maximum = 'm', picks = 'p' };

inline constexpr std::string_view task_letters = "crmp";
inline constexpr int modulus = 7;
inline constexpr int picks_asked = 5;
inline constexpr char no_rule = 'g';

/// Operands from here on are rare under `#` in the base distribution, so that the base model
/// knows half of the operation's table well and the other half badly.
inline constexpr int first_rare_operand = 4;

/// `operations[i]` stands between `operands[i]` and `operands[i + 1]`; empty for r and p.
struct question {
  task kind = task::chain;
  std::vector<int> operands;
  std::string operations;

  bool operator==(const question&) const = default;
};

/// The result of one operation; nothing for `g`, which has no rule.
[[nodiscard]] constexpr std::optional<int> apply(char operation, int a, int b) {
  switch (operation) {
    case '+':
      return (a + b) % modulus;
    case '#':
      return (3 * a + 5 * b + 1) % modulus;
    case '^':
      return a > b ? a : b;
    default:
      return std::nullopt;
  }
}

/// A `#` that base documents show rarely.
[[nodiscard]] constexpr bool is_rare(char operation, int a, int b) {
  return operation == '#' && (a >= first_rare_operand || b >= first_rare_operand);
}

[[nodiscard]] inline std::string to_text(const question& q) {
  std::string text(1, static_cast<char>(q.kind));
  for (std::size_t i = 0; i < q.operands.size(); ++i) {
    if (i > 0 && !q.operations.empty()) text += q.operations[i - 1];
    text += static_cast<char>('0' + q.operands[i]);
  }
  return text;
}

/// Reads what `to_text` writes; nothing if it is no question of the world.
[[nodiscard]] inline std::optional<question> parse_question(std::string_view text) {
  if (text.empty() || task_letters.find(text.front()) == std::string_view::npos) return {};
  question q;
  q.kind = static_cast<task>(text.front());
  text.remove_prefix(1);
  const bool has_operations = q.kind == task::chain || q.kind == task::maximum;
  const std::string_view allowed = q.kind == task::chain ? "+#g" : "^";
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (has_operations && i % 2 == 1) {
      if (allowed.find(c) == std::string_view::npos) return {};
      q.operations += c;
    } else {
      const int digit = c - '0';
      if (digit < 0 || digit > (q.kind == task::chain ? modulus - 1 : 9)) return {};
      q.operands.push_back(digit);
    }
  }
  if (has_operations && (q.operations.empty() || q.operations.size() + 1 != q.operands.size()))
    return {};
  if (q.operands.empty()) return {};
  return q;
}

/// What base questions look like.
struct base_distribution {
  std::vector<double> tasks{0.52, 0.20, 0.14, 0.14};  ///< shares of c, r, m, p
  int shortest_chain = 1;
  int longest_chain = 6;
  double sharp_share = 0.6;  ///< share of `#` among operations, where the value allows it
  double rare_share = 0.03;  ///< share of `#` whose operands are uniform instead of common ones
};

/// A chain of `length` operations in the base distribution.
[[nodiscard]] inline question base_chain(int length, const base_distribution& base, draws& random) {
  question q{task::chain, {random.between(0, modulus - 1)}, ""};
  int value = q.operands.front();
  while (static_cast<int>(q.operations.size()) < length) {
    const bool uniform = random.chance(base.rare_share);
    const bool sharp = random.chance(base.sharp_share) && (uniform || value < first_rare_operand);
    const int largest = sharp && !uniform ? first_rare_operand - 1 : modulus - 1;
    q.operations += sharp ? '#' : '+';
    q.operands.push_back(random.between(0, largest));
    value = *apply(q.operations.back(), value, q.operands.back());
  }
  return q;
}

/// A chain of `length` operations of which exactly `hard` are `#`, at uniform places, with uniform
/// operands.
[[nodiscard]] inline question chain_with(int length, int hard, draws& random) {
  question q{task::chain, {random.between(0, modulus - 1)}, ""};
  for (int left = length, sharp = hard; left > 0; --left) {
    const bool is_sharp = random.between(1, left) <= sharp;  // selection sampling
    sharp -= is_sharp ? 1 : 0;
    q.operations += is_sharp ? '#' : '+';
    q.operands.push_back(random.between(0, modulus - 1));
  }
  return q;
}

/// `count` digits, each uniform; distinct ones where `distinct` says so.
[[nodiscard]] inline std::vector<int> random_digits(int count, bool distinct, draws& random) {
  std::vector<int> digits;
  while (static_cast<int>(digits.size()) < count) {
    const int digit = random.between(0, 9);
    bool seen = false;
    for (const int d : digits) seen = seen || d == digit;
    if (!(distinct && seen)) digits.push_back(digit);
  }
  return digits;
}

[[nodiscard]] inline question base_question(task kind, const base_distribution& base,
                                            draws& random) {
  switch (kind) {
    case task::chain:
      return base_chain(random.between(base.shortest_chain, base.longest_chain), base, random);
    case task::reverse:
      return {kind, random_digits(random.between(3, 5), false, random), ""};
    case task::maximum: {
      question q{kind, random_digits(random.between(3, 6), false, random), ""};
      q.operations.assign(q.operands.size() - 1, '^');
      return q;
    }
    case task::picks:
      return {kind, random_digits(random.between(4, 9), true, random), ""};
  }
  throw std::logic_error("world: unknown task");
}

[[nodiscard]] inline question base_question(const base_distribution& base, draws& random) {
  const auto kind = static_cast<task>(task_letters[random.pick(base.tasks)]);
  return base_question(kind, base, random);
}

/// The target task: a chain of 4 to 6 operations with exactly two `#`, uniform operands.
[[nodiscard]] inline question target_question(draws& random) {
  return chain_with(random.between(4, 6), 2, random);
}

}  // namespace world
