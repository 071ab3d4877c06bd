// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The files that this process has made and not yet put in their places. Who ends the process
// without its destructors removes them here.

#include <unistd.h>

#include <mutex>
#include <set>
#include <string>

namespace files {

class temporaries {
 public:
  /// Those of the process.
  static temporaries& all() {
    static temporaries& them = *new temporaries;  // a signal may come while the program ends
    return them;
  }

  void add(const std::string& path) {
    const std::scoped_lock lock(mutex_);
    paths_.insert(path);
  }
  void forget(const std::string& path) {
    const std::scoped_lock lock(mutex_);
    paths_.erase(path);
  }

  /// Runs f, which puts one of them or several in their places: all of f, or nothing of it, comes
  /// before `end`.
  template <class F>
  auto publish(F&& f) {
    const std::scoped_lock lock(publishing_);
    published_ = true;
    return f();
  }

  /// Removes all of them, then runs f(whether anything was put in its place), which ends the
  /// process: nothing is put in its place any more.
  template <class F>
  void end(F&& f) {
    const std::scoped_lock lock(publishing_, mutex_);
    for (const auto& path : paths_) unlink(path.c_str());
    f(published_);
  }

 private:
  std::mutex mutex_;
  std::recursive_mutex publishing_;
  bool published_ = false;
  std::set<std::string> paths_;
};

}  // namespace files
