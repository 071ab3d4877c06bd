// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// idiolect tour: the two things this project is about, shown on one model and a foreign text.
//
//   1. The model's own samples against the foreign text: does CLL tell them apart, does perplexity?
//   2. The same training on the foreign text with SFT and with IDFT: what is learned and forgotten?

#include <algorithm>
#include <chrono>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "tool/commands.hpp"
#include "tool/files.hpp"
#include "tool/interrupt.hpp"
#include "tool/options.hpp"
#include "tool/report.hpp"
#include "tool/tour.hpp"

namespace tool {

namespace {

struct tour_options {
  model_choice model;
  reading_choice input;
  std::string own;
  std::string foreign;
  std::string eval;
  std::string json;
  std::string answer_after;
  std::optional<index_t> steps;
  index_t batch = 16;
  std::vector<double> rates = {3e-5, 1e-4};
  index_t limit = 400;
  std::uint64_t seed = 0;
};

/// Longer texts are cut off: a tour is short.
constexpr index_t longest_text = 256;
/// Tokens that each training shows, unless the number of steps is given.
constexpr index_t training_tokens = 100'000;

/// A text file of stories or paragraphs is more than one sequence.
reading read_as(const tour_options& o, const std::string& path) {
  reading how = o.input.parse(o.model);
  if (!how.split && !is_jsonl(path, how)) {
    constexpr const char* story_end = "<|endoftext|>";
    const std::string text = read_file(path, "a text");
    how.split = text.find(story_end) != std::string::npos ? story_end : "blank";
  }
  return how;
}

std::vector<sequence> read_texts(const tour_options& o, const loaded_model& m,
                                 const std::string& path, std::size_t least) {
  const index_t longest = std::min(longest_text, m.context_size) + 1;
  std::vector<sequence> texts;
  for (const record& r : read_records(path, read_as(o, path))) {
    if (static_cast<index_t>(texts.size()) == o.limit) break;
    sequence s = encode(m, r, true);
    if (s.first_scored >= longest) continue;
    s.tokens.resize(
        static_cast<std::size_t>(std::min(longest, static_cast<index_t>(s.tokens.size()))));
    texts.push_back(std::move(s));
  }
  if (texts.size() < least) {
    fail(path, "expected " + std::to_string(least) + " texts or more for a tour, found " +
                   std::to_string(texts.size()) + "; --split cuts a plain text into several");
  }
  return texts;
}

void run(tour_options o) {
  const auto begin = std::chrono::steady_clock::now();
  const auto seconds = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  require_range("--limit", static_cast<double>(o.limit), 8, 1e6);
  require_range("--batch", static_cast<double>(o.batch), 1, 1e4);
  require_usage(o.foreign.empty() == o.own.empty() && (o.eval.empty() || !o.foreign.empty()),
                "--own and --foreign belong together, and --eval to them");
  if (o.foreign.empty()) {
    require_usage(o.model.model.empty() && !default_model_folder().empty(),
                  "name the texts for this model: --own (to retain) and --foreign (to train on)");
    o.own = default_model_folder() + "/texts/retained_eval.jsonl";
    o.foreign = default_model_folder() + "/texts/foreign.jsonl";
    o.eval = default_model_folder() + "/texts/foreign_eval.jsonl";
    if (o.answer_after.empty()) o.answer_after = ">";
  }
  const executor workers = make_executor(o.model);
  auto files = files_of(o.model);
  files.insert(files.end(), {{"--own", o.own}, {"--foreign", o.foreign}, {"--eval", o.eval}});
  output_file json_file = file_plan(std::move(files)).output("--json", o.json);
  const loaded_model m = load(o.model);
  const llama2c_model& trained_model = m.trainable("tour");
  training how;
  how.batch = o.batch;
  how.seed = o.seed;
  how.steps = o.steps.value_or(0);
  for (const double rate : o.rates) {
    how.optimiser.learning_rate = rate;
    validate(how, trained_model.weights.shape(), m.end);
  }
  language_model model = m.open(workers, {});
  const auto foreign = read_texts(o, m, o.foreign, 8);
  const auto retained = read_texts(o, m, o.own, 1);

  // 1
  const scored_text own = own_samples(model, workers, foreign, o.seed);
  const scored_text other("foreign text", foreign,
                          score_all(model, workers, foreign, {}, "scoring the foreign text"));
  const idiolect::bootstrap_options bootstrap{.seed = o.seed};
  const auto same = idiolect::compare(workers, own.by_sequence, other.by_sequence, bootstrap);
  std::optional<idiolect::corpus_comparison> wider;
  if (std::ranges::any_of(retained, [](const sequence& s) { return s.first_scored > 1; })) {
    auto all = own_samples(model, workers, retained, o.seed + 1).by_sequence;
    all.insert(all.end(), own.by_sequence.begin(), own.by_sequence.end());
    wider = idiolect::compare(workers, all, other.by_sequence, bootstrap);
  }
  const bool quiet = json_file.path() == "-";
  if (!quiet) {
    std::cout
        << "model: " << describe(m) << "\nforeign text: " << printable(o.foreign)
        << "\nretained text: " << printable(o.own)
        << "\n\n1. The model's own samples (temperature 1) against the foreign text: "
        << own.sequences.size() << " and " << foreign.size()
        << " texts\n   AUROC: how often the own text is the one with the better score; 0.5 is "
           "chance; [95% interval]\n\n"
        << detection_table(own, other, same, wider) << "\n"
        << detection_meaning(own, other, same, wider) << "\n"
        << std::flush;
  }

  // 2
  std::vector<sequence> trained;
  std::vector<sequence> held_out;
  if (!o.eval.empty()) held_out = read_texts(o, m, o.eval, 1);
  index_t tokens = 0;
  for (std::size_t i = 0; i < foreign.size(); ++i) {
    (o.eval.empty() && i % 4 == 3 ? held_out : trained).push_back(foreign[i]);
    tokens += static_cast<index_t>(foreign[i].tokens.size());
  }
  const index_t step_tokens =
      std::max<index_t>(1, how.batch * tokens / static_cast<index_t>(foreign.size()));
  how.steps = o.steps.value_or(std::clamp<index_t>(training_tokens / step_tokens, 10, 120));
  const auto figures = [&](const std::string& label, const tiny_llama::weights<float>& weights,
                           const std::vector<sequence>& texts) {
    return tour_figures{evaluate(weights, m, texts, {}, workers, label),
                        answer_all(weights, m, texts, unescape(o.answer_after), workers)};
  };
  const auto measure = [&](const std::string& name, const tiny_llama::weights<float>& weights) {
    return outcome{name, figures(name + ", foreign text", weights, held_out),
                   figures(name + ", retained text", weights, retained)};
  };
  std::vector<outcome> outcomes = {measure("before", trained_model.weights)};
  for (const double rate : o.rates) {
    how.optimiser.learning_rate = rate;
    for (const auto& [name, loss] : {std::pair{"SFT", "sft"}, std::pair{"IDFT", "idft"}}) {
      const std::string label = std::string(name) + " " + CLI::detail::to_string(rate);
      how.loss.loss = loss;
      auto weights = trained_model.weights;
      static_cast<void>(train(weights, trained, m.end, how, workers, label));
      outcomes.push_back(measure(label, weights));
    }
  }

  auto result = heading("tour", m);
  result["options"] = {{"own", o.own},       {"foreign", o.foreign}, {"eval", o.eval},
                       {"steps", how.steps}, {"batch", how.batch},   {"learning_rates", o.rates},
                       {"seed", o.seed}};
  result["own_samples"] = to_json(own);
  result["foreign_text"] = to_json(other);
  result["comparison"] = to_json(same);
  if (wider) result["comparison_on_other_prompts_too"] = to_json(*wider);
  for (const outcome& one : outcomes) {
    result["training"][one.name] = {{"foreign", to_json(one.foreign)},
                                    {"retained", to_json(one.retained)}};
  }
  result["seconds"] = seconds();
  json_file.add(dump(result, 2) + "\n");
  check_interrupt();
  json_file.commit();
  if (quiet) return;
  std::cout << "2. The same training on the foreign text with SFT and with IDFT: "
            << counted(how.steps, "step") << " of " << how.batch << " texts\n   at "
            << counted(static_cast<long long>(o.rates.size()), "learning rate") << "; measured on "
            << counted(static_cast<long long>(held_out.size()), "held-out foreign text") << " and "
            << counted(static_cast<long long>(retained.size()), "retained text") << "\n\n"
            << training_table(outcomes) << "\n"
            << training_meaning(outcomes) << "\n(" << fixed(seconds(), 1) << " s)\n";
}

}  // namespace

command add_tour(CLI::App& tool) {
  const auto o = std::make_shared<tour_options>();
  CLI::App& app = *tool.add_subcommand(
      "tour", "Both sides of the method on one model: CLL beside perplexity, IDFT beside SFT");
  app.footer(std::string(input_help) +
             "\n\nPlain text is cut at '<|endoftext|>', or at blank lines; texts longer than 256 "
             "tokens are cut off.\nThe words below each table follow from its numbers.");
  app.add_option("--own", o->own, "text of the kind the model knows: what it should not forget")
      ->type_name("FILE");
  app.add_option("--foreign", o->foreign, "text of another kind, to score and to train on")
      ->type_name("FILE");
  app.add_option("--eval", o->eval,
                 "foreign text to measure on (default: every fourth text of --foreign is held out)")
      ->type_name("FILE");
  app.add_option("--json", o->json, "write everything as one JSON object")->type_name("FILE");
  app.add_option("--answer-after", o->answer_after,
                 "texts have prompts and end in an answer behind this TEXT, such as '####': count "
                 "right answers too (default: none; for the default model: >)")
      ->type_name("TEXT");
  add_model_options(app, o->model);
  add_reading_options(app, o->input);
  const std::string group = "Extent";
  app.add_option("--limit", o->limit, "texts read of each file (default 400)")->group(group);
  add_optional(app, "--steps", o->steps, "of each training (default: 10 to 120, by their length)")
      ->group(group);
  app.add_option("--batch", o->batch, "texts in a step (default 16)")->group(group);
  app.add_option("--lr", o->rates, "AdamW's learning rates, one or more (default 3e-5 1e-4)")
      ->group(group);
  add_seed(app, o->seed, "of samples, order and bootstrap", group);
  return [o] { run(*o); };
}

}  // namespace tool
