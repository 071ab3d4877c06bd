// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the stages of one seed share: the base model, the questions, and texts as a trainer wants
// them.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "pretrain/evaluate.hpp"
#include "study/settings.hpp"
#include "study/store.hpp"
#include "tiny_llama/model.hpp"
#include "tiny_llama/tokenizer.hpp"
#include "tiny_llama/weights.hpp"
#include "world/document.hpp"

namespace study {

using weights = tiny_llama::weights<float>;
using language_model = tiny_llama::model<float>;

/// A text to train on: the tokens behind the prompt are trained, the end token too.
struct text {
  std::vector<token_id> tokens;
  index_t prompt = 0;  ///< tokens in front that are given

  [[nodiscard]] index_t trained() const { return static_cast<index_t>(tokens.size()) - prompt; }
};

[[nodiscard]] inline text make_text(std::vector<token_id> prompt,
                                    const std::vector<token_id>& completion) {
  text t{std::move(prompt), 0};
  t.prompt = static_cast<index_t>(t.tokens.size());
  t.tokens.insert(t.tokens.end(), completion.begin(), completion.end());
  return t;
}

/// One seed's base model and whereabouts.
struct lab {
  const settings& how;
  const store& results;
  std::uint64_t seed;
  weights base;
  tiny_llama::tokenizer tokenizer;

  [[nodiscard]] std::string stage(const std::string& name) const { return stage(seed, name); }
  [[nodiscard]] static std::string stage(std::uint64_t seed, const std::string& name) {
    return "seed-" + std::to_string(seed) + "/" + name;
  }

  /// Question number `record` to train on, worded in a style.
  [[nodiscard]] world::example training_example(const world::style& voice,
                                                std::uint64_t record) const {
    return world::make_example(world::question_set::target, voice, seed_for(seed, use::training),
                               record);
  }
  /// Questions to measure with, and their solutions in a style.
  [[nodiscard]] pretrain::test_set test(world::question_set set, const world::style& voice) const {
    return pretrain::make_test(set, voice, seed_for(seed, use::testing), how.questions);
  }
};

/// The base model of a seed: made by the recipe of the default model, and for that recipe's own
/// seed the committed checkpoint itself, where it is found.
[[nodiscard]] json make_base(const settings& how, const store& results, std::uint64_t seed,
                             const std::filesystem::path& default_model);
[[nodiscard]] lab open_lab(const settings& how, const store& results, std::uint64_t seed);

}  // namespace study
