// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "torch_trainer/run.hpp"

#include <ATen/Parallel.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "tool/errors.hpp"
#include "tool/interrupt.hpp"
#include "tool/text.hpp"
#include "torch_trainer/trainer.hpp"
#include "torch_trainer/training_log.hpp"
#include "torch_trainer/weights.hpp"

namespace torch_trainer {

namespace fs = std::filesystem;

namespace {

using nlohmann::ordered_json;

ordered_json figures_json(const idiolect::loss_report& r) {
  ordered_json out = {{"targets", r.valid}, {"nll", r.mean_nll}, {"phi", r.phi.mean}};
  if (r.end_prob.count > 0) out["end_prob"] = r.end_prob.mean;
  return out;
}

ordered_json step_json(const step_report& s) {
  ordered_json out = figures_json(s.loss);
  out["step"] = s.step;
  out["loss"] = s.loss.loss;
  out["weight"] = s.loss.weight.mean;
  out["gradient_norm"] = s.gradient_norm;
  out["learning_rate"] = s.rate;
  out["tokens"] = s.tokens;
  out["seconds"] = s.seconds;
  return out;
}

double peak_mebibytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

/// What a run has read, and where it stands.
struct session {
  options o;
  llama model;
  std::unique_ptr<text_encoder> encoder;
  example_set texts;
  example_set held_out;
  token_id end = -1;
  ordered_json evaluations = ordered_json::array();
  ordered_json steps = ordered_json::array();

  /// Scores the held-out text, if there is one; returns a line about it.
  std::string score_held_out(index_t step) {
    const auto report = evaluate(model, held_out, end, o.how);
    evaluations.push_back(figures_json(report));
    evaluations.back()["step"] = step;
    return "held-out text after " + tool::counted(step, "step") + ": " + figures(report);
  }
};

session open(options o) {
  if (o.threads > 0) at::set_num_threads(static_cast<int>(o.threads));
  std::error_code ignored;
  session s{.o = std::move(o),
            .model = load_model(s.o.model),
            .encoder = {},
            .texts = {},
            .held_out = {}};
  if (!s.o.tokenizer.empty() || !fs::is_directory(s.o.model, ignored)) {
    s.encoder = open_text_encoder(s.o.tokenizer.empty() ? s.o.model : s.o.tokenizer);
    if (s.encoder->vocab_size() > s.model.config().vocab_size) {
      tool::fail(s.o.tokenizer, "its tokenizer has " + std::to_string(s.encoder->vocab_size()) +
                                    " tokens, the model " +
                                    std::to_string(s.model.config().vocab_size));
    }
  }
  s.end = s.encoder ? s.encoder->end() : s.model.config().eos_token_id.value_or(-1);
  s.o.how_to_read.vocab_size = s.model.config().vocab_size;
  s.o.how_to_read.max_tokens =
      std::min(s.o.how_to_read.max_tokens, s.model.config().max_position_embeddings);
  const auto read = [&](const std::string& path) {
    example_set set = read_examples(path, s.encoder.get(), s.o.how_to_read);
    std::cerr << tool::printable(path) << ": "
              << tool::counted(static_cast<long long>(set.examples.size()), "example") << ", "
              << tool::counted(set.trained(), "target")
              << (set.cut > 0 ? ", " + std::to_string(set.cut) + " cut to " +
                                    std::to_string(s.o.how_to_read.max_tokens) + " tokens"
                              : "")
              << (set.empty > 0 ? ", " + std::to_string(set.empty) + " left out" : "") << "\n";
    return set;
  };
  s.texts = read(s.o.train);
  if (!s.o.eval.empty()) s.held_out = read(s.o.eval);
  return s;
}

/// Trains until the end, or until this run's share of it is done. Returns whether it is the end.
bool train(session& s, trainer& t, double spent, double& tokens_per_second) {
  const options& o = s.o;
  const fs::path state = state_file(o.out);
  const index_t first = t.steps_done();
  training_log log(o.how, first, spent, o.log_every);
  double last_step = 0;
  const auto by_clock = [&] { return o.how.seconds > 0; };
  // The clock may end in the middle of a step: one that would end late by more than half is left.
  const auto finished = [&] {
    return by_clock() ? t.steps_done() > first && spent + last_step / 2 > o.how.seconds
                      : t.steps_done() >= o.how.steps;
  };
  try {
    while (!finished() && (o.stop_after == 0 || t.steps_done() < first + o.stop_after)) {
      const auto step = static_cast<double>(t.steps_done());
      const auto steps = static_cast<double>(o.how.steps);
      const double progress = by_clock()  ? std::min(1.0, spent / o.how.seconds)
                              : steps > 1 ? step / (steps - 1)
                                          : 1.0;
      // The middle of the step, as the share of all.
      const auto rate_progress = [&](double seconds) {
        return by_clock() ? std::min(1.0, (spent + seconds / 2) / o.how.seconds)
                          : (step + 0.5) / steps;
      };
      const step_report report = t.step(progress, rate_progress);
      spent += last_step = report.seconds;
      s.steps.push_back(step_json(report));
      log.add(report, finished());
      if (o.eval_every > 0 && t.steps_done() % o.eval_every == 0 && !finished()) {
        log.say(s.score_held_out(t.steps_done()));
      }
      if (o.save_every > 0 && t.steps_done() % o.save_every == 0 && !finished()) {
        t.save(state, spent);
      }
    }
  } catch (tool::interrupted& stop) {
    if (o.save_every > 0) {
      t.save(state, spent);
      stop.left = "go on with --resume " + state.string();
    }
    throw;
  }
  if (o.save_every > 0) t.save(state, spent);
  tokens_per_second = log.tokens_per_second();
  return finished();
}

void answer_prompts(const session& s) {
  if (!s.encoder) return;
  const std::size_t n = std::min(s.held_out.examples.size(), static_cast<std::size_t>(s.o.samples));
  for (const example& e : std::span(s.held_out.examples).first(n)) {
    const auto answer =
        std::ranges::find_if(e.targets, [](token_id t) { return t != idiolect::ignored_target; });
    const auto prompt =
        std::span(e.tokens).first(static_cast<std::size_t>(answer - e.targets.begin()) + 1);
    std::string asked, said;
    for (const token_id t : prompt) s.encoder->append_piece(t, asked);
    for (const token_id t : greedy(s.model, prompt, std::span(&s.end, 1), 256)) {
      s.encoder->append_piece(t, said);
    }
    std::cout << "\n" << tool::printable(asked) << "\n--> " << tool::printable(said) << "\n";
  }
}

}  // namespace

void run(options o) {
  check(o);
  session s = open(std::move(o));
  trainer t(s.model, s.texts, s.end, s.o.how);
  const double spent = s.o.resume.empty() ? 0 : t.resume(s.o.resume);
  if (!s.o.eval.empty()) std::cerr << s.score_held_out(t.steps_done()) << "\n";

  double tokens_per_second = 0;
  const bool finished = train(s, t, spent, tokens_per_second);
  if (!s.o.eval.empty()) std::cerr << s.score_held_out(t.steps_done()) << "\n";
  if (!finished) {
    std::cerr << "stopped after " << tool::counted(t.steps_done(), "step")
              << "; go on with --resume " << tool::printable(state_file(s.o.out).string()) << "\n";
    return;
  }
  ordered_json report = {
      {"program", "torch_trainer"},
      {"model", s.o.model},
      {"train",
       {{"file", s.o.train},
        {"examples", s.texts.examples.size()},
        {"targets", s.texts.trained()},
        {"cut", s.texts.cut}}},
      {"settings", ordered_json::parse(settings_json(s.o.how, s.model.config(), s.texts, s.end))},
      {"threads", at::get_num_threads()},
      {"tokens_per_second", tokens_per_second},
      {"peak_mebibytes", peak_mebibytes()},
      {"eval", {{"file", s.o.eval}, {"curve", s.evaluations}}},
      {"steps", s.steps}};
  tool::check_interrupt();
  save_model(s.model, s.o.out, s.o.stored);
  files::write_file(report_file(s.o.out),
                    report.dump(1, ' ', false, ordered_json::error_handler_t::replace) + "\n");
  std::cout << "trained " << tool::counted(t.steps_done(), "step") << " with " << s.o.how.loss.loss
            << ", " << tool::fixed(tokens_per_second, 0) << " tokens/s, peak "
            << tool::fixed(peak_mebibytes(), 0) << " MiB\nwritten: " << tool::printable(s.o.out)
            << "\n";
  answer_prompts(s);
}

}  // namespace torch_trainer
