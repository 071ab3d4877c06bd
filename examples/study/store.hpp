// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Results by stage, one file each: what is there is not done again, so that a study that was
// interrupted goes on where it stood and ends with the same figures. A file appears when it is
// complete. The stages of a phase run side by side; each is serial, and none needs another's.

#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include <idiolect/core/executor.hpp>

#include "study/settings.hpp"

namespace study {

/// Seconds since it was made.
class stopwatch {
 public:
  [[nodiscard]] double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

class store {
 public:
  /// Raises std::runtime_error if the folder holds the stages of a study with other settings.
  store(std::filesystem::path folder, const settings& how);

  [[nodiscard]] bool has(const std::string& stage) const;
  /// Raises std::runtime_error for a stage that was not done, or a damaged file.
  [[nodiscard]] json read(const std::string& stage) const;
  void write(const std::string& stage, const json& result) const;

  /// Where a stage keeps something that is not JSON; its folder exists.
  [[nodiscard]] std::filesystem::path file(const std::string& name) const;

 private:
  std::filesystem::path folder_;
};

/// A stage: a name and what computes its result.
struct stage {
  std::string name;
  std::function<json()> compute;
};

/// Does the stages that the store does not have, several at a time, and adds `seconds` to each
/// result. Says on standard error how far it is.
void run_stages(const std::string& phase, const std::vector<stage>& stages, const store& results,
                const idiolect::thread_executor& workers);

}  // namespace study
