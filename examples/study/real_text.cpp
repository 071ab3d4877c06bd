// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "study/real_text.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

#include <idiolect/loss/gates.hpp>

#include "study/checks.hpp"
#include "study/statistics.hpp"
#include "study/training.hpp"
#include "tiny_llama/checkpoint.hpp"
#include "tiny_llama/file.hpp"
#include "tiny_llama/generate.hpp"

namespace study {

namespace {

constexpr std::array<std::uint64_t, 3> orders{1, 2, 3};  // seeds of the order of the texts
constexpr std::array rates{3e-4, 1e-3};
constexpr index_t steps = 200;
constexpr std::size_t stories = 96;
constexpr std::size_t held_out = 96;  // passages

/// What a training run has gained on new text, in two ways that need not agree: the likelihood loss
/// wants the first, DFT's gradient is that of the second.
struct gain_kind {
  const char* key;
  const char* title;
  std::array<double, 3> levels;  // where runs are compared
};
constexpr std::array gain_kinds{
    gain_kind{"nll", "fall of NLL, nats a token", {0.5, 1.0, 2.0}},
    gain_kind{"prob", "rise of the mean probability of a token", {0.02, 0.04, 0.08}}};

struct contender {
  const char* name;
  const char* title;
  objective loss;
};

const std::vector<contender>& contenders() {
  static const std::vector<contender> all{
      {"sft", "SFT", gated_objective([](double) { return idiolect::nll{}; })},
      {"dft", "DFT", gated_objective([](double) { return idiolect::dft{}; })},
      {"idft", "IDFT", gated_objective([](double) { return idiolect::idft{}; })}};
  return all;
}

std::string run_stage(const contender& c, double rate, std::uint64_t order) {
  return "real/" + std::string(c.name) + "@" + rate_text(rate) + "-" + std::to_string(order);
}

weights read_model(const std::filesystem::path& folder) {
  return tiny_llama::read_checkpoint(folder / "model" / "stories260K.bin");
}

json tokens_json(const std::vector<text>& texts) {
  json j = json::array();
  for (const auto& t : texts) j.push_back(t.tokens);
  return j;
}

std::vector<text> texts_from(const json& j) {
  std::vector<text> texts;
  for (const auto& tokens : j) texts.push_back({tokens.get<std::vector<token_id>>(), 1});
  return texts;
}

// Passages of some lines, 240 bytes or a little more.
std::vector<text> passages(const std::filesystem::path& folder) {
  const auto bytes = tiny_llama::read_file(folder / "text" / "tinyshakespeare.txt");
  const auto tokenizer = tiny_llama::read_tokenizer(folder / "model" / "tok512.bin");
  std::string_view rest(bytes.data(), bytes.size());
  std::vector<text> all;
  while (rest.size() > 240) {
    const auto end = std::min(rest.find('\n', 240), rest.size());
    std::vector<token_id> tokens;
    tokenizer.encode(rest.substr(0, end), tokens);
    if (tokens.size() <= 256) all.push_back({std::move(tokens), 1});
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return all;
}

json make_texts(const settings&, const std::filesystem::path& folder) {
  json j;
  auto all = passages(folder);
  std::vector<text> test;
  std::vector<text> training;
  const std::size_t every = std::max<std::size_t>(1, all.size() / held_out);
  for (std::size_t i = 0; i < all.size(); ++i) {
    const bool kept = i % every == 0 && test.size() < held_out;
    (kept ? test : training).push_back(std::move(all[i]));
  }
  j["training"] = tokens_json(training);
  j["new"] = tokens_json(test);

  language_model model(read_model(folder));
  const std::vector<std::vector<token_id>> prompts(stories, {1});
  tiny_llama::generation_options options;
  options.max_tokens = 200;
  options.seed = 1;
  std::vector<text> own;
  for (auto& g : tiny_llama::generate(model, prompts, options))
    own.push_back(make_text({1}, g.tokens));
  j["retained"] = tokens_json(own);
  return j;
}

json likelihood(const weights& w, const std::vector<text>& texts) {
  json nats = json::array();
  for (const auto& s : score_texts(w, texts))
    nats.push_back(std::round(-s.sum_log_prob * 1e4) / 1e4);
  return nats;
}

double mean_probability(const weights& w, const std::vector<text>& texts) {
  double sum = 0;
  double count = 0;
  for (const auto& scores : score_tokens(w, texts)) {
    for (const auto& s : scores) sum += std::exp(s.log_prob);
    count += static_cast<double>(scores.size());
  }
  return sum / count;
}

bool measured_at(index_t step) {
  return step <= 20 ? step % 2 == 0 : step <= 100 ? step % 10 == 0 : step % 25 == 0;
}

json run(settings how, const store& results, const std::filesystem::path& folder,
         const contender& c, double rate, std::uint64_t order) {
  const json texts = results.read("real/texts");
  const auto fresh = texts_from(texts.at("new"));
  const auto retained = texts_from(texts.at("retained"));
  how.steps = steps;
  const weights base = read_model(folder);
  json points = json::array();
  const auto measure = [&](index_t step, const weights& w) {
    if (!measured_at(step)) return;
    points.push_back({{"step", step},
                      {"new", likelihood(w, fresh)},
                      {"new_prob", mean_probability(w, fresh)},
                      {"retained", likelihood(w, retained)}});
  };
  measure(0, base);
  const auto trained = train(
      base, how, rate, text_batches(texts_from(texts.at("training")), how, order), c.loss, measure);
  return {{"points", std::move(points)}, {"trained_tokens", trained.trained_tokens}};
}

std::vector<double> lengths(const json& texts) {
  std::vector<double> n;
  for (const auto& t : texts) n.push_back(static_cast<double>(t.size()) - 1);
  return n;
}

/// A training run: after each point the gain on new text and the rise on each retained text.
struct path {
  std::vector<double> gain;               // nats a token
  std::vector<std::vector<double>> rise;  // nats, by text

  [[nodiscard]] double largest() const { return *std::ranges::max_element(gain); }

  // The rise on each text where the gain first comes to `wanted`, linearly between two points.
  [[nodiscard]] std::vector<double> rise_at(double wanted) const {
    std::size_t after = 1;
    while (gain[after] < wanted) ++after;
    const double share = (wanted - gain[after - 1]) / (gain[after] - gain[after - 1]);
    std::vector<double> r = rise[after - 1];
    for (std::size_t i = 0; i < r.size(); ++i) r[i] += share * (rise[after][i] - r[i]);
    return r;
  }
};

path read_path(const json& result, const gain_kind& kind, const std::vector<double>& new_lengths) {
  path p;
  const auto nats = [](const json& j) { return j.get<std::vector<double>>(); };
  const auto& points = result.at("points");
  const auto first_new = nats(points.front().at("new"));
  const auto first_retained = nats(points.front().at("retained"));
  for (const auto& point : points) {
    auto gained = nats(point.at("new"));
    for (std::size_t i = 0; i < gained.size(); ++i) gained[i] = first_new[i] - gained[i];
    const bool by_nll = kind.key == std::string_view("nll");
    p.gain.push_back(by_nll ? ratio(gained, new_lengths).value
                            : point.at("new_prob").get<double>() -
                                  points.front().at("new_prob").get<double>());
    auto risen = nats(point.at("retained"));
    for (std::size_t i = 0; i < risen.size(); ++i) risen[i] -= first_retained[i];
    p.rise.push_back(std::move(risen));
  }
  return p;
}

/// The rise at one gain: by text, the mean over orders, and the whole for each order. Empty if one
/// of the runs never gains so much.
struct matched {
  std::vector<double> by_text;
  std::vector<double> by_order;

  [[nodiscard]] json to_json(const std::vector<double>& n) const {
    json j = ratio(by_text, n).to_json();
    j["seeds"] = by_order;
    return j;
  }
};

matched match(const std::vector<path>& paths, double gain, const std::vector<double>& n) {
  matched m;
  if (std::ranges::any_of(paths, [&](const path& p) { return p.largest() < gain; })) return m;
  m.by_text.resize(n.size());
  for (const path& p : paths) {
    const auto rise = p.rise_at(gain);
    m.by_order.push_back(ratio(rise, n).value);
    for (std::size_t i = 0; i < n.size(); ++i)
      m.by_text[i] += rise[i] / static_cast<double>(paths.size());
  }
  return m;
}

matched less(matched a, const matched& b) {
  for (std::size_t i = 0; i < a.by_text.size(); ++i) a.by_text[i] -= b.by_text[i];
  for (std::size_t i = 0; i < a.by_order.size(); ++i) a.by_order[i] -= b.by_order[i];
  return a;
}

// In words a reader cannot take for more than the numbers say.
std::string verdict_of(const matched& m, const std::vector<double>& n) {
  const auto all = ratio(m.by_text, n);
  const auto more = std::ranges::count_if(m.by_order, [](double x) { return x > 0; });
  const bool agree = more == 0 || more == std::ssize(m.by_order);
  if (!agree || (all.low <= 0 && all.high >= 0)) return "no clear difference";
  return all.value > 0 ? "forgets more, in every order" : "forgets less, in every order";
}

json curves_of(const std::vector<path>& paths, const std::vector<double>& n) {
  json curve = json::array();  // of the first order
  for (std::size_t k = 0; k < paths.front().gain.size(); ++k)
    curve.push_back({paths.front().gain[k], ratio(paths.front().rise[k], n).value});
  return curve;
}

// Adds the runs of one rate: their curves, and what they forget where they have gained alike.
void compare_runs(json& report, const store& results, const gain_kind& kind, double rate,
                  const std::vector<double>& new_lengths, const std::vector<double>& n) {
  std::vector<std::vector<path>> runs;
  for (const auto& c : contenders()) {
    runs.emplace_back();
    for (const auto order : orders)
      runs.back().push_back(read_path(results.read(run_stage(c, rate, order)), kind, new_lengths));
    report["curves"].push_back({{"by", kind.key},
                                {"gain", kind.title},
                                {"title", c.title},
                                {"rate", rate},
                                {"points", curves_of(runs.back(), n)}});
  }
  for (const double level : kind.levels) {
    const auto sft = match(runs.front(), level, n);
    for (std::size_t k = 0; k < runs.size(); ++k) {
      const auto m = match(runs[k], level, n);
      json j{{"title", contenders()[k].title}, {"rate", rate}, {"by", kind.title}, {"gain", level}};
      if (m.by_text.empty()) {
        double largest = runs[k].front().largest();
        for (const auto& p : runs[k]) largest = std::min(largest, p.largest());
        j["largest_gain"] = largest;
      } else {
        j["number"] = m.to_json(n);
      }
      report["matched"].push_back(std::move(j));
      if (k == 0 || m.by_text.empty() || sft.by_text.empty()) continue;
      const auto d = less(m, sft);
      char statement[128];
      std::snprintf(statement, sizeof statement, "%s - SFT, rate %s, at a %s of %g",
                    contenders()[k].title, rate_text(rate).c_str(), kind.title, level);
      report["comparisons"].push_back(
          {{"statement", statement}, {"number", d.to_json(n)}, {"verdict", verdict_of(d, n)}});
    }
  }
}

}  // namespace

bool has_real_data(const std::filesystem::path& folder) {
  return !folder.empty() && std::filesystem::exists(folder / "model" / "stories260K.bin") &&
         std::filesystem::exists(folder / "model" / "tok512.bin") &&
         std::filesystem::exists(folder / "text" / "tinyshakespeare.txt");
}

std::vector<stage> real_text_data(const settings& how, const store&,
                                  const std::filesystem::path& folder) {
  return {{"real/texts", [=] { return make_texts(how, folder); }}};
}

std::vector<stage> real_text_runs(const settings& how, const store& results,
                                  const std::filesystem::path& folder) {
  std::vector<stage> stages;
  for (const auto& c : contenders()) {
    for (const double rate : rates) {
      for (const auto order : orders) {
        stages.push_back({run_stage(c, rate, order), [&c, &results, how, folder, rate, order] {
                            return run(how, results, folder, c, rate, order);
                          }});
      }
    }
  }
  return stages;
}

json real_text_report(const store& results, const std::filesystem::path& folder) {
  json report{{"what",
               "stories260K fine-tuned on Shakespeare: what does it forget of its own "
               "stories where it has gained the same?"}};
  if (!results.has("real/texts")) {
    report["skipped"] =
        has_real_data(folder)
            ? "only a full run does it"
            : "it needs a folder with model/stories260K.bin, model/tok512.bin (both from "
              "huggingface.co/karpathy/tinyllamas) and text/tinyshakespeare.txt (from "
              "github.com/karpathy/char-rnn): name it with --data";
    return report;
  }
  const json texts = results.read("real/texts");
  const auto new_lengths = lengths(texts.at("new"));
  const auto n = lengths(texts.at("retained"));
  report["matched"] = json::array();
  report["comparisons"] = json::array();
  for (const auto& kind : gain_kinds) {
    for (const double rate : rates) compare_runs(report, results, kind, rate, new_lengths, n);
  }
  return report;
}

}  // namespace study
