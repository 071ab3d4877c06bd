// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The texts of a run: problems with reference answers, dealt out to what is trained on and what is
// measured on, and prompts about other things.

#include <cstddef>
#include <filesystem>
#include <string>

#include "study/settings.hpp"

namespace real_model {

using study::json;

/// The sizes of a run.
struct sizes {
  std::size_t trained_on = 52;  ///< problems
  std::size_t held_out = 48;    ///< other problems, which everything is measured on
  std::size_t cool = 32;        ///< of them also answered at a low temperature
  std::size_t hinted = 12;      ///< of them answered with a hint
  std::size_t asked = 12;       ///< of them answered greedily by each model
  std::size_t other_prompts = 16;
  std::size_t max_tokens = 80;  ///< of an answer
  std::size_t seconds = 60;     ///< of training, for each loss

  [[nodiscard]] static sizes quick();
  [[nodiscard]] json to_json() const;
};

/// What a run is about, beside its sizes.
struct choices {
  std::string
      gsm8k;  ///< a file with "question" and "answer" on each line; empty: the project's own
  std::string model;      ///< is only noted
  std::size_t steps = 0;  ///< of training, in place of seconds; is only noted
};

/// Writes DIR/settings.json and, as JSON Lines, DIR/data/: train, held_out, cool, hinted, asked,
/// other_prompts, and swapped (each held-out question with another's answer). Raises input_error
/// for texts that cannot be used, or a folder that a run with other settings left.
void deal_problems(const std::filesystem::path& dir, const choices& what, const sizes& how);

}  // namespace real_model
