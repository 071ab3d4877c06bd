// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The study: the method of arXiv 2602.12222 beside what people use instead, on tiny models.
//
//   idiolect_study --quick      one seed, the main methods
//   idiolect_study --full       several seeds, every method, and a real model if its files are
//   there
//
// Writes report.json, index.html and some of its pictures; a run that was interrupted goes on where
// it stood.

#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "files/process.hpp"
#include "files/shown.hpp"
#include "study/datasets.hpp"
#include "study/detection.hpp"
#include "study/evaluation.hpp"
#include "study/methods.hpp"
#include "study/pictures.hpp"
#include "study/real_text.hpp"
#include "study/report.hpp"
#include "study/style.hpp"
#include "tiny_llama/file.hpp"

namespace {

namespace fs = std::filesystem;
using study::json;

struct options {
  bool full = false;
  bool quick = false;
  bool restart = false;
  bool strict = false;
  int seeds = 0;
  int jobs = 0;
  std::string out;
  std::string data = IDIOLECT_STUDY_DATA_DIR;
  // 0: as the kind of run has it.
  std::size_t records = 0;
  std::size_t questions = 0;
  std::size_t detected = 0;
  idiolect::index_t steps = 0;
};

study::settings settings_of(const options& o) {
  auto how = o.full ? study::settings{} : study::settings::quick();
  if (o.records > 0) how.records = o.records;
  if (o.questions > 0) how.questions = o.questions;
  if (o.detected > 0) how.detected = o.detected;
  if (o.steps > 0) how.steps = o.steps;
  return how;
}

/// What a run consists of: all of a table, or the parts that a quick run has.
template <class Table>
auto chosen(const Table& table, bool full) {
  std::vector<const typename Table::value_type*> rows;
  for (const auto& row : table) {
    if (full || row.quick) rows.push_back(&row);
  }
  return rows;
}

void run_seeds(const options& o, const study::settings& how, const study::store& results,
               const std::vector<std::uint64_t>& seeds, const idiolect::thread_executor& workers) {
  const fs::path default_model = fs::path(IDIOLECT_DEFAULT_MODEL_DIR) / "model.bin";
  std::vector<study::stage> stages;
  for (const auto seed : seeds) {
    stages.push_back({study::lab::stage(seed, "base"),
                      [&, seed] { return make_base(how, results, seed, default_model); }});
  }
  run_stages("base models", stages, results, workers);

  std::vector<study::lab> labs;
  for (const auto seed : seeds) labs.push_back(open_lab(how, results, seed));
  const bool real = o.full && study::has_real_data(o.data);
  stages = real ? study::real_text_data(how, results, o.data) : std::vector<study::stage>{};
  for (const auto& l : labs) {
    stages.push_back({l.stage("detection"), [&] { return detect(l); }});
    stages.push_back({l.stage("before"), [&] { return evaluate(l, l.base); }});
    for (const auto* recipe : chosen(study::data_recipes(), o.full)) {
      stages.push_back(
          {l.stage("data/" + recipe->name), [&l, recipe] { return make_data(l, *recipe); }});
    }
    if (o.full) stages.push_back({l.stage("data/pairs"), [&l] { return make_pairs(l); }});
  }
  run_stages("detection and data", stages, results, workers);

  stages = real ? study::real_text_runs(how, results, o.data) : std::vector<study::stage>{};
  for (const auto& l : labs) {
    if (&l == &labs.front()) stages.push_back({l.stage("gallery"), [&l] { return gallery(l); }});
    for (const auto* m : chosen(study::methods(), o.full)) {
      for (const double rate : how.rates) {
        stages.push_back(
            {l.stage(method_stage(*m, rate)), [&l, m, rate] { return run_method(l, *m, rate); }});
      }
    }
  }
  run_stages("fine-tuning", stages, results, workers);
}

void write(const fs::path& path, const std::string& bytes) {
  tiny_llama::file_writer out(path);
  out.text(bytes);
  out.commit();
}

// The pictures that may be wanted elsewhere.
void write_pictures(const fs::path& out, const json& report) {
  const auto& gallery = report.at("gallery");
  const double rate = report.at("settings").at("rates").back().get<double>();
  write(out / "paths.svg", study::standalone(study::path_picture(gallery)));
  write(out / "histograms.svg", study::standalone(study::histogram_picture(gallery)));
  write(out / "weights.svg", study::standalone(study::weight_picture(gallery)));
  write(out / "detection.svg", study::standalone(study::detection_picture(report.at("detection"))));
  write(out / "plane.svg", study::standalone(study::plane_picture(report, rate)));
}

int run(int argc, char** argv) {
  options o;
  CLI::App app{"The claims of arXiv 2602.12222 in miniature, beside what people use instead"};
  app.add_flag("--quick", o.quick, "one seed, the main methods (the default)")
      ->excludes(app.add_flag("--full", o.full, "several seeds, every method, real text"));
  app.add_option("--seeds", o.seeds, "how many (default: quick 1, full 5)")
      ->check(CLI::Range(1, 1000));
  app.add_option("--out", o.out, "folder of the results (default: study-quick or study-full)")
      ->type_name("DIR");
  app.add_option("--data", o.data, "folder with a real model and texts")
      ->type_name("DIR")
      ->capture_default_str();
  app.add_option("--jobs", o.jobs, "stages at a time; 0: one a processor")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--records", o.records, "questions to train on")->group("Sizes");
  app.add_option("--questions", o.questions, "questions of each kind to measure with")
      ->group("Sizes");
  app.add_option("--detected", o.detected, "texts of each corpus to tell apart")->group("Sizes");
  app.add_option("--steps", o.steps, "of fine-tuning")->group("Sizes");
  app.add_flag("--restart", o.restart, "begin anew, not where an earlier run stood");
  app.add_flag("--strict", o.strict, "exit with 3 if a check fails");
  CLI11_PARSE(app, argc, argv);

  const auto how = settings_of(o);
  const fs::path out = !o.out.empty() ? o.out : o.full ? "study-full" : "study-quick";
  if (o.restart) fs::remove_all(out / "stages");
  const study::store results(out / "stages", how);
  std::vector<std::uint64_t> seeds(static_cast<std::size_t>(o.seeds > 0 ? o.seeds
                                                            : o.full    ? 5
                                                                        : 1));
  for (std::size_t i = 0; i < seeds.size(); ++i) seeds[i] = i + 1;

  const study::stopwatch all;
  run_seeds(o, how, results, seeds, idiolect::thread_executor(o.jobs));
  study::figures figures(results, seeds);
  json report = make_report(figures, how);
  report["real"] = real_text_report(results, o.data);
  write(out / "report.json", report.dump(1) + "\n");
  write(out / "index.html", study::make_page(report));
  write_pictures(out, report);
  study::print_report(report);
  const bool held = study::all_hold(report);
  const auto failed = std::ranges::count_if(
      report.at("checks"), [](const json& c) { return !c.at("holds").get<bool>(); });
  std::printf("\n%s: %zu checks, %td FAILED. %.0f s. The page: %s\n",
              held ? "All checks hold" : "NOT all checks hold", report.at("checks").size(), failed,
              all.seconds(), (out / "index.html").string().c_str());
  return held || !o.strict ? 0 : 3;
}

}  // namespace

int main(int argc, char** argv) {
  files::settle_process();
  try {
    return run(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "idiolect_study: %s\n", files::printable(e.what()).c_str());
    return 1;
  }
}
