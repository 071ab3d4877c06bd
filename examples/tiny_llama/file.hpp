// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Files of 32-bit little-endian words and bytes: read whole, written whole or not at all.

#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <idiolect/core/error.hpp>

namespace tiny_llama {

/// A file that is missing, damaged or not writable. The message names it and what was expected.
struct file_error : idiolect::error {
  file_error(const std::filesystem::path& path, const std::string& message)
      : error("file", path.string() + ": " + message) {}
};

namespace detail {

inline void require_file(bool condition, const std::filesystem::path& path,
                         const std::string& message) {
  if (!condition) idiolect::raise(file_error(path, message));
}

[[nodiscard]] constexpr std::uint32_t byteswap(std::uint32_t word) {
  return (word << 24) | ((word & 0xff00u) << 8) | ((word >> 8) & 0xff00u) | (word >> 24);
}

/// A 4-byte value in memory order, from or to little-endian.
template <class T>
[[nodiscard]] T little_endian(T value) {
  static_assert(sizeof(T) == 4);
  if constexpr (std::endian::native == std::endian::big) {
    return std::bit_cast<T>(byteswap(std::bit_cast<std::uint32_t>(value)));
  }
  return value;
}

}  // namespace detail

/// The bytes of a file. Raises file_error.
[[nodiscard]] inline std::vector<char> read_file(const std::filesystem::path& path) {
  std::error_code failure;
  const auto size = std::filesystem::file_size(path, failure);
  detail::require_file(!failure, path, "cannot be read: " + failure.message());
  std::ifstream in(path, std::ios::binary);
  std::vector<char> bytes(static_cast<std::size_t>(size));
  in.read(bytes.data(), static_cast<std::streamsize>(size));
  detail::require_file(in.good() && in.gcount() == static_cast<std::streamsize>(size), path,
                       "cannot be read to its end");
  return bytes;
}

/// Reads values off the front of a file's bytes; whoever reads checks `left` first.
class byte_reader {
 public:
  explicit byte_reader(std::span<const char> bytes) : bytes_(bytes) {}

  [[nodiscard]] std::size_t left() const noexcept { return bytes_.size(); }

  template <class T>
  [[nodiscard]] T word() {
    T value;
    std::memcpy(&value, bytes_.data(), sizeof value);
    bytes_ = bytes_.subspan(sizeof value);
    return detail::little_endian(value);
  }

  void skip(std::size_t length) { bytes_ = bytes_.subspan(length); }

  [[nodiscard]] std::string_view text(std::size_t length) {
    const std::string_view piece(bytes_.data(), length);
    bytes_ = bytes_.subspan(length);
    return piece;
  }

 private:
  std::span<const char> bytes_;
};

/// A file that appears under its name only when `commit` has succeeded: what is written goes to
/// `<name>.partial` beside it, or `<name>.partial1` and so on where somebody else has a file of
/// that name, and is removed on any other way out.
class file_writer {
 public:
  explicit file_writer(std::filesystem::path path)
      : path_(std::move(path)),
        partial_(own_name(path_.string() + ".partial")),
        out_(partial_, std::ios::binary | std::ios::trunc) {
    detail::require_file(out_.is_open(), path_, "cannot be written (does its folder exist?)");
  }
  file_writer(const file_writer&) = delete;
  file_writer& operator=(const file_writer&) = delete;
  ~file_writer() {
    if (committed_ || partial_.empty()) return;
    out_.close();
    std::error_code ignored;
    std::filesystem::remove(partial_, ignored);
  }

  template <class T>
  void word(T value) {
    value = detail::little_endian(value);
    char bytes[sizeof value];
    std::memcpy(bytes, &value, sizeof value);
    out_.write(bytes, sizeof bytes);
  }

  void text(std::string_view bytes) {
    out_.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }

  /// Puts the file in its place. Raises file_error, and leaves an older file as it was, if
  /// anything could not be written.
  void commit() {
    out_.close();
    detail::require_file(!out_.fail(), path_, "could not be written to its end (disk full?)");
    std::error_code failure;
    std::filesystem::rename(partial_, path_, failure);
    detail::require_file(!failure, path_, "cannot be put in place: " + failure.message());
    committed_ = true;
  }

 private:
  /// Makes a file that was not there before, so that it is ours to remove; empty if none can be
  /// made.
  static std::filesystem::path own_name(const std::string& wanted) {
    for (int k = 0; k < 1000; ++k) {
      const std::string name = k == 0 ? wanted : wanted + std::to_string(k);
      errno = 0;
      if (std::FILE* const made = std::fopen(name.c_str(), "wbx")) {
        std::fclose(made);
        return name;
      }
      if (errno != EEXIST) break;
    }
    return {};
  }

  std::filesystem::path path_;
  std::filesystem::path partial_;
  std::ofstream out_;
  bool committed_ = false;
};

}  // namespace tiny_llama
