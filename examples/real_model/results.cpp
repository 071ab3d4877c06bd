// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "real_model/results.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tool/errors.hpp"
#include "tool/files.hpp"
#include "tool/json_lines.hpp"
#include "tool/text.hpp"

namespace real_model {

namespace fs = std::filesystem;

namespace {

/// Calls f() and turns what nlohmann's library says into an error that names the place.
template <class F>
auto at_place(const std::string& where, F&& f) {
  try {
    return f();
  } catch (const json::exception& e) {
    std::string said = e.what();
    if (const auto end = said.find("] "); said.starts_with("[json") && end != std::string::npos) {
      said.erase(0, end + 2);
    }
    tool::fail(where, "is not what the stage writes (" + tool::printable(said) +
                          "); remove the file and run the command again");
  }
}

json read_object(const fs::path& path) {
  const std::string content = tool::read_file(path.string(), "a JSON object");
  return at_place(path.string(), [&] {
    json object = json::parse(content);
    if (!object.is_object())
      tool::fail(path.string(), "expected a JSON object, found another value");
    return object;
  });
}

/// f(object, number) for each line, counted from 1.
template <class F>
void read_lines(const fs::path& path, F&& f) {
  const std::string content = tool::read_file(path.string(), "JSON Lines");
  tool::for_each_line(content, [&](std::string_view line, std::size_t number) {
    if (tool::stripped(line).empty()) return;
    const std::string where = tool::place(path.string(), number);
    at_place(where, [&] { f(json::parse(line), where); });
  });
}

double number_or_infinity(const json& value) {
  // The tool writes null for what is not finite.
  return value.is_null() ? -std::numeric_limits<double>::infinity() : value.get<double>();
}

corpus read_corpus(const fs::path& path) {
  corpus c;
  read_lines(path, [&](const json& line, const std::string& where) {
    const auto text = line.at("sequence").get<std::size_t>();
    if (text != c.texts.size() && text + 1 != c.texts.size()) {
      tool::fail(where, "expected text " + std::to_string(c.texts.size()) + ", found " +
                            std::to_string(text));
    }
    if (text == c.texts.size()) c.texts.emplace_back();
    scored_token t;
    t.piece = line.at("piece").get<std::string>();
    t.score.log_prob = number_or_infinity(line.at("log_prob"));
    t.score.entropy = line.at("entropy").get<double>();
    t.score.varentropy = line.at("varentropy").get<double>();
    t.score.phi = number_or_infinity(line.at("phi"));
    t.score.status = idiolect::token_status::scored;
    c.texts.back().push_back(std::move(t));
  });
  if (c.texts.empty()) tool::fail(path.string(), "expected scored tokens, found none");
  for (const auto& text : c.texts) {
    idiolect::sequence_score s;
    for (const auto& t : text) {
      s.add(t.score);
      c.all.add(t.score);
    }
    c.scores.push_back(s);
  }
  return c;
}

std::vector<rewritten> read_hinted(const fs::path& path, corpus&& scored) {
  std::vector<rewritten> all;
  read_lines(path, [&](const json& line, const std::string& where) {
    rewritten r;
    r.how = line.at("how").get<std::string>();
    r.question = line.at("question").get<std::string>();
    r.answer = line.at("answer").get<std::string>();
    r.reference = line.at("reference").get<std::string>();
    r.lambda = line.at("lambda").get<std::vector<double>>();
    r.student_from = line.at("student_from").get<std::size_t>();
    r.reference_phi = line.at("reference_cll").at("mean_phi").get<double>();
    r.reference_tokens = line.at("reference_cll").at("tokens").get<double>();
    if (all.size() >= scored.texts.size() || scored.texts[all.size()].size() != r.lambda.size()) {
      tool::fail(where,
                 "its tokens are not those that were scored; remove the stage `hinted` and "
                 "run the command again");
    }
    r.tokens = std::move(scored.texts[all.size()]);
    r.cll = scored.scores[all.size()];
    all.push_back(std::move(r));
  });
  return all;
}

training read_training(const fs::path& path) {
  const json report = read_object(path);
  return at_place(path.string(), [&] {
    training t;
    double seconds = 0;
    for (const auto& s : report.at("steps")) {
      t.steps.push_back({seconds, s.at("nll").get<double>(), s.at("weight").get<double>()});
      seconds += s.at("seconds").get<double>();
    }
    t.tokens_per_second = report.at("tokens_per_second").get<double>();
    const json& curve = report.at("eval").at("curve");
    if (!curve.empty()) t.evaluated = curve.back().at("nll").get<double>();
    return t;
  });
}

/// x[i] of each text over its tokens.
template <class F>
measured by_text(const corpus& c, F&& sum) {
  std::vector<double> x, n;
  for (std::size_t i = 0; i < c.scores.size(); ++i) {
    x.push_back(sum(i));
    n.push_back(static_cast<double>(c.scores[i].tokens));
  }
  return study::ratio(x, n);
}

}  // namespace

measured corpus::nll() const {
  return by_text(*this, [&](std::size_t i) { return -scores[i].sum_log_prob; });
}

measured corpus::phi() const {
  return by_text(*this, [&](std::size_t i) { return scores[i].sum_phi; });
}

measured nll_rise(const corpus& before, const corpus& after) {
  const bool same = std::ranges::equal(before.texts, after.texts, [](const auto& a, const auto& b) {
    return std::ranges::equal(a, b, {}, &scored_token::piece, &scored_token::piece);
  });
  if (!same) tool::fail("scores", "the texts of two models differ; begin anew with --restart");
  return by_text(before, [&](std::size_t i) {
    return before.scores[i].sum_log_prob - after.scores[i].sum_log_prob;
  });
}

const corpus* results::find(const std::string& model, const std::string& key) const {
  const auto of = models.find(model);
  if (of == models.end()) return nullptr;
  const auto found = of->second.find(key);
  return found == of->second.end() ? nullptr : &found->second;
}

results read_results(const fs::path& dir) {
  if (!fs::is_directory(dir))
    tool::fail(dir.string(), "expected a folder with results, found none");
  results r;
  const fs::path scores = dir / "scores";
  if (const auto path = dir / "settings.json"; fs::exists(path)) r.settings = read_object(path);
  for (const std::string key : corpus_keys) {
    if (const auto path = scores / (key + ".tokens.jsonl"); fs::exists(path)) {
      r.corpora.emplace(key, read_corpus(path));
    }
    if (const auto path = scores / (key + ".json"); r.model.is_null() && fs::exists(path)) {
      r.model = at_place(path.string(), [&] { return read_object(path).at("model"); });
    }
  }
  const fs::path hinted = scores / "hinted.tokens.jsonl";
  if (fs::exists(dir / "hinted.jsonl") && fs::exists(hinted)) {
    r.hinted = read_hinted(dir / "hinted.jsonl", read_corpus(hinted));
  }
  for (const std::string model : model_keys) {
    const auto report = dir / model / "report.json";
    if (model != model_keys[0] && fs::exists(report)) r.trainings[model] = read_training(report);
    for (const std::string key : measured_keys) {
      const auto path = scores / (model + "-" + key + ".tokens.jsonl");
      if (fs::exists(path)) r.models[model].emplace(key, read_corpus(path));
    }
    const auto answers = dir / ("answers-" + model + ".jsonl");
    if (!fs::exists(answers)) continue;
    read_lines(answers, [&](const json& line, const std::string&) {
      static_cast<void>(line.at("question").get<std::string>());
      static_cast<void>(line.at("answer").get<std::string>());
      r.answers[model].push_back(line);
    });
  }
  if (fs::is_directory(dir / "done")) {
    std::vector<std::pair<double, stage>> stages;
    for (const auto& entry : fs::directory_iterator(dir / "done")) {
      if (entry.path().extension() != ".json") continue;
      const json j = read_object(entry.path());
      at_place(entry.path().string(), [&] {
        stages.emplace_back(j.at("finished").get<double>(),
                            stage{j.at("stage").get<std::string>(), j.at("seconds").get<double>()});
      });
    }
    std::ranges::sort(stages, {}, [](const auto& s) { return s.first; });
    for (auto& s : stages) r.stages.push_back(std::move(s.second));
  }
  return r;
}

}  // namespace real_model
