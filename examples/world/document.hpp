// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Questions and worded answers put together as documents, the things a model is trained on:
//
//   base      <question>\n<answer>$
//   hinted    H<hint>\n<question>\n<answer>$      the hint is a solution in the teacher's voice
//
// A hinted document begins with `H` and a base document with its task's letter, so the first
// character tells which one it is, and the first line break where the question (or hint) ends.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "world/question.hpp"
#include "world/solution.hpp"
#include "world/style.hpp"
#include "world/vocabulary.hpp"

namespace world {

/// A text in its two parts: what is given and what is to be learned or written.
struct document {
  std::string prompt;      ///< ends with a line break
  std::string completion;  ///< ends with the end character

  [[nodiscard]] std::string text() const { return prompt + completion; }
};

[[nodiscard]] inline std::string prompt(const question& q) {
  return to_text(q) + "\n";
}

/// The question with an answer to lean on, as a teacher stream reads it. `hint` is a worded
/// solution (or a bare answer) without the end character, as `render` gives it.
[[nodiscard]] inline std::string hint_prompt(std::string_view hint, const question& q) {
  return "H" + std::string(hint) + "\n" + prompt(q);
}

/// A record of a data set: one question, its solution, and the solution worded in one style.
struct example {
  question asked;
  solution worked;
  document written;

  /// The answer without its end character: what serves as a hint.
  [[nodiscard]] std::string answer() const {
    return written.completion.substr(0, written.completion.size() - 1);
  }
};

/// Which questions a data set asks.
enum class question_set { base, target };

/// Record number `record` of a data set: the same question in every style.
[[nodiscard]] inline example make_example(question_set set, const style& voice, std::uint64_t seed,
                                          std::uint64_t record,
                                          const base_distribution& base = {}) {
  const bool target = set == question_set::target;
  draws asking(seed, target ? purpose::target_question : purpose::base_question, record);
  draws outcome(seed, purpose::outcome, record);
  draws wording(seed, purpose::surface, record);
  example e;
  e.asked = target ? target_question(asking) : base_question(base, asking);
  e.worked = solve(e.asked, outcome);
  e.written = {prompt(e.asked), render(e.worked, voice, wording) + end_character};
  return e;
}

/// What a hinted document is made of.
struct hint_distribution {
  std::vector<double> tasks{0.76, 0.10, 0.07, 0.07};  ///< shares of c, r, m, p
  std::vector<double> operations{0.40, 0.40, 0.20};   ///< `+`, `#`, `g` in a hinted chain
  int longest_chain = 6;
  double bare_answer = 0.1;  ///< share of hints that are an answer alone; rules hold there
  std::vector<double> answer_voices{0.0, 0.5, 0.9};  ///< how much of B the answer speaks
};

struct worked_question {
  question asked;
  solution worked;
};

/// A chain over all three operations. `#` has no more of a rule here than `g`: its results are
/// drawn, so that only the hint can tell them, and nothing of the true table is given away.
[[nodiscard]] inline worked_question hinted_chain(const hint_distribution& h, draws& random) {
  question q{task::chain, {random.between(0, modulus - 1)}, ""};
  const int length = random.between(1, h.longest_chain);
  for (int i = 0; i < length; ++i) {
    q.operations += std::string_view("+#g")[random.pick(h.operations)];
    q.operands.push_back(random.between(0, modulus - 1));
  }
  auto worked = solve_with(q, [&random](char operation, int a, int b) {
    return operation == '+' ? *apply('+', a, b) : random.between(0, modulus - 1);
  });
  return {std::move(q), std::move(worked)};
}

/// A hinted document: hint in voice B, answer in a voice of its own, the same results in both.
[[nodiscard]] inline document hinted_document(const hint_distribution& h,
                                              const base_distribution& base, draws& random) {
  const bool bare = random.chance(h.bare_answer);
  const auto kind = static_cast<task>(task_letters[random.pick(h.tasks)]);
  worked_question pair;
  if (kind == task::chain && !bare) {
    pair = hinted_chain(h, random);
  } else {
    pair.asked = base_question(kind, base, random);
    pair.worked = solve(pair.asked, random);
  }
  const std::string hint = bare ? pair.worked.answer : render(pair.worked, teacher_style, random);
  const std::vector<double> even(h.answer_voices.size(), 1.0);
  const style voice = mixed_style(h.answer_voices[random.pick(even)]);
  return {hint_prompt(hint, pair.asked), render(pair.worked, voice, random) + end_character};
}

/// What pre-training shows at one time.
struct curriculum {
  base_distribution base;
  hint_distribution hints;
  double hinted_share = 1.0 / 3.0;
};

/// Document `slot` of pre-training step `step`: a pure function of the seed and these two.
[[nodiscard]] inline document pretraining_document(const curriculum& now, std::uint64_t seed,
                                                   std::uint64_t step, std::uint64_t slot) {
  draws random(seed, purpose::pretraining, (step << 16) ^ slot);
  if (random.chance(now.hinted_share)) return hinted_document(now.hints, now.base, random);
  const question q = base_question(now.base, random);
  const solution s = solve(q, random);
  return {prompt(q), render(s, own_style, random) + end_character};
}

}  // namespace world
