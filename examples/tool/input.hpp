// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the programs read, block by block and line by line, so that no input takes more memory than
// its largest record.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "tool/fingerprint.hpp"

namespace tool {

/// A line of JSON, or a text that is scored or trained as one: what takes it apart needs some
/// hundred bytes for each of its own.
inline constexpr std::size_t longest_record = std::size_t{16} << 20;

/// A file's name in a message: "-" is standard input.
[[nodiscard]] std::string shown_name(const std::string& path);

/// A file, or standard input for "-", from its beginning.
class byte_source {
 public:
  /// Raises input_error for a file that cannot be read, a folder among them. `what` says what was
  /// expected.
  byte_source(std::string path, const std::string& what);
  byte_source(const byte_source&) = delete;
  byte_source& operator=(const byte_source&) = delete;
  ~byte_source();

  /// The next bytes, valid until the next call; nothing at the end. Raises input_error for what
  /// cannot be read to its end.
  [[nodiscard]] std::string_view next();

 private:
  std::string path_;
  int file_ = -1;
  std::string block_;
};

/// A line and its number, from 1, without its line break.
struct input_line {
  std::string_view text;
  std::size_t number = 0;
  std::uint64_t bytes = 0;  ///< more than `text` has: it is longer than longest_record

  /// Raises input_error, naming `where`, for a line that is too long.
  void check_length(const std::string& where) const;
};

/// The lines of a file. The mark (U+FEFF) that some editors put in front of UTF-8 is none of them.
class line_source {
 public:
  /// As byte_source.
  line_source(const std::string& path, const std::string& what);

  /// The next line, valid until the next call; false at the end. Of a line that is too long only
  /// the beginning is kept. Raises input_error for UTF-16.
  [[nodiscard]] bool next(input_line& line);

  /// Of all bytes that were read.
  [[nodiscard]] const hashed& fingerprint() const noexcept { return hash_; }

 private:
  std::string path_;
  byte_source source_;
  std::string_view block_;  // what is left of it
  std::string line_;
  std::size_t number_ = 0;
  hashed hash_;
};

/// Without the mark that some editors put in front of UTF-8. Raises input_error, naming `path`, for
/// the marks of UTF-16.
[[nodiscard]] std::string_view without_mark(std::string_view bytes, const std::string& path);

}  // namespace tool
