// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "study/datasets.hpp"

#include <algorithm>
#include <optional>
#include <span>
#include <utility>

#include "study/statistics.hpp"
#include "tiny_llama/training.hpp"

namespace study {

namespace {

using idiolect::linear_lambda;

/// Hinted tries only, so that data sets differ in their schedule alone.
idiolect::rewrite_recipe hinted(idiolect::any_lambda schedule,
                                idiolect::hint_content hint = idiolect::hint_content::solution) {
  return {.schedule = schedule, .hint = hint, .rollouts = 0, .tries = 3};
}

std::vector<std::uint64_t> all_records(const settings& how) {
  std::vector<std::uint64_t> records(how.records);
  for (std::size_t i = 0; i < records.size(); ++i) records[i] = i;
  return records;
}

json pack(const std::string& prompt, const std::string& completion) {
  return json::array({prompt, completion});
}

text unpack(const json& j) {
  std::vector<token_id> completion;
  world::append_tokens(j[1].get<std::string>(), completion);
  return make_text(world::encode(j[0].get<std::string>()), completion);
}

json written_data(const lab& l, const data_recipe& recipe) {
  json data{{"records", l.how.records}, {"accepted", l.how.records}, {"wrong_steps", 0}};
  for (const auto record : all_records(l.how)) {
    const auto e = l.training_example(recipe.voice, record);
    data["texts"].push_back(pack(e.written.prompt, e.written.completion));
  }
  data["generated_tokens"] = 0;
  data["forwarded_tokens"] = 0;
  return data;
}

json rewritten_data(const lab& l, const data_recipe& recipe) {
  language_model model(l.base);
  json texts = json::array();
  index_t wrong = 0;
  index_t closed = 0;
  const auto report = rewrite_records(
      l, model, recipe.rewriting, all_records(l.how), seed_for(l.seed, use::sampling),
      {recipe.accept, recipe.rollout_temperature}, [&](idiolect::rewritten<world::example>&& r) {
        if (!r.accepted()) return;
        const bool ended = r.stop == idiolect::stop_reason::end_of_sequence;
        closed += ended ? 1 : 0;
        wrong += world::verify(r.record.asked, r.record.worked, r.text).trace_right ? 0 : 1;
        texts.push_back(pack(r.record.written.prompt, r.text + (ended ? "$" : "")));
      });
  return {{"records", report.records},
          {"accepted", report.accepted()},
          {"by_student_alone", report.rollout},
          {"wrong_steps", wrong},
          {"closed", closed},
          {"texts", std::move(texts)},
          {"generated_tokens", report.work.emitted_tokens},
          {"forwarded_tokens", report.work.teacher_tokens + report.work.student_tokens}};
}

}  // namespace

const std::vector<data_recipe>& data_recipes() {
  static const std::vector<data_recipe> recipes{
      {.name = "b",
       .title = "B: the teacher's answers",
       .written = true,
       .voice = world::teacher_style,
       .quick = true},
      {.name = "bs",
       .title = "Bs: the teacher's words, echoes kept",
       .written = true,
       .voice = world::teacher_wording_style,
       .quick = true},
      {.name = "own",
       .title = "own samples, temperature 1, unfiltered",
       .rewriting = idiolect::rejection_sampling(1),
       .accept = acceptance::all,
       .quick = true},
      {.name = "own-cool",
       .title = "own samples, temperature 0.3, unfiltered",
       .rewriting = idiolect::rejection_sampling(1),
       .rollout_temperature = 0.3,
       .accept = acceptance::all,
       .quick = true},
      {.name = "rft",
       .title = "rejection sampling: first right one of 4",
       .rewriting = idiolect::rejection_sampling(4),
       .quick = true},
      {.name = "hinted-0",
       .title = "self-distillation (beta 0)",
       .rewriting = hinted(linear_lambda{0}),
       .quick = true},
      {.name = "hinted-1",
       .title = "hinted decoding, beta 1",
       .rewriting = hinted(linear_lambda{1}),
       .quick = true},
      {.name = "hinted-3",
       .title = "hinted decoding, beta 3",
       .rewriting = hinted(linear_lambda{3})},
      {.name = "hinted-8",
       .title = "hinted decoding, beta 8",
       .rewriting = hinted(linear_lambda{8})},
      {.name = "hinted-piecewise",
       .title = "hinted decoding, piecewise 0.3 to 0.7",
       .rewriting = hinted(idiolect::piecewise_lambda{})},
      {.name = "hinted-sigmoid",
       .title = "hinted decoding, sigmoid 10 at 0.5",
       .rewriting = hinted(idiolect::sigmoid_lambda{})},
      {.name = "hinted-first",
       .title = "the student first, then hinted, beta 1",
       .rewriting = idiolect::hinted_decoding(1)},
      {.name = "cot",
       .title = "CoT completion from the bare answer, beta 1",
       .rewriting = hinted(linear_lambda{1}, idiolect::hint_content::answer)},
  };
  return recipes;
}

json make_data(const lab& l, const data_recipe& recipe) {
  json data = recipe.written ? written_data(l, recipe) : rewritten_data(l, recipe);
  data["cll"] = cll_of(score_texts(l.base, read_texts(data)));
  return data;
}

std::vector<text> read_texts(const json& data) {
  std::vector<text> texts;
  for (const auto& j : data.at("texts")) texts.push_back(unpack(j));
  return texts;
}

json make_pairs(const lab& l) {
  constexpr std::size_t samples = 4;
  std::vector<world::example> asked;
  std::vector<pretrain::trial> trials;
  for (const auto record : all_records(l.how)) {
    asked.push_back(l.training_example(world::own_style, record));
    const auto& e = asked.back();
    for (std::size_t k = 0; k < samples; ++k)
      trials.push_back({e.asked, e.worked, world::encode(e.written.prompt)});
  }
  language_model model(l.base);
  const auto answers = pretrain::answer_all(model, trials, 1.0, seed_for(l.seed, use::sampling));
  json pairs = json::array();
  index_t generated = 0;
  for (std::size_t i = 0; i < asked.size(); ++i) {
    std::optional<std::string> good;
    std::optional<std::string> bad;
    for (std::size_t k = 0; k < samples; ++k) {
      const auto& tokens = answers[i * samples + k];
      generated += static_cast<index_t>(tokens.size());
      std::string written = world::decode(tokens);
      const auto v = world::verify(asked[i].asked, asked[i].worked, written);
      auto& place = v.answer_right && v.closed ? good : bad;
      if (!place) place = std::move(written);
    }
    if (!good || !bad) continue;
    const std::string& prompt = asked[i].written.prompt;
    pairs.push_back(json::array({pack(prompt, *good), pack(prompt, *bad)}));
  }
  return {{"records", asked.size()},
          {"accepted", pairs.size()},
          {"pairs", std::move(pairs)},
          {"generated_tokens", generated}};
}

std::vector<preference> read_pairs(const json& data) {
  std::vector<preference> pairs;
  for (const auto& j : data.at("pairs")) pairs.push_back({unpack(j[0]), unpack(j[1])});
  return pairs;
}

std::vector<std::vector<idiolect::token_score>> score_tokens(const weights& w,
                                                             const std::vector<text>& texts) {
  constexpr std::size_t at_once = 64;
  tiny_llama::training_workspace<float> workspace;
  tiny_llama::batch rows;
  std::vector<std::vector<idiolect::token_score>> result;
  for (std::size_t first = 0; first < texts.size(); first += at_once) {
    rows.clear();
    const auto part = std::span(texts).subspan(first, std::min(at_once, texts.size() - first));
    for (const text& t : part) rows.append(t.tokens, t.prompt);
    tiny_llama::training_forward(w, rows, workspace, idiolect::serial_executor{});
    const auto scores = idiolect::score(idiolect::cpu{}, workspace.logits(), rows.targets);
    for (std::size_t k = 0; k < part.size(); ++k) {
      const auto end = scores.begin() + rows.offsets[k + 1];
      result.emplace_back(end - part[k].trained(), end);
    }
  }
  return result;
}

std::vector<idiolect::sequence_score> score_texts(const weights& w,
                                                  const std::vector<text>& texts) {
  std::vector<idiolect::sequence_score> scores;
  for (const auto& tokens : score_tokens(w, texts))
    scores.push_back(idiolect::score_sequence(tokens));
  return scores;
}

json cll_of(const std::vector<idiolect::sequence_score>& scores) {
  std::vector<double> phi;
  std::vector<double> nll;
  std::vector<double> tokens;
  idiolect::sequence_score all;
  for (const auto& s : scores) {
    phi.push_back(s.sum_phi);
    nll.push_back(-s.sum_log_prob);
    tokens.push_back(static_cast<double>(s.tokens));
    all.merge(s);
  }
  return {{"tokens", all.tokens},
          {"phi", ratio(phi, tokens).to_json()},
          {"nll", ratio(nll, tokens).to_json()},
          {"z", all.z()}};
}

}  // namespace study
