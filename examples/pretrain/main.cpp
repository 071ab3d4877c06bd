// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Trains the default model on the synthetic world, measures it, and writes texts of the world.
//
//   idiolect_pretrain --out DIR            model.bin, tokenizer.bin and figures.json
//   idiolect_pretrain --evaluate MODEL     figures of a checkpoint
//   idiolect_pretrain --write-texts DIR    JSON Lines to score and to train on

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>

#include <CLI/CLI.hpp>
#include <idiolect/idiolect.hpp>
#include <nlohmann/json.hpp>

#include "files/process.hpp"
#include "files/shown.hpp"
#include "pretrain/evaluate.hpp"
#include "pretrain/recipe.hpp"
#include "pretrain/texts.hpp"
#include "tiny_llama/checkpoint.hpp"
#include "tiny_llama/file.hpp"
#include "tiny_llama/model.hpp"
#include "tiny_llama/tokenizer.hpp"
#include "world/vocabulary.hpp"

namespace {

using idiolect::index_t;
using clock_type = std::chrono::steady_clock;
using json = nlohmann::ordered_json;

// Test questions have a seed of their own, as the committed texts have.
constexpr std::uint64_t evaluation_seed = 1'000'003;

double seconds_since(clock_type::time_point begin) {
  return std::chrono::duration<double>(clock_type::now() - begin).count();
}

tiny_llama::weights<float> train_with_progress(const pretrain::recipe& recipe,
                                               const idiolect::thread_executor& executor) {
  const bool terminal = isatty(STDERR_FILENO) != 0;
  const auto begin = clock_type::now();
  const index_t every = std::max<index_t>(1, recipe.steps / (terminal ? 200 : 10));
  auto w = pretrain::train(
      recipe, executor, [&](index_t step, const idiolect::loss_report& report, double norm) {
        const index_t done = step + 1;
        if (done % every != 0 && done != recipe.steps) return;
        const double spent = seconds_since(begin);
        const double left =
            spent / static_cast<double>(done) * static_cast<double>(recipe.steps - done);
        std::fprintf(
            stderr, "%sstep %lld of %lld  %s  nll %.3f  gradient %.2f  %.0f s, %.0f s left%s",
            terminal ? "\r" : "", static_cast<long long>(done),
            static_cast<long long>(recipe.steps), pretrain::is_easy(recipe, step) ? "easy" : "full",
            report.mean_nll, norm, spent, left, terminal ? "  " : "\n");
      });
  if (terminal) std::fputc('\n', stderr);
  return w;
}

void print(const json& figures) {
  const auto number = [](const json& j) { return j.get<double>(); };
  std::puts("\naccuracy (greedy)   right  closed   right at temperature 1");
  for (const char* set : {"base", "target"}) {
    const auto& s = figures[set];
    std::printf("%-18s  %5.3f   %5.3f   %5.3f\n", set, number(s["greedy"]["right"]),
                number(s["greedy"]["closed"]), number(s["sampled"]["right"]));
    if (!s.contains("greedy_by_task")) continue;
    for (const auto& [task, a] : s["greedy_by_task"].items()) {
      std::printf("  task %-11s  %5.3f   %5.3f\n", task.c_str(), number(a["right"]),
                  number(a["closed"]));
    }
  }
  std::puts("\ntext, given its question    nll   entropy   mean phi         z");
  for (const char* set : {"base", "target"}) {
    for (const auto& [voice, t] : figures[set]["text"].items()) {
      std::printf("%-8s %-14s  %6.3f    %6.3f    %+7.4f  %8.2f\n", set, voice.c_str(),
                  number(t["nll"]), number(t["entropy"]), number(t["phi"]), number(t["z"]));
    }
  }
  std::puts("\nwith a hint                 right   of these with a wrong step");
  for (const auto& [what, a] : figures["hint"].items()) {
    std::printf("%-26s  %5.3f   %5.3f\n", what.c_str(), number(a["right"]),
                number(a["wrong_trace"]));
  }
}

json measure(const tiny_llama::weights<float>& w, const idiolect::thread_executor& executor,
             std::size_t records) {
  tiny_llama::model<float, idiolect::thread_executor> model(w, {}, executor);
  return pretrain::evaluate(model, evaluation_seed, records);
}

int run(int argc, char** argv) {
  CLI::App app{"Trains idiolect's default model on its synthetic world, and writes texts of it"};
  std::string out;
  std::string evaluated;
  std::string texts;
  pretrain::recipe recipe;
  int threads = 0;
  std::size_t records = 500;
  app.add_option("--out", out, "train, and write model.bin, tokenizer.bin and figures.json here")
      ->type_name("DIR");
  app.add_option("--evaluate", evaluated, "measure a checkpoint instead of training one")
      ->type_name("FILE");
  app.add_option("--write-texts", texts, "write JSON Lines to score and to train on here")
      ->type_name("DIR");
  app.add_option("--seed", recipe.seed, "of the weights and the documents")->capture_default_str();
  app.add_option("--steps", recipe.steps, "optimiser steps")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--threads", threads, "0: one a processor; the result does not depend on it")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--records", records, "questions of each kind to measure with")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  if ((out.empty() && evaluated.empty() && texts.empty()) || (!out.empty() && !evaluated.empty())) {
    std::fputs(
        "idiolect_pretrain: expected one of --out DIR and --evaluate FILE, or --write-texts DIR\n",
        stderr);
    return 2;
  }

  if (!texts.empty()) {
    std::filesystem::create_directories(texts);
    for (const auto& f : pretrain::text_files) {
      const auto bytes = pretrain::write_texts(f, pretrain::text_seed, texts);
      std::printf("%s: %llu records, %zu bytes\n", std::string(f.name).c_str(),
                  static_cast<unsigned long long>(f.records), bytes);
    }
  }
  const idiolect::thread_executor executor(threads);
  if (!evaluated.empty()) print(measure(tiny_llama::read_checkpoint(evaluated), executor, records));
  if (!out.empty()) {
    const std::filesystem::path folder(out);
    std::filesystem::create_directories(folder);
    const auto begin = clock_type::now();
    const auto w = train_with_progress(recipe, executor);
    std::printf("%lld parameters, trained in %.0f s\n", static_cast<long long>(w.size()),
                seconds_since(begin));
    tiny_llama::write_checkpoint(w, folder / "model.bin");
    tiny_llama::write_tokenizer(tiny_llama::character_tokenizer(world::characters),
                                folder / "tokenizer.bin");
    json figures{{"training", {{"seed", recipe.seed}, {"steps", recipe.steps}}}};
    figures.update(measure(w, executor, records));
    tiny_llama::file_writer file(folder / "figures.json");
    file.text(figures.dump(1) + "\n");
    file.commit();
    print(figures);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  files::settle_process();
  try {
    return run(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "idiolect_pretrain: %s\n", files::printable(e.what()).c_str());
    return 1;
  }
}
