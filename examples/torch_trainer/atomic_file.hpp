// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A file that appears under its name in one step, or not at all: what is written goes to a file
// with a name of its own beside it, so that two programs that write at once do not mix.

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace torch_trainer {

class atomic_file {
 public:
  /// Opens the temporary file. Raises input_error where the folder takes none.
  explicit atomic_file(std::filesystem::path path);
  atomic_file(const atomic_file&) = delete;
  atomic_file& operator=(const atomic_file&) = delete;
  ~atomic_file();  ///< removes the temporary file unless it was committed

  /// Raises input_error, for example where the disk is full.
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }

  /// Puts the bytes on the disk, then the file in its place. Raises input_error; an older file then
  /// stays as it was.
  void commit();

 private:
  std::filesystem::path path_;
  std::string temporary_;
  int file_ = -1;
};

}  // namespace torch_trainer
