// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Files read whole, and files that appear whole or not at all.

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "files/destination.hpp"
#include "files/replacement.hpp"

namespace tool {

/// The bytes of a file, or of standard input for "-". Raises input_error for anything that cannot
/// be read, a folder among them, and for more than `most` bytes. `what` says what was expected ("a
/// text to score").
[[nodiscard]] std::string read_file(const std::string& path, const std::string& what,
                                    std::size_t most = std::size_t{1} << 30);
inline constexpr std::size_t no_limit = static_cast<std::size_t>(-1);

/// A file and the option that names it; an empty path is an option that was not given.
struct named_file {
  std::string option;
  std::string path;
};

/// A result on its way to a file. Nothing is written before it is committed; then the whole file
/// appears under its name in one step, or an error is raised and an older file stays as it was. "-"
/// is standard output; devices and pipes are written as they are. A file_plan makes it.
class output_file {
 public:
  [[nodiscard]] bool wanted() const noexcept { return !path_.empty(); }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

  void add(const std::string& bytes) {
    if (wanted()) content_ += bytes;
  }

  /// Raises files::file_error.
  void commit() { files::commit_together(*this); }

  // The two halves of `commit`: see files::commit_together.
  void prepare();
  void publish();

 private:
  friend class file_plan;
  output_file() = default;
  explicit output_file(const files::destination& to);

  std::string path_;
  std::string content_;
  std::optional<files::replacement> file_;
};

/// All files of a command. What it writes comes from here, and nothing that it reads, the model
/// and the program itself among it, nor another result can be written over, however a path is
/// spelled: links, hard links and redirections lead to the same file too. Streams may be shared.
class file_plan {
 public:
  explicit file_plan(const std::vector<named_file>& inputs);

  /// Finds out at once whether the file can be written, before the work that leads to it. An empty
  /// path is no file: what is added to it goes nowhere. Raises usage_error for a file of the plan,
  /// files::file_error for one that cannot be written.
  [[nodiscard]] output_file output(const std::string& option, const std::string& path);

  /// Raises usage_error if `path`, which is only written for a while, is a file of the plan.
  void check(const std::string& option, const std::string& path) const;

  /// As `output`, for a file that somebody else writes: where it really stands.
  [[nodiscard]] std::filesystem::path claim(const std::string& option, const std::string& path);

 private:
  struct taken_file {
    std::string option;
    files::file_key key;
  };

  [[nodiscard]] files::destination take(const std::string& option, const std::string& path);

  std::vector<taken_file> taken_;
};

/// Raises files::file_error if a file of this name could not be written.
void check_writable(const std::filesystem::path& path);

}  // namespace tool
