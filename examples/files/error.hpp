// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstring>
#include <filesystem>
#include <string>

#include <idiolect/core/error.hpp>

#include "files/shown.hpp"

namespace files {

/// A file that is missing, damaged or not writable. The message names it and what was expected; it
/// is safe to show.
struct file_error : idiolect::error {
  file_error(const std::filesystem::path& path, const std::string& message)
      : error("file", printable(path.string() + ": " + message)) {}
};

/// Who read what is written has gone away.
struct reader_gone : file_error {
  using file_error::file_error;
};

[[noreturn]] inline void fail(const std::filesystem::path& path, const std::string& message) {
  idiolect::raise(file_error(path, message));
}

/// The same with the system's own word for `code`, an errno.
[[noreturn]] inline void fail(const std::filesystem::path& path, const std::string& message,
                              int code) {
  fail(path, message + ": " + std::strerror(code));
}

}  // namespace files
