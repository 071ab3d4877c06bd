// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// idiolect finetune: trains a model on a text with any gate, and says what it learned and forgot.

#include <chrono>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "tiny_llama/checkpoint.hpp"
#include "tool/commands.hpp"
#include "tool/files.hpp"
#include "tool/interrupt.hpp"
#include "tool/options.hpp"
#include "tool/report.hpp"
#include "tool/trainer.hpp"

namespace tool {

namespace {

struct finetune_options {
  model_choice model;
  reading_choice input;
  std::string in;
  std::string eval;
  std::string retain;
  std::string out;
  std::string json;
  std::string reduction = "mean";
  std::string schedule = "constant";
  bool no_end = false;
  training how;
};

/// A text before and after training.
struct measured {
  std::string key;
  std::string name;
  std::string path;
  std::vector<sequence> texts;
  text_figures before{};
  text_figures after{};
};

nlohmann::ordered_json figures_json(const text_figures& f) {
  auto out = to_json(f.score);
  if (f.ends > 0) out["end_prob"] = f.end_prob;
  return out;
}

nlohmann::ordered_json step_json(const step_report& s) {
  nlohmann::ordered_json out = {{"step", s.step},
                                {"loss", s.loss.loss},
                                {"mean_nll", s.loss.mean_nll},
                                {"mean_phi", s.loss.phi.mean},
                                {"mean_weight", s.loss.weight.mean},
                                {"tokens", s.loss.valid},
                                {"gradient_norm", s.gradient_norm},
                                {"learning_rate", s.rate}};
  if (s.loss.end_prob.count > 0) out["end_prob"] = s.loss.end_prob.mean;
  return out;
}

std::string words(const measured& m) {
  if (m.before.score.tokens == 0 || m.after.score.tokens == 0) {
    return m.name + ": no token could be scored.\n";
  }
  const double change = m.after.score.mean_nll() - m.before.score.mean_nll();
  const bool retained = m.key == "retain";
  std::string said = m.name + ": NLL " + std::string(change <= 0 ? "fell" : "rose") + " by " +
                     fixed(std::fabs(change), 3) + " nats a token";
  if (std::fabs(change) < 0.005) {
    said += retained ? "; what the model had is untouched." : "; next to nothing was learned.";
  } else if (change > 0) {
    said += retained ? ": that much of it was forgotten." : ": training made it less likely.";
  } else {
    said += retained ? ": nothing was forgotten here." : ": that much was learned.";
  }
  if (m.before.ends > 0 && m.after.end_prob < 0.5 * m.before.end_prob) {
    said +=
        " Its texts close less often than before: look at p(end); --gamma-max 1 or "
        "--protect-end 1 may help.";
  }
  return said + "\n";
}

std::string figures_table(const std::vector<measured>& all) {
  table rows({"", "NLL", "perplexity", "CLL", "z", "p(end)"});
  for (const measured& m : all) {
    for (const bool after : {false, true}) {
      const text_figures& f = after ? m.after : m.before;
      rows.row({m.name + (after ? ", after" : ", before"), fixed(f.score.mean_nll(), 4),
                fixed(f.score.perplexity(), 3), fixed(f.score.mean_phi(), 4), fixed(f.score.z(), 1),
                f.ends > 0 ? fixed(f.end_prob, 3) : "-"});
    }
  }
  return rows.str();
}

void run(finetune_options o) {
  const reading read_as = o.input.parse(o.model);
  o.how.cosine = o.schedule == "cosine";
  o.how.sequence_mean = o.reduction == "sequence";
  const executor workers = make_executor(o.model);
  auto files = files_of(o.model);
  files.insert(files.end(), {{"--in", o.in}, {"--eval", o.eval}, {"--retain", o.retain}});
  file_plan plan(std::move(files));
  const auto checkpoint = plan.claim("--out", o.out);
  output_file json_file = plan.output("--json", o.json);

  const loaded_model m = load(o.model);
  const llama2c_model& trained = m.trainable("finetune");
  validate(o.how, trained.weights.shape(), m.end);
  const auto read = [&](const std::string& path) {
    std::vector<sequence> texts;
    for (const record& r : read_records(path, read_as)) {
      texts.push_back(encode(m, r, !o.no_end));
    }
    return texts;
  };
  const std::vector<sequence> texts = read(o.in);
  std::vector<measured> all;
  all.push_back(o.eval.empty() ? measured{"eval", "trained text", o.in, texts}
                               : measured{"eval", "held-out text", o.eval, read(o.eval)});
  if (!o.retain.empty()) all.push_back({"retain", "retained text", o.retain, read(o.retain)});

  for (measured& t : all) {
    t.before = evaluate(trained.weights, m, t.texts, o.how.overlap, workers, "before: " + t.path);
  }
  auto weights = trained.weights;
  const auto begin = std::chrono::steady_clock::now();
  const auto steps = train(weights, texts, m.end, o.how, workers, "training");
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  for (measured& t : all) {
    t.after = evaluate(weights, m, t.texts, o.how.overlap, workers, "after: " + t.path);
  }

  index_t tokens = 0;
  for (const auto& s : steps) tokens += s.loss.valid;
  auto result = heading("finetune", m);
  result["loss"] = o.how.loss.loss;
  result["out"] = o.out;
  result["options"] = {{"steps", o.how.steps},
                       {"batch", o.how.batch},
                       {"learning_rate", o.how.optimiser.learning_rate},
                       {"schedule", o.schedule},
                       {"weight_decay", o.how.optimiser.weight_decay},
                       {"clip", o.how.optimiser.max_norm},
                       {"reduction", o.reduction},
                       {"seed", o.how.seed}};
  result["sequences"] = texts.size();
  result["trained_tokens"] = tokens;
  result["seconds"] = seconds;
  for (const measured& t : all) {
    result[t.key] = {
        {"file", t.path}, {"before", figures_json(t.before)}, {"after", figures_json(t.after)}};
  }
  auto& curve = result["curve"] = nlohmann::ordered_json::array();
  for (const auto& s : steps) curve.push_back(step_json(s));
  json_file.add(dump(result, 2) + "\n");

  check_interrupt();
  tiny_llama::file_writer model_file(checkpoint);
  tiny_llama::put_checkpoint(weights, model_file);
  files::commit_together(model_file, json_file);
  if (json_file.path() == "-") return;
  std::cout << "model: " << describe(m) << "\n"
            << "trained with " << o.how.loss.loss << " on " << printable(o.in) << ": "
            << counted(static_cast<long long>(texts.size()), "sequence") << ", "
            << counted(o.how.steps, "step") << " of " << o.how.batch << ", "
            << counted(tokens, "token") << " in " << fixed(seconds, 1) << " s ("
            << fixed(static_cast<double>(tokens) / std::max(seconds, 1e-9), 0) << " tokens/s)\n\n"
            << figures_table(all) << "\n";
  for (const measured& t : all) std::cout << words(t);
  std::cout << "written: " << printable(o.out) << "\n";
}

void add_loss_options(CLI::App& app, gate_choice& loss) {
  const std::string group = "Loss";
  const auto number = [&](const std::string& name, std::optional<double>& value,
                          const std::string& help) {
    add_optional(app, name, value, help)->group(group);
  };
  app.add_option("--loss", loss.loss, "weight of each token; see below (default sft)")
      ->type_name("NAME")
      ->group(group);
  number("--beta", loss.beta, "idft: softness of gamma (default 1)");
  number("--gamma-min", loss.gamma_min, "idft: (default 0.1)");
  number("--gamma-max", loss.gamma_max, "idft: (default 2); 1 keeps rare closing tokens alive");
  add_optional(app, "--gamma-form", loss.gamma_form,
               "idft: clamp_gamma (default, the authors' code) or clamp_phi (the paper)")
      ->type_name("FORM")
      ->group(group);
  number("--bound", loss.bound, "idft, clamp_phi: nats (default 5)");
  number("--warmup", loss.warmup, "idft: fraction of the steps trained as dft first (default 0)");
  number("--transition", loss.transition, "idft: fraction over which gamma comes in (default 0)");
  number("--q", loss.q, "power: exponent (default 1)");
  number("--theta", loss.theta, "power, profit, phi-mask: threshold");
  number("--alpha", loss.alpha, "eaft: exponent (default 1)");
  number("--h-norm", loss.h_norm, "eaft: entropy that counts as 1, nats");
  number("--t", loss.t, "talr: temperature (default 1)");
  number("--floor", loss.floor, "talr: least weight (default 0.01)");
  number("--gamma", loss.gamma, "reverse: exponent (default 1)");
  number("--protect-end", loss.protect_end, "any: fixed weight of the end token");
}

}  // namespace

command add_finetune(CLI::App& tool) {
  const auto o = std::make_shared<finetune_options>();
  CLI::App& app = *tool.add_subcommand(
      "finetune", "Train on a text with SFT, IDFT or another gate; says what is learned and lost");
  std::string losses = "Losses, as the weight w of each token's -log p (w is held constant):\n";
  for (const auto& [name, help] : loss_list()) {
    losses +=
        "  " + name + std::string(13 - std::min<std::size_t>(12, name.size()), ' ') + help + "\n";
  }
  app.footer(
      losses + "\n" + input_help +
      "\nA record's \"weight\" multiplies its loss. The end of each text is trained too.\n\n"
      "idiolect finetune --loss idft --in new.jsonl --eval held-out.jsonl --retain old.jsonl "
      "--out tuned.bin");
  app.add_option("--in", o->in, "text to train on")->required()->type_name("FILE");
  app.add_option("--out", o->out, "checkpoint to write")->required()->type_name("FILE");
  app.add_option("--eval", o->eval, "held-out text of the new kind (default: the trained text)")
      ->type_name("FILE");
  app.add_option("--retain", o->retain, "text the model should not forget")->type_name("FILE");
  app.add_option("--json", o->json, "write figures and the training curve as a JSON object")
      ->type_name("FILE");
  add_model_options(app, o->model);
  add_reading_options(app, o->input);
  add_loss_options(app, o->how.loss);
  const std::string group = "Training";
  app.add_option("--steps", o->how.steps, "optimiser steps (default 100)")->group(group);
  app.add_option("--batch", o->how.batch, "sequences in a step (default 16)")->group(group);
  app.add_option("--lr", o->how.optimiser.learning_rate, "AdamW's learning rate (default 1e-4)")
      ->group(group);
  app.add_option("--lr-schedule", o->schedule, "`constant` (default), or `cosine` down to 0")
      ->check(CLI::IsMember({"constant", "cosine"}))
      ->type_name("")
      ->group(group);
  app.add_option("--lr-warmup", o->how.rate_warmup, "steps over which the rate rises (default 0)")
      ->group(group);
  app.add_option("--weight-decay", o->how.optimiser.weight_decay, "of matrices (default 0.01)")
      ->group(group);
  app.add_option("--clip", o->how.optimiser.max_norm,
                 "largest norm of the gradient; 0: no clipping (default 1)")
      ->group(group);
  app.add_option("--reduction", o->reduction,
                 "mean of a step over its tokens (`mean`, default) or its sequences (`sequence`)")
      ->check(CLI::IsMember({"mean", "sequence"}))
      ->type_name("")
      ->group(group);
  add_seed(app, o->how.seed, "of the order of the texts", group);
  app.add_flag("--no-end", o->no_end, "do not add (and train) the end token")->group(group);
  add_optional(app, "--overlap", o->how.overlap,
               "tokens that windows of a long text share (default: half of the context)")
      ->group(group);
  return [o] { run(*o); };
}

}  // namespace tool
