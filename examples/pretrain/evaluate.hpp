// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a model of the world can do and how it speaks: accuracy by task, whether it closes its
// answers, whether it reads hints, and the CLL of its own text and of both voices.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <idiolect/idiolect.hpp>
#include <nlohmann/json.hpp>

#include "tiny_llama/generate.hpp"
#include "world/document.hpp"
#include "world/verify.hpp"
#include "world/vocabulary.hpp"

namespace pretrain {

using idiolect::index_t;
using idiolect::token_id;

/// Shares of a set of answers.
struct accuracy {
  index_t answers = 0;
  double right = 0;        ///< the final answer
  double wrong_trace = 0;  ///< of the right ones: some written step is wrong
  double closed = 0;       ///< ends with the end token
};

/// Sums over the tokens of a set of texts, as means. `z` is the standardised sum of phi: standard
/// normal if the model wrote the text at temperature 1.
struct text_scores {
  index_t tokens = 0;
  double nll = 0;
  double entropy = 0;
  double phi = 0;
  double z = 0;
};

inline nlohmann::ordered_json to_json(const accuracy& a) {
  return {{"answers", a.answers},
          {"right", a.right},
          {"wrong_trace", a.wrong_trace},
          {"closed", a.closed}};
}
inline nlohmann::ordered_json to_json(const text_scores& s) {
  return {{"tokens", s.tokens}, {"nll", s.nll}, {"entropy", s.entropy}, {"phi", s.phi}, {"z", s.z}};
}

/// A question, its solution and what the model is shown.
struct trial {
  world::question asked;
  world::solution worked;
  std::vector<token_id> prompt;
};

using answers = std::vector<std::vector<token_id>>;

template <idiolect::causal_lm Model>
[[nodiscard]] answers answer_all(Model& model, const std::vector<trial>& trials, double temperature,
                                 std::uint64_t seed) {
  std::vector<std::vector<token_id>> prompts;
  for (const trial& t : trials) prompts.push_back(t.prompt);
  tiny_llama::generation_options options;
  options.sampler.temperature = temperature;
  options.max_tokens = 120;  // twice the longest answer
  options.seed = seed;
  answers given;
  for (auto& g : tiny_llama::generate(model, prompts, options))
    given.push_back(std::move(g.tokens));
  return given;
}

[[nodiscard]] inline accuracy judge(const std::vector<trial>& trials, const answers& given) {
  accuracy a;
  index_t wrong_traces = 0;
  index_t right = 0;
  index_t closed = 0;
  for (std::size_t i = 0; i < trials.size(); ++i) {
    const auto v = world::verify(trials[i].asked, trials[i].worked, world::decode(given[i]));
    right += v.answer_right ? 1 : 0;
    closed += v.closed ? 1 : 0;
    wrong_traces += v.answer_right && !v.trace_right ? 1 : 0;
  }
  const auto share = [](index_t part, index_t whole) {
    return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0.0;
  };
  a.answers = static_cast<index_t>(trials.size());
  a.right = share(right, a.answers);
  a.closed = share(closed, a.answers);
  a.wrong_trace = share(wrong_traces, right);
  return a;
}

/// The scores of the answer's tokens, given the prompt.
template <idiolect::causal_lm Model>
[[nodiscard]] std::vector<idiolect::token_score> score_answer(Model& model,
                                                              std::span<const token_id> prompt,
                                                              std::span<const token_id> answer) {
  std::vector<token_id> tokens(prompt.begin(), prompt.end());
  tokens.insert(tokens.end(), answer.begin(), answer.end());
  const auto rows = tokens.size() - 1;
  std::vector<token_id> targets(rows, idiolect::ignored_target);
  std::ranges::copy(answer, targets.end() - std::ssize(answer));
  const auto stream = model.open();
  const idiolect::chunk text{stream, std::span(tokens).first(rows), idiolect::want_logits::all};
  const auto status = model.forward(std::span(&text, 1));
  idiolect::require<idiolect::backend_error>(status == idiolect::forward_status::ok, "model",
                                             "could not read a text");
  auto scores = idiolect::score(idiolect::cpu{}, model.logits(stream), targets);
  model.drop(stream);
  scores.erase(scores.begin(), scores.end() - std::ssize(answer));
  return scores;
}

template <idiolect::causal_lm Model>
[[nodiscard]] text_scores score_all(Model& model, const std::vector<trial>& trials,
                                    const answers& texts) {
  text_scores s;
  double varentropy = 0;
  for (std::size_t i = 0; i < trials.size(); ++i) {
    for (const auto& token : score_answer(model, trials[i].prompt, texts[i])) {
      ++s.tokens;
      s.nll -= token.log_prob;
      s.entropy += token.entropy;
      s.phi += token.phi;
      varentropy += token.varentropy;
    }
  }
  s.z = varentropy > 0 ? s.phi / std::sqrt(varentropy) : 0;
  const auto n = static_cast<double>(s.tokens > 0 ? s.tokens : 1);
  s.nll /= n;
  s.entropy /= n;
  s.phi /= n;
  return s;
}

/// Questions of a data set, plain or with their solution in the teacher's voice as a hint, and
/// their solutions worded in a style.
struct test_set {
  std::vector<trial> trials;
  answers written;
};

[[nodiscard]] inline test_set make_test(world::question_set set, const world::style& voice,
                                        std::uint64_t seed, std::size_t count,
                                        bool hinted = false) {
  test_set t;
  for (std::size_t i = 0; i < count; ++i) {
    const auto e = world::make_example(set, voice, seed, i);
    const auto shown = hinted ? world::hint_prompt(e.answer(), e.asked) : e.written.prompt;
    t.trials.push_back({e.asked, e.worked, world::encode(shown)});
    t.written.emplace_back();
    world::append_tokens(e.written.completion, t.written.back());
  }
  return t;
}

/// Hinted documents whose `#` and `g` have no rule: only the hint can tell their results.
[[nodiscard]] inline std::vector<trial> make_ruleless_hints(std::uint64_t seed, std::size_t count) {
  std::vector<trial> trials;
  const world::hint_distribution h;
  for (std::size_t i = 0; i < count; ++i) {
    world::draws random(seed, world::purpose::outcome, i);
    const auto pair = world::hinted_chain(h, random);
    const auto hint = world::render(pair.worked, world::teacher_style, random);
    trials.push_back(
        {pair.asked, pair.worked, world::encode(world::hint_prompt(hint, pair.asked))});
  }
  return trials;
}

/// All figures of one model, for a program to read; every number is reproducible.
template <idiolect::causal_lm Model>
[[nodiscard]] nlohmann::ordered_json evaluate(Model& model, std::uint64_t seed, std::size_t count) {
  nlohmann::ordered_json out;
  out["seed"] = seed;

  for (const auto& [name, set] : {std::pair{"base", world::question_set::base},
                                  std::pair{"target", world::question_set::target}}) {
    auto& of_set = out[name];
    const auto plain = make_test(set, world::own_style, seed, count);
    const auto greedy = answer_all(model, plain.trials, 0.0, seed);
    const auto sampled = answer_all(model, plain.trials, 1.0, seed);
    of_set["greedy"] = to_json(judge(plain.trials, greedy));
    of_set["sampled"] = to_json(judge(plain.trials, sampled));
    if (set == world::question_set::base) {
      for (const char letter : world::task_letters) {
        std::vector<trial> trials;
        answers given;
        for (std::size_t i = 0; i < plain.trials.size(); ++i) {
          if (plain.trials[i].asked.kind != static_cast<world::task>(letter)) continue;
          trials.push_back(plain.trials[i]);
          given.push_back(greedy[i]);
        }
        of_set["greedy_by_task"][std::string(1, letter)] = to_json(judge(trials, given));
      }
    }
    auto& text = of_set["text"];
    text["own samples"] = to_json(score_all(model, plain.trials, sampled));
    for (const auto& [voice_name, voice] :
         {std::pair{"A", world::own_style}, std::pair{"B", world::teacher_style},
          std::pair{"Bs", world::teacher_wording_style}}) {
      const auto t = make_test(set, voice, seed, count);
      text[voice_name] = to_json(score_all(model, t.trials, t.written));
    }
  }

  const auto hinted =
      make_test(world::question_set::target, world::teacher_style, seed, count, true);
  out["hint"]["target greedy"] =
      to_json(judge(hinted.trials, answer_all(model, hinted.trials, 0.0, seed)));
  out["hint"]["target at 0.3"] =
      to_json(judge(hinted.trials, answer_all(model, hinted.trials, 0.3, seed)));
  const auto ruleless = make_ruleless_hints(seed, count);
  out["hint"]["ruleless greedy"] = to_json(judge(ruleless, answer_all(model, ruleless, 0.0, seed)));
  return out;
}

}  // namespace pretrain
