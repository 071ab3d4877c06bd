// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Files read whole, and files that appear whole or not at all.

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace tool {

/// The bytes of a file, or of standard input for "-". Raises input_error for anything that cannot
/// be read, a folder among them. `what` says what was expected ("a text to score").
[[nodiscard]] std::string read_file(const std::string& path, const std::string& what);

/// A file and the option that names it; an empty path is an option that was not given.
struct named_file {
  std::string option;
  std::string path;
};

/// A result on its way to a file. Nothing is written before `commit`; then the whole file appears
/// under its name in one step, or an error is raised and an older file stays as it was. "-" is
/// standard output; devices and pipes are written as they are. A file_plan makes it.
class output_file {
 public:
  [[nodiscard]] bool wanted() const noexcept { return !path_.empty(); }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

  void add(const std::string& bytes) {
    if (wanted()) content_ += bytes;
  }

  /// Raises input_error.
  void commit();

 private:
  friend class file_plan;
  explicit output_file(std::string path);

  std::string path_;
  std::string content_;
};

/// All files of a command. What it writes comes from here, and nothing that it reads, the model
/// among it, nor another result can be written over, however a path is spelled: links lead to the
/// same file too. Streams may be shared.
class file_plan {
 public:
  explicit file_plan(std::vector<named_file> inputs) : taken_(std::move(inputs)) {}

  /// Finds out at once whether the file can be written, before the work that leads to it. An empty
  /// path is no file: what is added to it goes nowhere. Raises usage_error for a file of the plan,
  /// input_error for one that cannot be written.
  [[nodiscard]] output_file output(const std::string& option, const std::string& path);

  /// Raises usage_error if `path`, which is only written for a while, is a file of the plan.
  void check(const std::string& option, const std::string& path) const;

  /// As `output`, for a regular file that somebody else writes: where it really stands.
  [[nodiscard]] std::filesystem::path claim(const std::string& option, const std::string& path);

 private:
  void take(const std::string& option, const std::string& path);

  std::vector<named_file> taken_;
};

/// Where a file that is replaced in one step really stands: the end of a chain of links.
/// Raises input_error if something else than a regular file is there.
[[nodiscard]] std::filesystem::path replaceable(const std::string& path);

/// Raises input_error if a file of this name could not be put in its folder.
void check_writable(const std::filesystem::path& path);

}  // namespace tool
