// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Where an output really goes, and which file a name means: links, hard links, and names of this
// process's own descriptors lead to the same file under other names. POSIX.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "files/error.hpp"

namespace files {

/// Device and number: the same for all names of a file.
using identity = std::pair<dev_t, ino_t>;

/// The regular file behind a descriptor, if there is one.
[[nodiscard]] inline std::optional<identity> identity_of(int descriptor) {
  struct stat s {};
  if (fstat(descriptor, &s) != 0 || !S_ISREG(s.st_mode)) return std::nullopt;
  return identity(s.st_dev, s.st_ino);
}

/// The regular file of a name.
[[nodiscard]] inline std::optional<identity> identity_of(const std::filesystem::path& path) {
  struct stat s {};
  if (stat(path.c_str(), &s) != 0 || !S_ISREG(s.st_mode)) return std::nullopt;
  return identity(s.st_dev, s.st_ino);
}

/// The descriptor of this process that a name means: /dev/stdout, /dev/fd/N and their like. What
/// such a name leads to is written as it is and never replaced: it is open already.
[[nodiscard]] inline std::optional<int> own_descriptor(std::string_view path) {
  if (path == "/dev/stdin") return STDIN_FILENO;
  if (path == "/dev/stdout") return STDOUT_FILENO;
  if (path == "/dev/stderr") return STDERR_FILENO;
  const std::string process = "/proc/" + std::to_string(getpid()) + "/fd/";
  for (const std::string_view folder :
       {std::string_view("/dev/fd/"), std::string_view("/proc/self/fd/"),
        std::string_view(process)}) {
    if (!path.starts_with(folder)) continue;
    const std::string_view digits = path.substr(folder.size());
    int number = -1;
    const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (read.ec == std::errc() && read.ptr == digits.data() + digits.size() && number >= 0) {
      return number;
    }
  }
  return std::nullopt;
}

/// The end of a chain of links, whether or not there is a file. Raises file_error for a circle.
[[nodiscard]] inline std::filesystem::path without_links(std::filesystem::path path) {
  const auto asked = path;
  for (int i = 0; i < 40; ++i) {  // as many as Linux follows
    std::error_code none;
    if (!std::filesystem::is_symlink(std::filesystem::symlink_status(path, none))) return path;
    const auto next = std::filesystem::read_symlink(path, none);
    if (none) fail(asked, "is a link that cannot be read: " + none.message());
    path = next.is_absolute() ? next : path.parent_path() / next;
  }
  fail(asked, "is a link that leads in a circle");
}

/// Where an output goes.
struct destination {
  std::filesystem::path path;     ///< where the file stands; for a stream its name
  std::optional<int> descriptor;  ///< of this process
  bool stream = false;            ///< a descriptor, a device, a pipe: written as it is
};

/// Raises file_error for a folder, and for links that lead nowhere.
[[nodiscard]] inline destination destination_of(const std::filesystem::path& path) {
  if (path == "-") return {"standard output", STDOUT_FILENO, true};
  if (const auto number = own_descriptor(path.native())) return {path, number, true};
  struct stat s {};
  if (stat(path.c_str(), &s) != 0) {
    if (errno != ENOENT) fail(path, "cannot be written", errno);
    return {without_links(path), {}, false};
  }
  if (S_ISDIR(s.st_mode)) {
    fail(path, "expected the name of a file to write, found a folder; add a file name");
  }
  if (!S_ISREG(s.st_mode)) return {path, {}, true};
  const auto target = without_links(path);
  if (const auto number = own_descriptor(target.native())) return {path, number, true};
  return {target, {}, false};
}

/// What two names have in common: the file, or the place where it would stand.
struct file_key {
  std::optional<identity> file;
  std::filesystem::path place;

  [[nodiscard]] bool same_as(const file_key& other) const {
    if (file && other.file) return *file == *other.file;
    return !place.empty() && place == other.place;
  }
};

namespace detail {

inline std::filesystem::path canonical_place(const std::filesystem::path& path) {
  std::error_code failure;
  auto place = std::filesystem::weakly_canonical(std::filesystem::absolute(path, failure), failure);
  return failure ? std::filesystem::path() : place;
}

}  // namespace detail

/// An output's. Of a stream: the regular file that it is redirected to, if it is.
[[nodiscard]] inline file_key key_of_output(const destination& d) {
  if (d.descriptor) return {identity_of(*d.descriptor), {}};
  if (d.stream) return {};
  return {identity_of(d.path), detail::canonical_place(d.path)};
}

/// An input's: "-" is standard input. No links are left in a name that exists.
[[nodiscard]] inline file_key key_of_input(const std::string& path) {
  if (path.empty()) return {};
  if (path == "-") return {identity_of(STDIN_FILENO), {}};
  struct stat s {};
  if (stat(path.c_str(), &s) == 0 && !S_ISREG(s.st_mode) && !S_ISDIR(s.st_mode)) return {};
  return {identity_of(std::filesystem::path(path)), detail::canonical_place(path)};
}

}  // namespace files
