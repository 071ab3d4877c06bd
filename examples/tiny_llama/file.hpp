// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Files of 32-bit little-endian words and bytes: read whole, written whole or not at all.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <idiolect/core/error.hpp>

#include "files/error.hpp"
#include "files/replacement.hpp"

namespace tiny_llama {

/// A file that is missing, damaged or not writable. The message names it and what was expected.
using files::file_error;

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

/// A file that appears under its name only when `commit` has succeeded: see files/replacement.hpp.
class file_writer {
 public:
  explicit file_writer(const std::filesystem::path& path) : file_(path) {}

  template <class T>
  void word(T value) {
    value = detail::little_endian(value);
    char bytes[sizeof value];
    std::memcpy(bytes, &value, sizeof value);
    file_.write({bytes, sizeof bytes});
  }

  void text(std::string_view bytes) { file_.write(bytes); }

  /// Puts the file in its place. Raises file_error, and leaves an older file as it was, if
  /// anything could not be written.
  void commit() { file_.commit(); }

  // The two halves of `commit`: see files::commit_together.
  void prepare() { file_.prepare(); }
  void publish() { file_.publish(); }

 private:
  files::replacement file_;
};

}  // namespace tiny_llama
