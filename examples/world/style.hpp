// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// How a solution is worded: an opener, a separator between steps, a closing word, and whether a
// step echoes the operation it does. Two voices use the same words at different rates, and a style
// says for each kind of choice how often it speaks in the second voice.

#include <array>
#include <span>
#include <string_view>
#include <vector>

#include "world/random.hpp"

namespace world {

/// One wording and how often each voice chooses it.
struct wording {
  std::string_view text;
  double own;      ///< probability in voice A, the model's own
  double teacher;  ///< probability in voice B, the teacher's
};

inline constexpr std::array<wording, 3> openers{{
    {"ok ", 0.91, 0.02},
    {"so ", 0.07, 0.07},
    {"we ", 0.02, 0.91},
}};
inline constexpr std::array<wording, 3> separators{{
    {";", 0.92, 0.02},
    {", ", 0.07, 0.07},
    {" & ", 0.01, 0.91},
}};
inline constexpr std::array<wording, 3> closings{{
    {"", 0.91, 0.02},
    {" then", 0.07, 0.07},
    {" thus", 0.02, 0.91},
}};
/// The step without its operation (`5`), and with it (`1#3=5`).
inline constexpr wording bare_step{"", 0.01, 0.85};

/// The probability that a choice of each kind is made in the teacher's voice.
struct style {
  double opener = 0;
  double separator = 0;
  double closing = 0;
  double echo = 0;
};

inline constexpr style own_style{0, 0, 0, 0};              ///< A
inline constexpr style teacher_style{1, 1, 1, 1};          ///< B
inline constexpr style teacher_wording_style{1, 1, 1, 0};  ///< Bs: B's words, A's echoes

/// Every choice in the teacher's voice with probability `teacher`, on its own.
[[nodiscard]] constexpr style mixed_style(double teacher) {
  return {teacher, teacher, teacher, teacher};
}

/// The probability of a wording when the teacher's voice is used with probability `teacher`.
[[nodiscard]] constexpr double probability(const wording& w, double teacher) {
  return (1 - teacher) * w.own + teacher * w.teacher;
}

/// Draws one of `wordings`.
[[nodiscard]] inline std::string_view choose(std::span<const wording> wordings, double teacher,
                                             draws& random) {
  std::vector<double> weights;
  weights.reserve(wordings.size());
  for (const wording& w : wordings) weights.push_back(probability(w, teacher));
  return wordings[random.pick(weights)].text;
}

}  // namespace world
