// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// idiolect tour: the two things this project is about, shown on one model and a foreign text.
//
//   1. The model's own samples against the foreign text: does CLL tell them apart, does perplexity?
//   2. The same training on the foreign text with SFT and with IDFT: what is learned and forgotten?

#include <chrono>
#include <cmath>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "tool/commands.hpp"
#include "tool/files.hpp"
#include "tool/interrupt.hpp"
#include "tool/options.hpp"
#include "tool/report.hpp"
#include "tool/sampling.hpp"
#include "tool/trainer.hpp"

namespace tool {

namespace {

struct tour_options {
  model_choice model;
  reading_choice input;
  std::string own;
  std::string foreign;
  std::string eval;
  std::string json;
  std::optional<index> steps;
  index batch = 16;
  double rate = 1e-4;
  index limit = 400;
  std::uint64_t seed = 0;
};

/// Longer texts are cut off: a tour is short.
constexpr index longest_text = 256;
/// Tokens that each training shows, unless the number of steps is given.
constexpr index training_tokens = 150'000;

/// A text file of stories or paragraphs is more than one sequence.
reading read_as(const tour_options& o, const std::string& path) {
  reading how = o.input.parse();
  if (!how.split && !is_jsonl(path, how)) {
    constexpr const char* story_end = "<|endoftext|>";
    const std::string text = read_file(path, "a text");
    how.split = text.find(story_end) != std::string::npos ? story_end : "blank";
  }
  return how;
}

std::vector<sequence> read_texts(const tour_options& o, const loaded_model& m,
                                 const std::string& path) {
  const index longest = std::min(longest_text, m.weights.shape().context_size) + 1;
  std::vector<sequence> texts;
  for (const record& r : read_records(path, read_as(o, path))) {
    if (static_cast<index>(texts.size()) == o.limit) break;
    sequence s = encode(m.tokenizer, r, m.how_to_encode(true));
    if (s.first_scored >= longest) continue;
    s.tokens.resize(static_cast<std::size_t>(
        std::min(longest, static_cast<index>(s.tokens.size()))));
    texts.push_back(std::move(s));
  }
  if (texts.size() < 8) {
    fail(path, "expected 8 texts or more for a tour, found " + std::to_string(texts.size()) +
                   "; --split cuts a plain text into several");
  }
  return texts;
}

/// Samples that answer the foreign text's prompts, or begin where the model begins, one a text and
/// about as long.
scored_text own_samples(language_model& model, const executor& workers,
                        const std::vector<sequence>& foreign, std::uint64_t seed) {
  std::vector<std::vector<token_id>> prompts;
  index longest = 0;
  for (const sequence& s : foreign) {
    prompts.emplace_back(s.tokens.begin(), s.tokens.begin() + s.first_scored);
    longest = std::max(longest, s.scored());
  }
  sampling how;
  how.seed = seed;
  how.max_tokens = longest;
  std::vector<sequence> texts;
  for (auto& t : sample_all(model, workers, prompts, how)) {
    texts.push_back({"sample " + std::to_string(texts.size()), std::move(t.tokens), t.prompt_tokens});
  }
  auto scores = score_all(model, workers, texts, {}, "scoring own samples");
  return {"own samples", std::move(texts), std::move(scores)};
}

/// A fine-tuned model's figures.
struct outcome {
  std::string name;
  text_figures foreign;
  text_figures retained;
};

std::string outcome_table(const std::vector<outcome>& all) {
  table rows({"", "foreign NLL", "change", "p(end)", "retained NLL", "change", "p(end)"});
  const auto change = [](double x) { return (x > 0 ? "+" : "") + fixed(x, 3); };
  for (const outcome& o : all) {
    const outcome& before = all.front();
    const bool first = &o == &before;
    const auto end = [](const text_figures& f) { return f.ends > 0 ? fixed(f.end_prob, 3) : "-"; };
    const double learned = o.foreign.score.mean_nll() - before.foreign.score.mean_nll();
    const double forgot = o.retained.score.mean_nll() - before.retained.score.mean_nll();
    rows.row({o.name, fixed(o.foreign.score.mean_nll(), 3), first ? "" : change(learned),
              end(o.foreign), fixed(o.retained.score.mean_nll(), 3), first ? "" : change(forgot),
              end(o.retained)});
  }
  return rows.str();
}

/// What the table says, whichever way it came out. `all`: before, SFT, IDFT.
std::string meaning(const std::vector<outcome>& all) {
  const outcome& before = all[0];
  const outcome& sft = all[1];
  const outcome& idft = all[2];
  const auto learned = [&](const outcome& o) {
    return before.foreign.score.mean_nll() - o.foreign.score.mean_nll();
  };
  const auto forgot = [&](const outcome& o) {
    return o.retained.score.mean_nll() - before.retained.score.mean_nll();
  };
  const auto describe_one = [&](const outcome& o) {
    const double gain = learned(o);
    const double loss = forgot(o);
    return o.name + (gain >= 0 ? " learns " : " loses ") + fixed(std::fabs(gain), 3) +
           " nats a token on the foreign text and " +
           (loss >= 0 ? "forgets " : "gains ") + fixed(std::fabs(loss), 3) + " on the retained one";
  };
  std::string words = describe_one(sft) + ";\n" + describe_one(idft) + ".\n";
  const double difference = forgot(sft) - forgot(idft);
  const bool less_learned = learned(idft) < learned(sft) - 0.005;
  if (std::fabs(difference) < 0.005) {
    words += "Both forget the same here";
  } else if (difference > 0) {
    words += "IDFT forgets less";
  } else {
    words += "Here IDFT forgets more, not less";
  }
  words += less_learned ? (difference > 0.005 ? ", at a price: it takes up less of what is foreign to it.\n"
                                              : ", and it takes up less of what is foreign to it.\n")
                        : ", and it learns no less.\n";
  for (const outcome* o : {&sft, &idft}) {
    if (before.retained.ends > 0 && o->retained.end_prob < 0.8 * before.retained.end_prob) {
      words += "Beware: after " + o->name + " the model's own texts end less surely (p(end) " +
               fixed(before.retained.end_prob, 3) + " before, " + fixed(o->retained.end_prob, 3) +
               " after).\n";
    }
  }
  return words;
}

nlohmann::ordered_json outcome_json(const outcome& o) {
  nlohmann::ordered_json out;
  for (const auto& [key, f] : {std::pair{"foreign", &o.foreign}, std::pair{"retained", &o.retained}}) {
    out[key] = to_json(f->score);
    if (f->ends > 0) out[key]["end_prob"] = f->end_prob;
  }
  return out;
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
  }
  const executor workers = make_executor(o.model);
  output_file json_file(o.json);
  const loaded_model m = load(o.model);
  language_model model = m.open(workers);
  const auto foreign = read_texts(o, m, o.foreign);
  const auto retained = read_texts(o, m, o.own);

  // 1
  const scored_text own = own_samples(model, workers, foreign, o.seed);
  const scored_text other("foreign text", foreign,
                          score_all(model, workers, foreign, {}, "scoring the foreign text"));
  const idiolect::bootstrap_options bootstrap{.seed = o.seed};
  const auto comparison =
      idiolect::compare(workers, own.by_sequence, other.by_sequence, bootstrap);
  const scored_text* const texts[] = {&own, &other};
  const bool quiet = o.json == "-";
  if (!quiet) {
    std::cout << "model: " << describe(m) << "\nforeign text: " << printable(o.foreign)
              << "\nretained text: " << printable(o.own)
              << "\n\n1. The model's own samples against the foreign text\n\n"
              << totals_table(texts) << "\n"
              << "   Own samples. " << verdict(own.summary.all_tokens, "the model") << "\n"
              << "   Foreign text. " << verdict(other.summary.all_tokens, "the model") << "\n\n"
              << comparison_table(comparison, bootstrap.confidence) << "\n"
              << verdict(comparison, "the sampled text", "the foreign text") << "\n\n"
              << std::flush;
  }

  // 2
  std::vector<sequence> trained;
  std::vector<sequence> held_out;
  if (!o.eval.empty()) held_out = read_texts(o, m, o.eval);
  index tokens = 0;
  for (std::size_t i = 0; i < foreign.size(); ++i) {
    (o.eval.empty() && i % 4 == 3 ? held_out : trained).push_back(foreign[i]);
    tokens += static_cast<index>(foreign[i].tokens.size());
  }
  training how;
  how.batch = o.batch;
  how.optimiser.learning_rate = o.rate;
  how.seed = o.seed;
  const index step_tokens = std::max<index>(1, how.batch * tokens / static_cast<index>(foreign.size()));
  how.steps = o.steps.value_or(std::clamp<index>(training_tokens / step_tokens, 10, 120));
  const auto measure = [&](const std::string& name, const tiny_llama::weights<float>& weights) {
    return outcome{name, evaluate(weights, m, held_out, {}, workers, name + ", foreign text"),
                   evaluate(weights, m, retained, {}, workers, name + ", retained text")};
  };
  std::vector<outcome> outcomes = {measure("before", m.weights)};
  for (const auto& [name, loss] : {std::pair{"SFT", "sft"}, std::pair{"IDFT", "idft"}}) {
    how.loss.loss = loss;
    auto weights = m.weights;
    static_cast<void>(train(weights, trained, m.end, how, workers, name));
    outcomes.push_back(measure(name, weights));
  }

  auto result = heading("tour", m);
  result["options"] = {{"own", o.own}, {"foreign", o.foreign}, {"eval", o.eval}, {"steps", how.steps},
                       {"batch", how.batch}, {"learning_rate", o.rate}, {"seed", o.seed}};
  result["own_samples"] = to_json(own);
  result["foreign_text"] = to_json(other);
  result["comparison"] = to_json(comparison);
  for (const auto& outcome : outcomes) result["training"][outcome.name] = outcome_json(outcome);
  result["seconds"] = seconds();
  json_file.add(dump(result, 2) + "\n");
  json_file.commit();
  if (quiet) return;
  std::cout << "2. The same training on the foreign text with SFT and with IDFT: "
            << counted(how.steps, "step") << " of " << how.batch << " texts,\n   learning rate "
            << CLI::detail::to_string(o.rate) << "; NLL in nats a token, of "
            << counted(static_cast<long long>(held_out.size()), "held-out foreign text") << " and of "
            << counted(static_cast<long long>(retained.size()), "retained text") << "\n\n"
            << outcome_table(outcomes) << "\n"
            << meaning(outcomes) << "\n(" << fixed(seconds(), 1) << " s)\n";
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
  add_model_options(app, o->model);
  add_reading_options(app, o->input);
  const std::string group = "Extent";
  app.add_option("--limit", o->limit, "texts read of each file (default 400)")->group(group);
  add_optional(app, "--steps", o->steps, "of each training (default: 10 to 120, by their length)")
      ->group(group);
  app.add_option("--batch", o->batch, "texts in a step (default 16)")->group(group);
  app.add_option("--lr", o->rate, "AdamW's learning rate (default 1e-4)")->group(group);
  add_seed(app, o->seed, "of samples, order and bootstrap", group);
  return [o] { run(*o); };
}

}  // namespace tool
