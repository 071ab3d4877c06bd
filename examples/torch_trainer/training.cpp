// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "torch_trainer/training.hpp"

#include <cmath>
#include <nlohmann/json.hpp>

#include "tool/errors.hpp"

namespace torch_trainer {

namespace {

using nlohmann::ordered_json;

/// A hash of all that is learned (FNV-1a), so that a run does not go on with other texts.
std::uint64_t fingerprint(const example_set& texts) {
  std::uint64_t hash = 14695981039346656037u;
  const auto add = [&hash](std::uint64_t word) {
    for (int byte = 0; byte < 8; ++byte, word >>= 8) hash = (hash ^ (word & 255)) * 1099511628211u;
  };
  for (const example& e : texts.examples) {
    add(e.tokens.size());
    for (const token_id t : e.tokens) add(static_cast<std::uint64_t>(t));
    for (const token_id t : e.targets) add(static_cast<std::uint64_t>(t));
    add(static_cast<std::uint64_t>(std::llround(1e6 * static_cast<double>(e.weight))));
  }
  return hash;
}

ordered_json loss_json(const tool::gate_choice& c) {
  ordered_json out = {{"name", c.loss}};
  const auto add = [&](const char* name, const auto& value) {
    if (value) out[name] = *value;
  };
  add("beta", c.beta);
  add("gamma_min", c.gamma_min);
  add("gamma_max", c.gamma_max);
  add("gamma_form", c.gamma_form);
  add("bound", c.bound);
  add("warmup", c.warmup);
  add("transition", c.transition);
  add("q", c.q);
  add("theta", c.theta);
  add("alpha", c.alpha);
  add("h_norm", c.h_norm);
  add("t", c.t);
  add("floor", c.floor);
  add("gamma", c.gamma);
  add("protect_end", c.protect_end);
  return out;
}

}  // namespace

void validate(const training& how, const llama_config& model, token_id end) {
  using tool::require_usage;
  require_usage((how.steps > 0) != (how.seconds > 0),
                "expected one of --steps and --seconds, above 0");
  require_usage(
      how.steps >= 0 && how.steps <= 100'000'000 && how.seconds >= 0 && std::isfinite(how.seconds),
      "--steps and --seconds: expected numbers above 0");
  require_usage(how.batch >= 1 && how.batch <= 1'000'000, "--batch: expected a number from 1");
  require_usage(how.micro_batch >= 1, "--micro-batch: expected a number from 1");
  require_usage(how.logit_rows >= 1, "--logit-rows: expected a number from 1");
  const adamw_options& o = how.optimiser;
  require_usage(o.learning_rate > 0 && std::isfinite(o.learning_rate),
                "--lr: expected a number above 0, such as 2e-5");
  require_usage(o.weight_decay >= 0 && std::isfinite(o.weight_decay),
                "--weight-decay: expected a number from 0 up");
  require_usage(o.max_norm >= 0 && std::isfinite(o.max_norm),
                "--clip: expected a number from 0 up (0: no clipping)");
  require_usage(how.rate_warmup >= 0 && how.rate_warmup <= 1,
                "--lr-warmup: expected a share of training from 0 to 1");
  require_usage(how.rate_floor >= 0 && how.rate_floor <= 1,
                "--lr-floor: expected a share of the highest rate from 0 to 1");
  static_cast<void>(tool::make_gate(how.loss, 0, model.vocab_size, end));
}

std::string settings_json(const training& how, const llama_config& model, const example_set& texts,
                          token_id end) {
  ordered_json out = {{"loss", loss_json(how.loss)},
                      {"steps", how.steps},
                      {"seconds", how.seconds},
                      {"batch", how.batch},
                      {"micro_batch", how.micro_batch},
                      {"lr", how.optimiser.learning_rate},
                      {"beta1", how.optimiser.beta1},
                      {"beta2", how.optimiser.beta2},
                      {"weight_decay", how.optimiser.weight_decay},
                      {"clip", how.optimiser.max_norm},
                      {"lr_warmup", how.rate_warmup},
                      {"lr_floor", how.rate_floor},
                      {"logit_rows", how.logit_rows},
                      {"freeze_embeddings", how.freeze_embeddings},
                      {"seed", how.seed},
                      {"end_token", end},
                      {"examples", texts.examples.size()},
                      {"texts", fingerprint(texts)},
                      {"model", ordered_json::parse(to_json(model, "float32"))}};
  return out.dump();
}

}  // namespace torch_trainer
