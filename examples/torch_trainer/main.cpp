// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

/// \file
/// torch_trainer: fine-tunes a Llama with any loss of the library, in LibTorch, on a CPU.

#include <c10/util/Exception.h>

#include <chrono>
#include <cstdio>
#include <string>

#include <idiolect/core/error.hpp>

#include "files/process.hpp"
#include "files/shown.hpp"
#include "tool/errors.hpp"
#include "tool/interrupt.hpp"
#include "torch_trainer/run.hpp"

namespace {

int failed(const std::string& message, int code) {
  std::fprintf(stderr, "torch_trainer: %s\n", files::printable(message).c_str());
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  files::settle_process();
  // A step, and the state that is saved after it, may take a while.
  tool::watch_for_interrupts(std::chrono::minutes(1));
  CLI::App app("Fine-tunes a Llama with SFT, IDFT or another loss; says what it learned",
               "torch_trainer");
  torch_trainer::options options;
  torch_trainer::add_options(app, options);
  try {
    app.parse(argc, argv);
    torch_trainer::run(options);
    return tool::exit_ok;
  } catch (const CLI::ParseError& e) {
    return e.get_exit_code() == 0 ? app.exit(e) : (app.exit(e), tool::exit_usage);
  } catch (const tool::usage_error& e) {
    return failed(e.what(), tool::exit_usage);
  } catch (const tool::interrupted& e) {
    return failed("stopped by a signal; " + e.left, 128 + e.signal);
  } catch (const idiolect::error& e) {
    return failed(tool::message_of(e), tool::exit_failure);
  } catch (const c10::Error& e) {
    return failed(e.what_without_backtrace(), tool::exit_failure);
  } catch (const std::exception& e) {
    return failed(e.what(), tool::exit_failure);
  }
}
