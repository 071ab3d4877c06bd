// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The data sets that models are trained on: the same questions, answered by the teacher, by the
// model alone, or by the model with the teacher's answer as a hint.

#include <string>
#include <string_view>
#include <vector>

#include <idiolect/hinted/recipes.hpp>

#include "study/lab.hpp"

namespace study {

/// Which texts are kept.
enum class acceptance {
  all,
  answer,  ///< the final answer is right
  steps    ///< and every step that was written
};

/// How a data set is made.
struct data_recipe {
  std::string name;   ///< of its stage
  std::string title;  ///< for people
  /// Solutions worded in `voice`; else the model's own, by `rewriting`.
  bool written = false;
  world::style voice = {};
  idiolect::rewrite_recipe rewriting = {};
  double rollout_temperature = 1;
  acceptance accept = acceptance::answer;
  bool quick = false;  ///< part of a quick run
};

[[nodiscard]] const std::vector<data_recipe>& data_recipes();

/// Makes a data set: its texts, its CLL under the base model, yield, wrong steps and cost.
[[nodiscard]] json make_data(const lab& l, const data_recipe& recipe);

struct rewriting_choices {
  acceptance accept = acceptance::answer;
  double rollout_temperature = 1;
};

/// Rewrites the solutions of `records` with any model; every text goes to `sink`. Shared by the
/// data sets and the online loop.
template <class Sink>
idiolect::rewrite_report rewrite_records(const lab& l, language_model& model,
                                         const idiolect::rewrite_recipe& recipe,
                                         const std::vector<std::uint64_t>& records,
                                         std::uint64_t sampling_seed, rewriting_choices choices,
                                         Sink&& sink);

/// The texts of a data set, as `make_data` has stored them.
[[nodiscard]] std::vector<text> read_texts(const json& data);

/// A question's good and bad answer, both the model's own.
struct preference {
  text chosen;
  text rejected;
};

/// Pairs of own samples (4 a question, temperature 1), one right and one wrong.
[[nodiscard]] json make_pairs(const lab& l);
[[nodiscard]] std::vector<preference> read_pairs(const json& data);

/// The scores of the texts' trained tokens under a model.
[[nodiscard]] std::vector<std::vector<idiolect::token_score>> score_tokens(
    const weights& w, const std::vector<text>& texts);
[[nodiscard]] std::vector<idiolect::sequence_score> score_texts(const weights& w,
                                                                const std::vector<text>& texts);

/// Token-weighted mean of phi with its interval over texts.
[[nodiscard]] json cll_of(const std::vector<idiolect::sequence_score>& scores);

// ---

template <class Sink>
idiolect::rewrite_report rewrite_records(const lab& l, language_model& model,
                                         const idiolect::rewrite_recipe& recipe,
                                         const std::vector<std::uint64_t>& records,
                                         std::uint64_t sampling_seed, rewriting_choices choices,
                                         Sink&& sink) {
  idiolect::hinted_options decoding;  // temperature 0.3 after top-p 0.95
  decoding.delimiter = ">";
  decoding.end_tokens = {world::end_token};
  decoding.max_tokens = 120;
  decoding.seed = sampling_seed;
  const idiolect::hinted_policy policy(idiolect::cpu{}, l.tokenizer, recipe.schedule, decoding);
  idiolect::rewrite_options options = recipe.apply();
  options.rollout_sampler.temperature = choices.rollout_temperature;
  options.accept_cut = choices.accept == acceptance::all;
  options.decoder.parallel = 64;
  const bool bare = recipe.hint == idiolect::hint_content::answer;

  std::size_t next = 0;
  return idiolect::rewrite(
      model, policy,
      [&]() -> std::optional<world::example> {
        if (next == records.size()) return std::nullopt;
        return l.training_example(world::teacher_style, records[next++]);
      },
      [&](const world::example& e) {
        idiolect::rewrite_prompt p;
        p.student = world::encode(world::prompt(e.asked));
        p.teacher = world::encode(world::hint_prompt(bare ? e.worked.answer : e.answer(), e.asked));
        return p;
      },
      [&](const world::example& e, std::string_view written) {
        if (choices.accept == acceptance::all) return true;
        const auto v = world::verify(e.asked, e.worked, written);
        return v.answer_right && (v.trace_right || choices.accept == acceptance::answer);
      },
      std::forward<Sink>(sink), options);
}

}  // namespace study
