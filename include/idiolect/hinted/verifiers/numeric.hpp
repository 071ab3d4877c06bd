// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The reference's answer, as a person who grades would say. Numbers are compared exactly, as
// fractions of decimals of any length: 1/2 = 0.50 = \frac{3}{6}, and 0.333 is not 1/3.
//
//   where the answer stands         marked_answer.hpp: behind ####, in \boxed{}, on a line "A:"
//   what does not count in it       plain_answer.hpp: Markdown, LaTeX, signs, thousands
//   what a number is                exact_number.hpp
//   when two answers are the same   same_answer.hpp: numbers, lists, sets, intervals, options
//
// A reference without a marker is an answer as a whole; a text without any has no answer.
// This reproduces all labels of GSM8K's example_model_solutions.jsonl.

#include <optional>
#include <string>
#include <string_view>

#include <idiolect/hinted/verifiers/answer.hpp>
#include <idiolect/hinted/verifiers/exact_number.hpp>
#include <idiolect/hinted/verifiers/marked_answer.hpp>
#include <idiolect/hinted/verifiers/plain_answer.hpp>
#include <idiolect/hinted/verifiers/same_answer.hpp>

namespace idiolect {

/// Accepts a text whose answer is the reference's.
struct numeric_verifier {
  std::string delimiter = {};  ///< look behind this one instead of the markers above
  answer_options answers = {};

  /// The answer that a text gives, trimmed. `letters`: see marked_answer.
  [[nodiscard]] std::optional<std::string_view> answer(std::string_view text,
                                                       bool letters = false) const {
    return delimiter.empty() ? marked_answer(text, letters) : answer_after(text, delimiter);
  }

  template <has_reference R>
  [[nodiscard]] bool operator()(const R& record, std::string_view text) const {
    const std::string_view reference = reference_of(record);
    const std::string_view expected = answer(reference).value_or(reference);
    const auto option = expected.size() <= longest_answer
                            ? detail::option_of(simplified_answer(expected))
                            : std::nullopt;
    const auto found = answer(text, option && option->bare);
    return found && same_answer(*found, expected, answers);
  }
};

}  // namespace idiolect
