// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "tool/input.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "tool/errors.hpp"

namespace tool {

namespace {

constexpr std::string_view utf8_mark = "\xEF\xBB\xBF";

}  // namespace

std::string shown_name(const std::string& path) {
  return path == "-" ? "standard input" : path;
}

byte_source::byte_source(std::string path, const std::string& what) : path_(std::move(path)) {
  if (path_ == "-") {
    file_ = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
  } else {
    file_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY);
  }
  if (file_ < 0) {
    fail(shown_name(path_), errno == ENOENT
                                ? "expected " + what + ", found no such file"
                                : std::string("cannot be read: ") + std::strerror(errno));
  }
  struct stat s {};
  if (fstat(file_, &s) == 0 && S_ISDIR(s.st_mode)) {
    close(std::exchange(file_, -1));
    fail(path_, "expected " + what + ", found a folder; name a file in it");
  }
  block_.resize(std::size_t{1} << 18);
}

byte_source::~byte_source() {
  if (file_ >= 0) close(file_);
}

std::string_view byte_source::next() {
  for (;;) {
    const ssize_t n = read(file_, block_.data(), block_.size());
    if (n >= 0) return std::string_view(block_).substr(0, static_cast<std::size_t>(n));
    if (errno != EINTR) {
      fail(shown_name(path_), std::string("cannot be read to its end: ") + std::strerror(errno));
    }
  }
}

void input_line::check_length(const std::string& where) const {
  if (bytes <= longest_record) return;
  fail(where, "expected a line of at most " + std::to_string(longest_record) + " bytes, found " +
                  std::to_string(bytes));
}

std::string_view without_mark(std::string_view bytes, const std::string& path) {
  if (bytes.starts_with("\xFF\xFE") || bytes.starts_with("\xFE\xFF")) {
    fail(shown_name(path), "is UTF-16 by its first two bytes; expected UTF-8: convert it (iconv)");
  }
  return bytes.starts_with(utf8_mark) ? bytes.substr(utf8_mark.size()) : bytes;
}

line_source::line_source(const std::string& path, const std::string& what)
    : path_(path), source_(path, what) {}

bool line_source::next(input_line& line) {
  line_.clear();
  line.bytes = 0;
  bool found = false;
  for (;;) {
    if (block_.empty()) {
      block_ = source_.next();
      hash_.add(block_);
      if (block_.empty()) break;
    }
    found = true;
    const auto end = block_.find('\n');
    const std::string_view piece = block_.substr(0, end);
    line.bytes += piece.size();
    line_ += piece.substr(0, longest_record - line_.size());
    block_.remove_prefix(end == std::string_view::npos ? block_.size() : end + 1);
    if (end != std::string_view::npos) break;
  }
  if (!found) return false;
  line.number = ++number_;
  line.text = number_ == 1 ? without_mark(line_, path_) : std::string_view(line_);
  return true;
}

std::string fingerprint_of_file(const std::string& path) {
  byte_source source(path, "a file");
  hashed h;
  for (std::string_view block; !(block = source.next()).empty();) h.add(block);
  return h.name();
}

}  // namespace tool
