// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "study/detection.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <idiolect/cll/separation.hpp>
#include <idiolect/core/philox.hpp>

#include "study/datasets.hpp"
#include "study/statistics.hpp"

namespace study {

namespace {

struct statistic {
  const char* name;
  double (*of)(const idiolect::sequence_score&);
};
using score = idiolect::sequence_score;
constexpr std::array statistics{
    statistic{"log_prob", [](const score& s) { return s.mean_log_prob(); }},
    statistic{"phi", [](const score& s) { return s.mean_phi(); }},
    statistic{"z", [](const score& s) { return s.z(); }},
    statistic{"sum_log_prob", [](const score& s) { return s.sum_log_prob; }}};
constexpr std::size_t log_prob = 0, phi = 1, z = 2, sum_log_prob = 3;

struct corpora {
  std::vector<score> own;
  std::vector<score> foreign;
};

// Questions of `tasks` in turn ('t' is the target task), answered by the model at temperature 1 and
// by a teacher who speaks B in `share` of the choices.
corpora make_corpora(const lab& l, std::string_view tasks, double share) {
  const std::uint64_t seed = seed_for(l.seed, use::detecting);
  std::vector<pretrain::trial> trials;
  std::vector<text> foreign;
  for (std::uint64_t i = 0; i < l.how.detected; ++i) {
    world::draws asking(seed, world::purpose::base_question, i);
    world::draws outcome(seed, world::purpose::outcome, i);
    world::draws wording(seed, world::purpose::surface, i);
    const char letter = tasks[i % tasks.size()];
    const auto asked = letter == 't'
                           ? world::target_question(asking)
                           : world::base_question(static_cast<world::task>(letter), {}, asking);
    auto worked = world::solve(asked, outcome);
    const auto prompt = world::encode(world::prompt(asked));
    std::vector<token_id> written;
    world::append_tokens(world::render(worked, world::mixed_style(share), wording) + "$", written);
    foreign.push_back(make_text(prompt, written));
    trials.push_back({asked, std::move(worked), prompt});
  }
  language_model model(l.base);
  const auto answers = pretrain::answer_all(model, trials, 1.0, seed);
  std::vector<text> own;
  for (std::size_t i = 0; i < trials.size(); ++i)
    own.push_back(make_text(trials[i].prompt, answers[i]));
  return {score_texts(l.base, own), score_texts(l.base, foreign)};
}

using values = std::array<std::vector<double>, statistics.size()>;

values values_of(const std::vector<score>& corpus) {
  values v;
  for (std::size_t k = 0; k < statistics.size(); ++k) {
    for (const auto& s : corpus) v[k].push_back(statistics[k].of(s));
  }
  return v;
}

std::array<double, statistics.size()> aurocs(const values& own, const values& foreign) {
  std::array<double, statistics.size()> a{};
  for (std::size_t k = 0; k < a.size(); ++k) a[k] = idiolect::auroc(own[k], foreign[k]);
  return a;
}

// The same texts drawn for all statistics.
values resampled(const values& from, const idiolect::philox& random, std::uint64_t first) {
  values v;
  const std::size_t n = from.front().size();
  for (std::size_t i = 0; i < n; ++i) {
    const auto drawn = random.below(n, first + i);
    for (std::size_t k = 0; k < v.size(); ++k) v[k].push_back(from[k][drawn]);
  }
  return v;
}

measured percentile_interval(double value, std::vector<double> replicates) {
  std::ranges::sort(replicates);
  const auto outside = replicates.size() * 25 / 1000;
  return {value, replicates[outside], replicates[replicates.size() - 1 - outside]};
}

json compare_pooled(const lab& l, const corpora& c) {
  const auto own = values_of(c.own);
  const auto foreign = values_of(c.foreign);
  const auto whole = aurocs(own, foreign);
  std::vector<std::array<double, statistics.size()>> replicates;
  for (index_t r = 0; r < l.how.replicates; ++r) {
    const idiolect::philox random{seed_for(l.seed, use::detecting),
                                  (std::uint64_t{1} << 40) + static_cast<std::uint64_t>(r)};
    replicates.push_back(
        aurocs(resampled(own, random, 0), resampled(foreign, random, own.front().size())));
  }
  const auto interval = [&](auto of) {
    std::vector<double> x;
    for (const auto& a : replicates) x.push_back(of(a));
    return percentile_interval(of(whole), std::move(x)).to_json();
  };
  json j;
  for (std::size_t k = 0; k < statistics.size(); ++k)
    j["auroc"][statistics[k].name] = interval([k](const auto& a) { return a[k]; });
  j["phi_over_log_prob"] = interval([](const auto& a) { return a[phi] - a[log_prob]; });
  j["z_over_log_prob"] = interval([](const auto& a) { return a[z] - a[log_prob]; });
  j["z_over_sum"] = interval([](const auto& a) { return a[z] - a[sum_log_prob]; });
  return j;
}

json histogram_of(const std::vector<std::vector<idiolect::token_score>>& texts) {
  idiolect::histogram<40> bins{-8, 2};
  for (const auto& scores : texts) {
    for (const auto& s : scores) bins.add(std::clamp(s.phi, bins.low, bins.high - 1e-9));
  }
  return bins.counts;
}

json paths_of(const std::vector<std::vector<idiolect::token_score>>& texts, std::size_t count) {
  json paths = json::array();
  for (std::size_t i = 0; i < std::min(count, texts.size()); ++i) {
    const auto path = idiolect::cumulative_phi(texts[i]);
    json numbers = json::array();
    for (const double p : path) numbers.push_back(std::round(p * 1e3) / 1e3);
    paths.push_back(std::move(numbers));
  }
  return paths;
}

// Verified, and both voices had their say: the most changes of leader, the shorter text among
// equals.
json led_example(const lab& l) {
  std::vector<std::uint64_t> records(64);
  for (std::size_t i = 0; i < records.size(); ++i) records[i] = i;
  language_model model(l.base);
  idiolect::rewrite_recipe recipe = idiolect::hinted_decoding(3);
  recipe.rollouts = 0;
  json best;
  std::pair<int, std::ptrdiff_t> best_rank{-1, 0};
  rewrite_records(
      l, model, recipe, records, seed_for(l.seed, use::sampling), {},
      [&](idiolect::rewritten<world::example>&& r) {
        if (!r.accepted() || !world::verify(r.record.asked, r.record.worked, r.text).trace_right)
          return;
        int changes = 0;
        for (std::size_t i = 1; i < r.tokens.size(); ++i)
          changes += r.tokens[i].leader() != r.tokens[i - 1].leader() ? 1 : 0;
        const std::pair rank{changes, -std::ssize(r.tokens)};
        if (rank <= best_rank) return;
        best_rank = rank;
        best = {{"beta", 3},
                {"question", world::to_text(r.record.asked)},
                {"hint", r.record.answer()},
                {"tokens", json::array()}};
        for (const auto& t : r.tokens) {
          best["tokens"].push_back({{"text", world::decode({t.token})},
                                    {"lambda", t.lambda},
                                    {"log_prob", t.student.log_prob},
                                    {"entropy", t.student.entropy}});
        }
      });
  return best;
}

}  // namespace

json detect(const lab& l) {
  json result;
  for (const auto& [name, share] :
       {std::pair{"pure B", 1.0}, std::pair{"half B", 0.5}, std::pair{"a quarter B", 0.25}}) {
    result["pooled"][name] = compare_pooled(l, make_corpora(l, world::task_letters, share));
  }
  for (const char* task : {"c", "r", "m", "p", "t"}) {
    const auto c = make_corpora(l, task, 0.25);
    const auto a = aurocs(values_of(c.own), values_of(c.foreign));
    for (std::size_t k = 0; k < a.size(); ++k) result["by_task"][task][statistics[k].name] = a[k];
  }
  return result;
}

json gallery(const lab& l) {
  json result;
  for (const auto& [name, data] :
       {std::pair{"own", "data/own"}, std::pair{"hinted", "data/hinted-1"},
        std::pair{"foreign", "data/b"}}) {
    const auto scores = score_tokens(l.base, read_texts(l.results.read(l.stage(data))));
    result["histograms"][name] = histogram_of(scores);
    result["paths"][name] = paths_of(scores, 25);
  }
  json points = json::array();
  const auto foreign = score_tokens(l.base, read_texts(l.results.read(l.stage("data/b"))));
  for (std::size_t i = 0; i < std::min<std::size_t>(12, foreign.size()); ++i) {
    for (const auto& s : foreign[i]) points.push_back({s.log_prob, s.entropy});
  }
  result["points"] = std::move(points);
  result["led"] = led_example(l);
  return result;
}

}  // namespace study
