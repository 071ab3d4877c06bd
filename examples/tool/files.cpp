// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "tool/files.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <system_error>
#include <utility>

#include "tiny_llama/file.hpp"
#include "tool/errors.hpp"

namespace tool {

namespace fs = std::filesystem;

namespace {

bool is_stream(const std::string& path) {
  if (path == "-") return true;
  std::error_code ignored;
  const fs::file_status status = fs::status(path, ignored);
  return fs::exists(status) && !fs::is_regular_file(status) && !fs::is_directory(status);
}

bool same_file(const std::string& a, const std::string& b) {
  std::error_code failure;
  if (a.empty() || b.empty() || is_stream(a) || is_stream(b)) return false;
  if (fs::equivalent(a, b, failure)) return true;
  const fs::path left = fs::weakly_canonical(fs::absolute(a, failure), failure);
  return left == fs::weakly_canonical(fs::absolute(b, failure), failure);
}

void write_stream(const std::string& path, const std::string& content) {
  if (path == "-") {
    std::cout << content << std::flush;
    if (!std::cout) fail("standard output", "could not be written");
    return;
  }
  std::ofstream out(path, std::ios::binary);
  out << content << std::flush;
  if (!out) fail(path, "could not be written to its end");
}

}  // namespace

std::string read_file(const std::string& path, const std::string& what) {
  if (path == "-") {
    std::string bytes{std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
    if (std::cin.bad()) fail("standard input", "cannot be read");
    return bytes;
  }
  std::error_code failure;
  const fs::file_status status = fs::status(path, failure);
  if (!fs::exists(status)) fail(path, "expected " + what + ", found no such file");
  if (fs::is_directory(status))
    fail(path, "expected " + what + ", found a folder; name a file in it");
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  if (!in) fail(path, std::string("cannot be read: ") + std::strerror(errno));
  std::string bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  if (in.bad()) fail(path, "cannot be read to its end");
  return bytes;
}

void file_plan::check(const std::string& option, const std::string& path) const {
  for (const named_file& other : taken_) {
    require_usage(!same_file(path, other.path), option + " would replace the file of " +
                                                    other.option + ", " + path +
                                                    ": choose another name");
  }
}

void file_plan::take(const std::string& option, const std::string& path) {
  check(option, path);
  taken_.push_back({option, path});
}

output_file file_plan::output(const std::string& option, const std::string& path) {
  take(option, path);
  return output_file(path);
}

fs::path file_plan::claim(const std::string& option, const std::string& path) {
  take(option, path);
  const fs::path target = replaceable(path);
  check_writable(target);
  return target;
}

fs::path replaceable(const std::string& path) {
  std::error_code failure;
  const fs::file_status status = fs::status(path, failure);
  if (fs::is_directory(status)) {
    fail(path, "expected the name of a file to write, found a folder; add a file name");
  }
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    fail(path, "expected a regular file to write, found a device or a pipe");
  }
  if (!fs::is_symlink(fs::symlink_status(path, failure))) return path;
  const fs::path target = fs::weakly_canonical(path, failure);
  if (failure) fail(path, "is a link that leads nowhere: " + failure.message());
  return target;
}

void check_writable(const fs::path& path) {
  try {
    const tiny_llama::file_writer probe(path);  // makes its temporary file, and removes it
  } catch (const tiny_llama::file_error&) {
    const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
    std::error_code failure;
    if (!fs::is_directory(folder, failure)) {
      fail(path.string(), "cannot be written: there is no folder " + folder.string() +
                              "; make it first (mkdir -p)");
    }
    fail(path.string(), "cannot be written: no file can be made in " + folder.string() +
                            "; choose a folder of yours, or free space");
  }
}

output_file::output_file(std::string path) : path_(std::move(path)) {
  if (!wanted() || is_stream(path_)) return;
  path_ = replaceable(path_).string();
  check_writable(path_);
}

void output_file::commit() {
  if (!wanted()) return;
  if (is_stream(path_)) return write_stream(path_, content_);
  tiny_llama::file_writer out(path_);
  out.text(content_);
  out.commit();
}

}  // namespace tool
