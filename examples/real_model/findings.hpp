// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a run says of the method's claims, in words made of its numbers: a claim holds, does not
// hold, or is left open where the interval says neither.

#include <string>
#include <vector>

#include <idiolect/cll/comparison.hpp>

#include "real_model/results.hpp"

namespace real_model {

enum class verdict { holds, fails, open };

[[nodiscard]] constexpr const char* name(verdict v) {
  return v == verdict::holds ? "holds" : v == verdict::fails ? "DOES NOT HOLD" : "open";
}

struct finding {
  std::string claim;
  verdict result = verdict::open;
  std::string words;
};

/// Only of the stages that are there.
[[nodiscard]] std::vector<finding> find_out(const results& r);

/// How well a score of each text tells the model's own samples (temperature 1) from other texts.
[[nodiscard]] idiolect::corpus_comparison own_against(const corpus& own, const corpus& other);

/// "+0.012 [-0.050, +0.074]".
[[nodiscard]] std::string with_interval(const measured& m, int decimals, bool plus = true);

/// The kinds of text as people call them; "" for another key.
[[nodiscard]] std::string title_of(const std::string& key);

}  // namespace real_model
