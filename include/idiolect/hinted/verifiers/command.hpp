// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A program of the user's as a verifier. POSIX; not part of the umbrella header.
//
// No shell is involved: the words of the command are the program's arguments, as they are. The
// program reads what there is to judge on standard input, and says by its exit code
//
//   0   accepted            1   not accepted            anything else, or a signal: an error

#if defined(__unix__) || defined(__APPLE__)

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <idiolect/core/error.hpp>

extern "C" char** environ;

namespace idiolect {

/// The file that a name without a slash means in PATH, as posix_spawnp will look it up; the name
/// itself if it has a slash. Nothing if no executable file is there.
[[nodiscard]] inline std::optional<std::string> found_program(const std::string& program) {
  const auto executable = [](const std::string& path) {
    struct stat file {};
    return stat(path.c_str(), &file) == 0 && S_ISREG(file.st_mode) &&
           access(path.c_str(), X_OK) == 0;
  };
  if (program.find('/') != std::string::npos) {
    return executable(program) ? std::optional(program) : std::nullopt;
  }
  const char* const variable = std::getenv("PATH");
  std::string_view folders = variable != nullptr ? variable : "/bin:/usr/bin";
  for (;;) {
    const auto end = folders.find(':');
    const std::string folder(folders.substr(0, end));  // an empty one is the current folder
    const std::string path = (folder.empty() ? "." : folder) + "/" + program;
    if (executable(path)) return path;
    if (end == std::string_view::npos) return std::nullopt;
    folders.remove_prefix(end + 1);
  }
}

namespace detail {

/// While one exists, the system keeps how children end. A process that ignores SIGCHLD, which it
/// may have inherited, would find nothing to wait for; its setting comes back with the last one.
class kept_exit_codes {
 public:
  kept_exit_codes() {
    const std::scoped_lock lock(all().mutex);
    if (all().users++ > 0) return;
    struct sigaction keeping {};
    keeping.sa_handler = SIG_DFL;
    sigaction(SIGCHLD, nullptr, &all().before);
    all().changed =
        all().before.sa_handler == SIG_IGN || (all().before.sa_flags & SA_NOCLDWAIT) != 0;
    if (all().changed) sigaction(SIGCHLD, &keeping, nullptr);
  }
  kept_exit_codes(const kept_exit_codes&) = delete;
  kept_exit_codes& operator=(const kept_exit_codes&) = delete;
  ~kept_exit_codes() {
    const std::scoped_lock lock(all().mutex);
    if (--all().users == 0 && all().changed) sigaction(SIGCHLD, &all().before, nullptr);
  }

 private:
  struct shared {
    std::mutex mutex;
    int users = 0;
    bool changed = false;
    struct sigaction before {};
  };
  static shared& all() {
    static shared& s = *new shared;
    return s;
  }
};

}  // namespace detail

/// Writes the text, and nothing of the record, to the program's standard input.
struct text_alone {
  template <class R>
  [[nodiscard]] std::string operator()(const R&, std::string_view text) const {
    return std::string(text);
  }
};

/// Runs a program for each text. `Payload` is a callable (record, text) -> std::string: what the
/// program reads on its standard input; its standard output is discarded. Costs a process a call,
/// for which the model waits unless rewrite_options::verified_at_once is above 0. Several threads
/// may call it at once if they may call the payload.
///
/// The program starts with no signal blocked, in a process group of its own, and when it has ended
/// so has every process of that group: nothing that it started stays behind, unless that left the
/// group. What cannot be waited for where SIGCHLD is ignored is: see detail::kept_exit_codes.
template <class Payload = text_alone>
class command_verifier {
 public:
  /// `command`: the program (looked up in PATH) and its arguments. A program that runs for longer
  /// than `timeout` is killed, with the processes it started, and the text is not accepted: a text
  /// can be the reason why its checker does not end. Raises backend_error if there is no such
  /// program: better now than after hours of decoding. `cancelled` is asked all the time while a
  /// program runs, from the thread that waits for it; once it says so, the program is killed in the
  /// same way and backend_error is raised.
  explicit command_verifier(std::vector<std::string> command, Payload payload = {},
                            std::chrono::milliseconds timeout = std::chrono::seconds(10),
                            std::function<bool()> cancelled = {})
      : command_(std::move(command)),
        payload_(std::move(payload)),
        timeout_(timeout),
        cancelled_(std::move(cancelled)) {
    require(!command_.empty() && !command_.front().empty(), "command", "names no program");
    for (const auto& word : command_) {
      require(word.find('\0') == std::string::npos, "command", "has a zero byte in a word");
    }
    require(timeout_.count() > 0, "timeout", "must be > 0");
    require<backend_error>(found_program(command_.front()).has_value(), "command", [&] {
      return command_.front() + " cannot be started: no executable file of that name" +
             (command_.front().find('/') == std::string::npos ? " in PATH" : "");
    });
  }

  /// Raises backend_error if the program cannot be started, is ended by a signal, exits with
  /// something else than 0 or 1, or is cancelled.
  template <class R>
  [[nodiscard]] bool operator()(const R& record, std::string_view text) const {
    check_cancelled();
    const detail::kept_exit_codes keep;
    const file input = input_file(payload_(record, text));
    const pid_t child = start(fileno(input.get()));
    int status = 0;
    if (!wait_for(child, status)) return false;
    require<backend_error>(!WIFSIGNALED(status), "command", [&] {
      return command_.front() + " was ended by signal " + std::to_string(WTERMSIG(status));
    });
    const int code = WEXITSTATUS(status);
    require<backend_error>(code == 0 || code == 1, "command", [&] {
      return command_.front() + " exited with " + std::to_string(code) +
             "; expected 0 (accepted) or 1 (not accepted)";
    });
    return code == 0;
  }

 private:
  struct close_file {
    void operator()(std::FILE* f) const { std::fclose(f); }
  };
  using file = std::unique_ptr<std::FILE, close_file>;

  void check_cancelled() const {
    require<backend_error>(!cancelled_ || !cancelled_(), "command",
                           [&] { return command_.front() + " is not waited for: cancelled"; });
  }

  // A file without a name, not a pipe: the program need not read it, and no write can block.
  static file input_file(const std::string& bytes) {
    file f(std::tmpfile());
    const bool written = f && fcntl(fileno(f.get()), F_SETFD, FD_CLOEXEC) == 0 &&
                         std::fwrite(bytes.data(), 1, bytes.size(), f.get()) == bytes.size() &&
                         std::fflush(f.get()) == 0 && lseek(fileno(f.get()), 0, SEEK_SET) == 0;
    require<backend_error>(written, "command", [] {
      return std::string("no temporary file: ") + std::strerror(errno);
    });
    return f;
  }

  [[nodiscard]] pid_t start(int input) const {
    std::vector<char*> words;
    for (const auto& word : command_) words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);

    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_adddup2(&files, input, STDIN_FILENO);
    posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    // A group, so that all can be killed; and signals as a program expects them.
    posix_spawnattr_setflags(
        &attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(&attributes, 0);
    sigset_t signals;
    sigemptyset(&signals);
    posix_spawnattr_setsigmask(&attributes, &signals);
    for (const int s : {SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGCHLD, SIGXFSZ})
      sigaddset(&signals, s);
    posix_spawnattr_setsigdefault(&attributes, &signals);
    pid_t child = 0;
    const int failure =
        posix_spawnp(&child, words.front(), &files, &attributes, words.data(), environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    require<backend_error>(failure == 0, "command", [&] {
      return command_.front() + " cannot be started: " + std::strerror(failure);
    });
    return child;
  }

  // False: it took too long. On every way out it is gone, with its group.
  [[nodiscard]] bool wait_for(pid_t child, int& status) const {
    using clock = std::chrono::steady_clock;
    const auto deadline = clock::now() + timeout_;
    auto pause = std::chrono::microseconds(200);
    const auto end_group = [&] {
      // Before it is reaped: until then its number is no other's.
      kill(-child, SIGKILL);
      while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
      }
      return true;
    };
    for (;;) {
      siginfo_t info{};
      const int asked = waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOHANG | WNOWAIT);
      // Another thread of the host that waits for any child takes ours too.
      require<backend_error>(asked == 0 || errno == EINTR, "command", [&] {
        return command_.front() + " cannot be waited for: " + std::strerror(errno);
      });
      if (asked == 0 && info.si_pid == child) return end_group();
      if (clock::now() >= deadline) {
        end_group();
        return false;
      }
      if (cancelled_ && cancelled_()) {
        end_group();
        check_cancelled();
        return false;
      }
      std::this_thread::sleep_for(pause);
      pause = (std::min)(2 * pause, std::chrono::microseconds(10'000));
    }
  }

  std::vector<std::string> command_;
  Payload payload_;
  std::chrono::milliseconds timeout_;
  std::function<bool()> cancelled_;
};

}  // namespace idiolect

#endif
