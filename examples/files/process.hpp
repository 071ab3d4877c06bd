// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a process inherits from the one that started it, put in order before anything else happens.
// POSIX.

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

namespace files {

/// To be called first in main, before there are threads.
inline void settle_process() {
  // A descriptor that was closed would be given to the first file that is opened, and what is said
  // would be written into it. In its place stands one that fails when it is used.
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(descriptor, F_GETFD) != -1 || errno != EBADF) continue;
    static_cast<void>(open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY));
  }
  // Where it is ignored, the system forgets how children ended.
  std::signal(SIGCHLD, SIG_DFL);
  // A file larger than a limit is an error of `write`, not the end.
  std::signal(SIGXFSZ, SIG_IGN);
  // A signal that the parent held back would never end this process.
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

}  // namespace files
