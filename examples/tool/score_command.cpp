// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// idiolect score: is a text in the model's own distribution, and does it differ from another?

#include <chrono>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "tool/commands.hpp"
#include "tool/files.hpp"
#include "tool/interrupt.hpp"
#include "tool/options.hpp"
#include "tool/report.hpp"

namespace tool {

namespace {

struct score_options {
  model_choice model;
  reading_choice input;
  std::string in;
  std::string against;
  std::string json;
  std::string per_token;
  double temperature = 1;
  sampler_choice sampler;
  bool with_end = false;
  std::optional<index_t> overlap;
  std::optional<index_t> chunk;
  scoring how;
  idiolect::bootstrap_options bootstrap;
};

std::string window_note(const scored_text& t, index_t context, index_t overlap) {
  if (t.longer_than_context == 0) return {};
  return printable(t.name) + ": " + counted(t.longer_than_context, "sequence") +
         (t.longer_than_context == 1 ? " is" : " are") + " longer than the context of " +
         std::to_string(context) + " tokens and read in windows that overlap by " +
         std::to_string(overlap) + " (--overlap); each token is scored once.\n";
}

void check_finite(const scored_text& t) {
  if (t.summary.all_tokens.non_finite == 0) return;
  fail(t.name, "the model gave " + counted(t.summary.all_tokens.non_finite, "row") +
                   " of logits that are not numbers; the checkpoint is damaged or overflows");
}

void run(score_options o) {
  const reading read_as = o.input.parse(o.model);
  require_range("--temperature", o.temperature, 1e-6, 1e6);
  require_range("--bootstrap", static_cast<double>(o.bootstrap.replicates), 0, 1e6);
  named("--confidence", [&] { validate(o.bootstrap); });
  o.how.tokens.temperature = o.temperature;
  const auto sampler = o.sampler.parse("--sampler-temperature");
  if (o.sampler.given()) o.how.tokens.sampler = sampler;
  o.how.overlap = o.overlap;
  const bool gguf = is_gguf(o.model);
  o.how.chunk = o.chunk.value_or(gguf ? usual_gguf_chunk : o.how.chunk);
  require_range("--streams", static_cast<double>(o.how.streams), 1, 1e6);
  require_range("--chunk", static_cast<double>(o.how.chunk), 1, 1e6);
  const executor workers = make_executor(o.model);
  auto files = files_of(o.model);
  files.insert(files.end(), {{"--in", o.in}, {"--against", o.against}});
  file_plan plan(std::move(files));
  output_file json_file = plan.output("--json", o.json);
  output_file token_file = plan.output("--per-token", o.per_token);

  const loaded_model m = load(o.model);
  o.how.context = m.context_size;
  std::string notes;
  const auto read = [&](const std::string& path) {
    std::vector<sequence> sequences;
    if (path.empty()) return sequences;
    bool utf8 = true;
    for (const record& r : read_records(path, read_as)) {
      utf8 = utf8 && is_utf8(r.text);
      sequences.push_back(encode(m, r, o.with_end));
    }
    if (!utf8) notes += printable(path) + ": is not UTF-8 throughout; scored byte for byte.\n";
    return sequences;
  };
  std::vector<sequence> texts[] = {read(o.in), read(o.against)};
  check_overlap(o.how, m.context_size);
  language_model model = m.open(workers, demand_of(texts, o.how));
  const auto score_file = [&](const std::string& path, std::vector<sequence>&& sequences) {
    auto scores = score_all(model, workers, sequences, o.how, "scoring " + path);
    scored_text t(path, std::move(sequences), std::move(scores));
    check_finite(t);
    notes += window_note(t, m.context_size, o.how.overlap.value_or(m.context_size / 2));
    return t;
  };
  const auto begin = std::chrono::steady_clock::now();
  const scored_text text = score_file(o.in, std::move(texts[0]));
  std::optional<scored_text> other;
  if (!o.against.empty()) other.emplace(score_file(o.against, std::move(texts[1])));
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();

  const std::string source = o.how.tokens.sampler ? "this sampler of the model"
                             : o.temperature != 1 ? "the model at this temperature"
                                                  : "the model";
  nlohmann::ordered_json result = heading("score", m);
  result["options"] = {{"temperature", o.temperature},
                       {"centre", o.how.tokens.sampler ? "sampler" : "model"},
                       {"overlap", o.how.overlap.value_or(m.context_size / 2)},
                       {"whole", o.input.whole},
                       {"with_end", o.with_end},
                       {"seed", o.bootstrap.seed}};
  if (o.how.tokens.sampler) result["options"]["sampler"] = to_json(*o.how.tokens.sampler);
  result.update(to_json(text));
  std::string said = "model: " + describe(m) + "\n" + notes;
  if (o.how.tokens.sampler) {
    said += "CLL and z are centred by the sampler's distribution, not by the model's own.\n";
  }
  said += "\n";
  if (!other) {
    const scored_text* const texts[] = {&text};
    said += totals_table(texts) + "\n" + verdict(text.summary.all_tokens, source) + "\n";
  } else {
    const scored_text* const texts[] = {&text, &*other};
    const auto comparison =
        idiolect::compare(workers, text.by_sequence, other->by_sequence, o.bootstrap);
    result["against"] = to_json(*other);
    result["comparison"] = to_json(comparison);
    result["comparison"]["confidence"] = o.bootstrap.confidence;
    result["comparison"]["replicates"] = o.bootstrap.replicates;
    const std::string a = printable(o.in);
    const std::string b = printable(o.against);
    said += totals_table(texts) + "\n" + a + ": " + verdict(text.summary.all_tokens, source) +
            "\n" + b + ": " + verdict(other->summary.all_tokens, source) + "\n\n" + "Telling " + a +
            " from " + b +
            " by one score of each sequence. AUROC above 0.5 and SNR "
            "above 0:\nthe first looks more like the model's own text.\n\n" +
            comparison_table(comparison, o.bootstrap.confidence) + "\n" +
            verdict(comparison, a, b) + "\n";
  }

  index_t tokens = text.summary.all_tokens.tokens;
  if (other) tokens += other->summary.all_tokens.tokens;
  said += "(" + counted(tokens, "token") + " scored in " + fixed(seconds, 1) +
          " s: " + fixed(static_cast<double>(tokens) / std::max(seconds, 1e-9), 0) + " tokens/s)\n";
  result["seconds"] = seconds;

  if (token_file.wanted()) token_file.add(token_lines(text, m));
  json_file.add(dump(result, 2) + "\n");
  check_interrupt();
  files::commit_together(token_file, json_file);
  // A result that goes to standard output has it for itself.
  if (json_file.path() != "-" && token_file.path() != "-") std::cout << said;
}

}  // namespace

command add_score(CLI::App& tool) {
  const auto o = std::make_shared<score_options>();
  CLI::App& app = *tool.add_subcommand(
      "score",
      "NLL, entropy and CLL of a text; with --against, how well they tell it from another");
  app.footer(
      std::string(input_help) +
      "\n\nCLL (phi = log p + entropy) is 0 on average for the model's own text, below 0 for "
      "most foreign\ntext and above 0 for text more peaked than the model; z is its sum in "
      "standard deviations.\n\nidiolect score --in mine.txt --split blank --against "
      "theirs.txt --json result.json");
  app.add_option("--in", o->in, "text to score")->required()->type_name("FILE");
  app.add_option("--against", o->against, "text to tell it from")->type_name("FILE");
  app.add_option("--json", o->json, "write everything as one JSON object")->type_name("FILE");
  app.add_option("--per-token", o->per_token,
                 "write one JSON object a line for each scored token of --in")
      ->type_name("FILE");
  add_model_options(app, o->model);
  add_chat_options(app, o->model);
  add_reading_options(app, o->input);
  const std::string group = "Scoring";
  app.add_flag("--with-end", o->with_end, "score the end of each text too")->group(group);
  app.add_option("--temperature", o->temperature, "ask the model at this temperature (default 1)")
      ->group(group);
  add_optional(app, "--overlap", o->overlap,
               "tokens that windows of a long text share (default: half of the context)")
      ->group(group);
  app.add_option("--streams", o->how.streams, "sequences in the model at once (default 16)")
      ->group(group);
  add_optional(
      app, "--chunk", o->chunk,
      "tokens of a sequence in one call (default 128; for a GGUF 32: llama.cpp computes 64 "
      "and more in another way than texts are written)")
      ->group(group);
  add_seed(app, o->bootstrap.seed, "of the bootstrap intervals", group);
  app.add_option("--bootstrap", o->bootstrap.replicates,
                 "bootstrap replicates of the intervals; 0: none (default 2000)")
      ->group(group);
  app.add_option("--confidence", o->bootstrap.confidence, "of the intervals (default 0.95)")
      ->group(group);
  add_sampler_options(app, o->sampler, "--sampler-temperature",
                      "Centre by a sampler instead of the model (for sampled text)");
  return [o] { run(*o); };
}

}  // namespace tool
