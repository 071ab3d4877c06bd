// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Ctrl-C and `kill` end the tool as an error would: through the destructors that clean up. The long
// loops ask between two pieces of work; a second signal ends the process at once.

#include <csignal>
#include <string>

namespace tool {

/// Somebody asked the process to stop.
struct interrupted {
  int signal;  ///< the exit code is 128 + signal, as a shell expects
  std::string left = "no output was written";  ///< what there is of the work
};

namespace detail {
inline volatile std::sig_atomic_t caught_signal = 0;
}

/// SIGINT and SIGTERM set a flag, the first time.
inline void watch_for_interrupts() {
  for (const int signal : {SIGINT, SIGTERM}) {
    std::signal(signal, [](int caught) {
      detail::caught_signal = caught;
      std::signal(caught, SIG_DFL);
    });
  }
}

/// Raises `interrupted` if a signal has come.
inline void check_interrupt() {
  if (detail::caught_signal != 0)
    throw interrupted{.signal = static_cast<int>(detail::caught_signal)};
}

}  // namespace tool
