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

/// A result on its way to a file. Nothing is written before `commit`; then the whole file appears
/// under its name in one step, or an error is raised and an older file stays as it was. "-" is
/// standard output; devices and pipes are written as they are.
class output_file {
 public:
  /// Finds out at once whether the file can be written, before the work that leads to it.
  /// Raises input_error. An empty path is no file: what is added to it goes nowhere.
  explicit output_file(std::string path);

  [[nodiscard]] bool wanted() const noexcept { return !path_.empty(); }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

  void add(const std::string& bytes) {
    if (wanted()) content_ += bytes;
  }

  /// Raises input_error.
  void commit();

 private:
  std::string path_;
  std::string content_;
};

/// Raises usage_error if an output is the same file as an input or another output, however they are
/// spelled: each is an option and its file, "" where it was not given. Streams may be shared.
void require_distinct(const std::vector<std::pair<std::string, std::string>>& outputs,
                      const std::vector<std::pair<std::string, std::string>>& inputs);

/// Where a file that is replaced in one step really stands: the end of a chain of links.
/// Raises input_error if something else than a regular file is there.
[[nodiscard]] std::filesystem::path replaceable(const std::string& path);

/// Raises input_error if a file of this name could not be put in its folder.
void check_writable(const std::filesystem::path& path);

}  // namespace tool
