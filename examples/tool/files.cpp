// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "tool/files.hpp"

#include <utility>

#include "tool/errors.hpp"
#include "tool/input.hpp"

namespace tool {

namespace fs = std::filesystem;

namespace {

void require_other(const std::string& option, const std::string& path, const files::file_key& key,
                   const std::string& taken_by, const files::file_key& taken) {
  require_usage(!key.same_as(taken), option + " would replace the file of " + taken_by + ", " +
                                         path + ": choose another name");
}

}  // namespace

std::string read_file(const std::string& path, const std::string& what, std::size_t most) {
  byte_source source(path, what);
  std::string bytes;
  for (std::string_view block; !(block = source.next()).empty();) {
    bytes += block;
    if (bytes.size() > most) {
      fail(path,
           "expected at most " + std::to_string(most) +
               " bytes, found more: cut it, or make it JSON Lines, which are read one by one");
    }
  }
  return bytes;
}

file_plan::file_plan(const std::vector<named_file>& inputs) {
  for (const named_file& input : inputs) {
    taken_.push_back({input.option, files::key_of_input(input.path)});
  }
  taken_.push_back({"this program itself", files::key_of_input("/proc/self/exe")});
  taken_.push_back({"standard output", {files::identity_of(STDOUT_FILENO), {}}});
  taken_.push_back({"standard error", {files::identity_of(STDERR_FILENO), {}}});
}

void file_plan::check(const std::string& option, const std::string& path) const {
  if (path.empty()) return;
  const auto to = files::destination_of(path);
  if (to.stream) {
    // What it is redirected to is no other output's, but it may be an input's.
    const auto key = files::key_of_output(to);
    for (const taken_file& other : taken_) {
      if (other.option.starts_with("standard ")) continue;
      require_other(option, path, key, other.option, other.key);
    }
    return;
  }
  const auto key = files::key_of_output(to);
  for (const taken_file& other : taken_) require_other(option, path, key, other.option, other.key);
}

files::destination file_plan::take(const std::string& option, const std::string& path) {
  check(option, path);
  auto to = files::destination_of(path);
  if (!to.stream) taken_.push_back({option, files::key_of_output(to)});
  return to;
}

output_file file_plan::output(const std::string& option, const std::string& path) {
  return path.empty() ? output_file() : output_file(take(option, path));
}

fs::path file_plan::claim(const std::string& option, const std::string& path) {
  const auto to = take(option, path);
  if (!to.stream) check_writable(to.path);
  return to.descriptor == STDOUT_FILENO ? fs::path("-") : to.path;
}

void check_writable(const fs::path& path) {
  const files::replacement probe(path);  // makes its temporary file, and removes it
}

output_file::output_file(const files::destination& to)
    : path_(to.descriptor == STDOUT_FILENO ? "-" : to.path.string()) {
  if (!to.stream) check_writable(path_);
}

void output_file::prepare() {
  if (!wanted()) return;
  file_.emplace(path_);
  file_->write(content_);
  file_->prepare();
}

void output_file::publish() {
  if (file_) file_->publish();
}

}  // namespace tool
