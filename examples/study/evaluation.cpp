// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "study/evaluation.hpp"

#include <cmath>
#include <string>
#include <utility>

#include "study/datasets.hpp"
#include "world/verify.hpp"

namespace study {

namespace {

json answers_of(const lab& l, language_model& model, world::question_set set) {
  const auto test = l.test(set, world::own_style);
  const auto given = pretrain::answer_all(model, test.trials, 0.0, seed_for(l.seed, use::testing));
  std::string right;
  std::string flawless;
  std::string closed;
  std::string kinds;
  for (std::size_t i = 0; i < given.size(); ++i) {
    const auto& t = test.trials[i];
    const auto v = world::verify(t.asked, t.worked, world::decode(given[i]));
    right += v.answer_right ? '1' : '0';
    flawless += v.flawless() ? '1' : '0';
    closed += v.closed ? '1' : '0';
    kinds += static_cast<char>(t.asked.kind);
  }
  json j{{"right", std::move(right)},
         {"flawless", std::move(flawless)},
         {"closed", std::move(closed)}};
  if (set == world::question_set::base) j["task"] = std::move(kinds);
  return j;
}

void add_likelihood(json& nll, const lab& l, const weights& w, const char* name,
                    world::question_set set, const world::style& voice) {
  const auto test = l.test(set, voice);
  std::vector<text> texts;
  for (std::size_t i = 0; i < test.trials.size(); ++i)
    texts.push_back(make_text(test.trials[i].prompt, test.written[i]));
  auto& j = nll[name];
  for (const auto& s : score_texts(w, texts)) {
    j["nats"].push_back(std::round(-s.sum_log_prob * 1e6) / 1e6);
    j["tokens"].push_back(s.tokens);
  }
}

}  // namespace

json evaluate(const lab& l, const weights& w) {
  using world::question_set;
  language_model model(w);
  json result;
  result["target"] = answers_of(l, model, question_set::target);
  result["base"] = answers_of(l, model, question_set::base);
  auto& nll = result["nll"];
  add_likelihood(nll, l, w, "B", question_set::target, world::teacher_style);
  add_likelihood(nll, l, w, "Bs", question_set::target, world::teacher_wording_style);
  add_likelihood(nll, l, w, "A", question_set::target, world::own_style);
  add_likelihood(nll, l, w, "base", question_set::base, world::own_style);
  return result;
}

}  // namespace study
