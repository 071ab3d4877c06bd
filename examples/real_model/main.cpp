// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// What examples/real_model.sh needs beside the tool and the trainer: `problems` deals out the
// texts, `page` draws a page of what the stages left and says what it means.

#include <CLI/CLI.hpp>
#include <iostream>

#include "files/process.hpp"
#include "real_model/page.hpp"
#include "real_model/problems.hpp"
#include "tool/errors.hpp"
#include "tool/files.hpp"

namespace {

namespace fs = std::filesystem;

void draw(const fs::path& dir) {
  const auto results = real_model::read_results(dir);
  const auto findings = real_model::find_out(results);
  const std::string summary = real_model::make_summary(results, findings);
  tool::file_plan plan({});
  auto page = plan.output("--out", (dir / "index.html").string());
  auto text = plan.output("--out", (dir / "summary.txt").string());
  page.add(real_model::make_page(results, findings));
  text.add(summary);
  files::commit_together(text, page);
  std::cout << summary << std::flush;
  if (!std::cout) tool::fail("standard output", "could not be written");
}

int failed(int code, const std::string& message) {
  std::cerr << "idiolect_real_model: error: " << files::printable(message) << "\n";
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  files::settle_process();
  CLI::App app("The texts and the page of examples/real_model.sh", "idiolect_real_model");
  app.require_subcommand(1);
  std::string out;
  real_model::choices what;
  bool quick = false;
  auto* const problems = app.add_subcommand("problems", "Deals out the texts of a run");
  problems
      ->add_option("--gsm8k", what.gsm8k,
                   "problems of yours instead of the project\u2019s own: JSON "
                   "Lines with \"question\" and \"answer\"")
      ->type_name("FILE");
  problems->add_option("--model", what.model, "to be noted among the settings");
  problems->add_option("--steps", what.steps, "of training, likewise");
  problems->add_flag("--quick", quick, "fewer of them");
  auto* const page =
      app.add_subcommand("page", "Draws the page from what is there: DIR/index.html");
  for (auto* command : {problems, page}) {
    command->add_option("--out", out, "the run\u2019s folder")->required()->type_name("DIR");
  }
  try {
    app.parse(argc, argv);
    if (problems->parsed()) {
      real_model::deal_problems(out, what,
                                quick ? real_model::sizes::quick() : real_model::sizes{});
    } else {
      draw(out);
    }
    return tool::exit_ok;
  } catch (const CLI::ParseError& e) {
    return e.get_exit_code() == 0 ? app.exit(e) : (app.exit(e), tool::exit_usage);
  } catch (const tool::usage_error& e) {
    return failed(tool::exit_usage, e.what());
  } catch (const idiolect::error& e) {
    return failed(tool::exit_failure, tool::message_of(e));
  } catch (const std::exception& e) {
    return failed(tool::exit_failure, e.what());
  }
}
