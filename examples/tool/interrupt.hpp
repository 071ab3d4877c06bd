// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Ctrl-C and `kill` end a program as an error would: through the destructors that clean up. The
// long loops ask between two pieces of work. A thread of its own waits for the signals, and ends
// the process where that takes too long: no call can keep them waiting.

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "files/replacement.hpp"
#include "files/shown.hpp"
#include "files/temporaries.hpp"

namespace tool {

/// Somebody asked the process to stop.
struct interrupted {
  int signal;  ///< the exit code is 128 + signal, as a shell expects
  std::string left = "no output was written";  ///< what there is of the work
};

namespace detail {

/// The signal that has come, or 0.
inline std::atomic<int> caught_signal = 0;

/// What a process that has to be ended leaves behind.
struct remainder {
  std::mutex mutex;
  std::string text;

  static remainder& the() {
    static remainder& it = *new remainder;  // a signal may come while the program ends
    return it;
  }
};

[[noreturn]] inline void end_at_once(int signal) {
  files::temporaries::all().end([&](bool published) {
    std::string left;
    if (remainder& r = remainder::the(); r.mutex.try_lock()) {
      left = r.text;
      r.mutex.unlock();
    }
    if (published) left = "an output was written";
    if (left.empty()) left = interrupted{.signal = signal}.left;
    std::string line = isatty(STDERR_FILENO) == 1 ? "\r\033[K" : "";
    line +=
        "stopped by a signal in the middle of a piece of work; " + files::printable(left) + "\n";
    static_cast<void>(files::detail::write_all(STDERR_FILENO, line));
    _exit(128 + signal);
  });
  std::abort();  // not reached
}

inline void wait_for_signals(const sigset_t& watched, std::chrono::milliseconds patience) {
  int signal = 0;
  while (sigwait(&watched, &signal) != 0) {
  }
  caught_signal = signal;
  // A second one means at once; programs that were started are gone even then.
  const auto least = std::min(patience, std::chrono::milliseconds(200));
  std::this_thread::sleep_for(least);
  const timespec rest{.tv_sec = static_cast<time_t>((patience - least).count() / 1000),
                      .tv_nsec = static_cast<long>((patience - least).count() % 1000 * 1'000'000)};
  sigtimedwait(&watched, nullptr, &rest);
  end_at_once(signal);
}

}  // namespace detail

/// From now on SIGINT, SIGTERM, SIGHUP, SIGPIPE and SIGXCPU are taken by a thread of their own; all
/// threads that are started later leave them to it. To be called before there are others. A SIGHUP
/// that the parent ignores (nohup) stays ignored. (A write to a reader that went away is an error
/// of that write.)
///
/// `patience` is how long the loops and destructors have before the process is ended in the middle
/// of what it does, with its temporary files removed; a second signal ends it at once.
inline void watch_for_interrupts(
    std::chrono::milliseconds patience = std::chrono::milliseconds(600)) {
  sigset_t watched;
  sigemptyset(&watched);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGXCPU}) {
    struct sigaction inherited {};
    sigaction(signal, nullptr, &inherited);
    const bool ignored = inherited.sa_handler == SIG_IGN;
    if (ignored && signal == SIGHUP) continue;
    if (ignored) std::signal(signal, SIG_DFL);  // an ignored one would never be delivered
    sigaddset(&watched, signal);
  }
  pthread_sigmask(SIG_BLOCK, &watched, nullptr);
  try {
    std::thread([=] { detail::wait_for_signals(watched, patience); }).detach();
  } catch (const std::system_error&) {
    // No thread to be had: the loops see a flag, and a second signal ends the process.
    pthread_sigmask(SIG_UNBLOCK, &watched, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
    for (const int signal : {SIGINT, SIGTERM}) {
      std::signal(signal, [](int caught) {
        detail::caught_signal = caught;
        std::signal(caught, SIG_DFL);
      });
    }
  }
}

/// What there is of the work, for a process that has to be ended in the middle of it.
inline void keep_in_mind(std::string left) {
  auto& r = detail::remainder::the();
  const std::scoped_lock lock(r.mutex);
  r.text = std::move(left);
}

/// Whether a signal has come.
[[nodiscard]] inline bool is_interrupted() {
  return detail::caught_signal != 0;
}

/// Raises `interrupted` if a signal has come.
inline void check_interrupt() {
  if (is_interrupted()) throw interrupted{.signal = detail::caught_signal};
}

}  // namespace tool
