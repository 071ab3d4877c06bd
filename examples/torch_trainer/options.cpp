// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "torch_trainer/options.hpp"

#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "tool/errors.hpp"
#include "tool/files.hpp"
#include "torch_trainer/model_files.hpp"

namespace torch_trainer {

namespace {

template <class T>
CLI::Option* add_optional(CLI::App& app, const std::string& name, std::optional<T>& value,
                          const std::string& help) {
  return app.add_option_function<T>(
      name, [&value](const T& given) { value = given; }, help);
}

void add_loss_options(CLI::App& app, tool::gate_choice& loss) {
  const std::string group = "Loss";
  const auto number = [&](const std::string& name, std::optional<double>& value,
                          const std::string& help) {
    add_optional(app, name, value, help)->group(group);
  };
  app.add_option_function<std::string>(
         "--loss", [&loss](const std::string& name) { loss.loss = name == "nll" ? "sft" : name; },
         "weight of each token; see below (default sft, also called nll)")
      ->type_name("NAME")
      ->group(group);
  number("--beta", loss.beta, "idft: softness of gamma (default 1)");
  number("--gamma-min", loss.gamma_min, "idft: (default 0.1)");
  number("--gamma-max", loss.gamma_max, "idft: (default 2)");
  add_optional(app, "--gamma-form", loss.gamma_form, "idft: clamp_gamma (default) or clamp_phi")
      ->type_name("FORM")
      ->group(group);
  number("--bound", loss.bound, "idft, clamp_phi: nats (default 5)");
  number("--warmup", loss.warmup, "idft: share of training that is dft first (default 0)");
  number("--transition", loss.transition, "idft: share over which gamma comes in (default 0)");
  number("--q", loss.q, "power: exponent (default 1)");
  number("--theta", loss.theta, "power, profit, phi-mask: threshold");
  number("--alpha", loss.alpha, "eaft: exponent (default 1)");
  number("--h-norm", loss.h_norm, "eaft: entropy that counts as 1, nats");
  number("--t", loss.t, "talr: temperature (default 1)");
  number("--floor", loss.floor, "talr: least weight (default 0.01)");
  number("--gamma", loss.gamma, "reverse: exponent (default 1)");
  number("--protect-end", loss.protect_end, "any: fixed weight of the end token");
}

void add_training_options(CLI::App& app, options& o) {
  const std::string group = "Training";
  training& t = o.how;
  app.add_option("--steps", t.steps, "steps of the optimiser (default 100)")->group(group);
  app.add_option("--seconds", t.seconds,
                 "train this long instead; the schedules then follow the clock, so that no two "
                 "runs are alike")
      ->group(group);
  app.add_option("--batch", t.batch, "examples in a step (default 8)")->group(group);
  app.add_option("--micro-batch", t.micro_batch,
                 "examples that go through the model at once (default 4): memory, not results")
      ->group(group);
  app.add_option("--lr", t.optimiser.learning_rate, "AdamW's highest learning rate (default 2e-5)")
      ->group(group);
  app.add_option("--lr-warmup", t.rate_warmup,
                 "share of training over which the rate rises (default 0.05)")
      ->group(group);
  app.add_option("--lr-floor", t.rate_floor, "last rate over the highest (default 0)")
      ->group(group);
  app.add_option("--weight-decay", t.optimiser.weight_decay, "of matrices (default 0.01)")
      ->group(group);
  app.add_option("--clip", t.optimiser.max_norm,
                 "largest norm of the gradient; 0: no clipping (default 1)")
      ->group(group);
  app.add_flag("--freeze-embeddings", t.freeze_embeddings,
               "leave the embedding and the head as they are")
      ->group(group);
  app.add_option("--logit-rows", t.logit_rows,
                 "rows of logits that exist at a time (default 512): memory, not results")
      ->group(group);
  app.add_option("--seed", t.seed, "of the order of the examples (default 0)")->group(group);
  app.add_option("--threads", o.threads, "LibTorch's threads (default: its own choice)")
      ->group(group);
}

void add_file_options(CLI::App& app, options& o) {
  app.add_option("--model", o.model,
                 "GGUF file, or a folder with config.json and model.safetensors")
      ->required()
      ->type_name("FILE");
  app.add_option("--tokenizer", o.tokenizer, "GGUF file with the tokenizer (default: the model)")
      ->type_name("FILE");
  app.add_option("--train", o.train, "JSON Lines to train on")->required()->type_name("FILE");
  app.add_option("--eval", o.eval, "held-out JSON Lines, scored before and after")
      ->type_name("FILE");
  app.add_option("--out", o.out, "folder for model.safetensors, config.json and report.json")
      ->required()
      ->type_name("DIR");
  app.add_option("--resume", o.resume, "go on from a state.safetensors")->type_name("FILE");
  app.add_option("--eval-every", o.eval_every, "score the held-out text every N steps too")
      ->type_name("N");
  app.add_option("--save-every", o.save_every,
                 "write DIR/state.safetensors every N steps and at the end (default 0: never)")
      ->type_name("N");
  app.add_option("--stop-after", o.stop_after, "end this run after N steps, to be resumed")
      ->type_name("N");
  app.add_option("--log-every", o.log_every, "a line every N steps in a log (default 10)")
      ->type_name("N");
  app.add_option("--samples", o.samples, "answer N held-out prompts at the end, greedily")
      ->type_name("N");
  app.add_option("--dtype", o.stored, "of the written weights: f32 (default), f16, bf16")
      ->transform(CLI::CheckedTransformer(std::map<std::string, dtype>{
          {"f32", dtype::f32}, {"f16", dtype::f16}, {"bf16", dtype::bf16}}))
      ->type_name("");
  app.add_option("--max-tokens", o.how_to_read.max_tokens,
                 "cut longer texts at their ends (default 1024)")
      ->type_name("N");
  app.add_flag("--plain", o.how_to_read.plain, "no chat template, though the model has one");
  add_optional(app, "--system", o.how_to_read.system, "a system turn in front of each conversation")
      ->type_name("TEXT");
}

}  // namespace

void add_options(CLI::App& app, options& o) {
  std::string losses = "Losses, as the weight w of each token's -log p (w is held constant):\n";
  for (const auto& [name, help] : tool::loss_list()) {
    losses +=
        "  " + name + std::string(13 - std::min<std::size_t>(12, name.size()), ' ') + help + "\n";
  }
  app.footer(losses +
             "\nRecords have \"question\" or \"prompt\" and \"answer\" or \"completion\", or "
             "\"messages\" (turns with\n\"role\" and \"content\"), or \"tokens\" and "
             "\"prompt_tokens\"; an optional \"weight\" multiplies the loss.\n\n"
             "torch_trainer --model model.gguf --train new.jsonl --eval held-out.jsonl --loss idft "
             "--out tuned");
  add_file_options(app, o);
  add_loss_options(app, o.how.loss);
  add_training_options(app, o);
}

void check(options& o) {
  using tool::require_usage;
  if (o.how.seconds > 0) o.how.steps = 0;
  for (const auto& [name, value] : {std::pair("--threads", o.threads),
                                    {"--eval-every", o.eval_every},
                                    {"--save-every", o.save_every},
                                    {"--stop-after", o.stop_after},
                                    {"--samples", o.samples}}) {
    require_usage(value >= 0, std::string(name) + ": expected a number from 0");
  }
  require_usage(o.log_every >= 1, "--log-every: expected a number from 1");
  require_usage(o.how_to_read.max_tokens >= 1, "--max-tokens: expected a number from 1");
  require_usage(!o.eval.empty() || (o.eval_every == 0 && o.samples == 0),
                "--eval-every and --samples need --eval");
  require_usage(o.stop_after == 0 || o.save_every > 0,
                "--stop-after ends before the training does: give --save-every, to resume it");

  std::error_code failure;
  const std::filesystem::path out(o.out);
  std::filesystem::create_directories(out, failure);
  if (failure) tool::fail(o.out, "cannot be made a folder: " + failure.message());
  const bool folder = std::filesystem::is_directory(o.model, failure);
  std::vector<tool::named_file> inputs = {
      {"--model", folder ? weights_file(o.model).string() : o.model},
      {"--model", folder ? config_file(o.model).string() : std::string()},
      {"--tokenizer", o.tokenizer},
      {"--train", o.train},
      {"--eval", o.eval}};
  // A state may be replaced by the one that goes on from it.
  if (o.save_every > 0) {
    static_cast<void>(tool::file_plan(inputs).claim("--out", state_file(out).string()));
  }
  inputs.push_back({"--resume", o.resume});
  tool::file_plan results(std::move(inputs));
  for (const auto& file : {weights_file(out), config_file(out), report_file(out)}) {
    static_cast<void>(results.claim("--out", file.string()));
  }
}

}  // namespace torch_trainer
