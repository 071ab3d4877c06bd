// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// idiolect: measures and trains language models on their own way of speaking, from a shell.
// Results go to standard output, progress and errors to standard error.
// Exit codes: 0 done, 1 an input or an output cannot be used, 2 wrong options.

#include <poll.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <iostream>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include <idiolect/core/error.hpp>
#include <idiolect/version.hpp>

#include "files/error.hpp"
#include "files/process.hpp"
#include "files/shown.hpp"
#include "tool/commands.hpp"
#include "tool/errors.hpp"
#include "tool/interrupt.hpp"

namespace {

int failed(int code, const std::string& message) {
  std::cerr << "idiolect: error: " << files::printable(message) << "\n";
  return code;
}

/// What was wrong with the command line, and where its help is.
std::string explain(const CLI::ParseError& e, const CLI::App& app) {
  std::string help = "idiolect --help";
  for (const auto* sub : app.get_subcommands()) help = "idiolect " + sub->get_name() + " --help";
  std::string message = e.what();
  const auto extras = app.remaining(true);
  if (dynamic_cast<const CLI::ConversionError*>(&e) != nullptr) {
    const std::string prefix = "Could not convert: ";
    if (message.starts_with(prefix)) message.erase(0, prefix.size());
    message += ": expected a number (a whole one if it counts something)";
  } else if (app.get_subcommands().empty()) {
    std::string names;
    for (const auto* sub : app.get_subcommands({})) {
      names += (names.empty() ? "" : ", ") + sub->get_name();
    }
    message =
        "expected a command (" + names + "), found " + (extras.empty() ? "none" : extras.front());
  } else if (dynamic_cast<const CLI::ExtrasError*>(&e) != nullptr && !extras.empty()) {
    message = "no such option or argument here: " + extras.front();
  }
  return message + " (see " + help + ")";
}

int run(const tool::command& command) {
  try {
    command();
    std::cout.flush();
    if (std::cout) return tool::exit_ok;
    pollfd reader{.fd = STDOUT_FILENO, .events = POLLOUT, .revents = 0};
    const bool gone = poll(&reader, 1, 0) == 1 && (reader.revents & POLLERR) != 0;
    if (gone) return 128 + SIGPIPE;  // he has seen enough
    return failed(tool::exit_failure, "standard output could not be written");
  } catch (const tool::usage_error& e) {
    return failed(tool::exit_usage, e.what());
  } catch (const tool::interrupted& e) {
    return failed(128 + e.signal, "stopped by a signal; " + e.left);
  } catch (const files::reader_gone&) {
    return 128 + SIGPIPE;
  } catch (const idiolect::error& e) {
    return failed(tool::exit_failure, tool::message_of(e));
  } catch (const std::bad_alloc&) {
    return failed(tool::exit_failure, "out of memory: try fewer --streams, or a smaller model");
  } catch (const std::exception& e) {
    return failed(tool::exit_failure, e.what());
  }
}

}  // namespace

int main(int argc, char** argv) {
  files::settle_process();
  tool::watch_for_interrupts();
  CLI::App app("Scores and trains language models on their own way of speaking (CLL and IDFT)",
               "idiolect");
  app.set_version_flag("--version", "idiolect " + std::to_string(IDIOLECT_VERSION_MAJOR) + "." +
                                        std::to_string(IDIOLECT_VERSION_MINOR) + "." +
                                        std::to_string(IDIOLECT_VERSION_PATCH));
  app.set_help_all_flag("--help-all", "The help of every command");
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  app.footer(
      "idiolect COMMAND --help says more. Exit codes: 0 done, 1 an input or output cannot be "
      "used, 2 wrong options.");
  const std::vector<std::pair<std::string, tool::command>> commands = {
      {"score", tool::add_score(app)},
      {"finetune", tool::add_finetune(app)},
      {"sample", tool::add_sample(app)},
      {"rewrite", tool::add_rewrite(app)},
      {"tour", tool::add_tour(app)}};
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& e) {  // --help, --version
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    return failed(tool::exit_usage, explain(e, app));
  } catch (const tool::usage_error& e) {  // a value that CLI11 itself would take
    return failed(tool::exit_usage, e.what());
  }
  for (const auto& [name, command] : commands) {
    if (app.got_subcommand(name)) return run(command);
  }
  return tool::exit_usage;
}
