// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "torch_trainer/atomic_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "tool/errors.hpp"

namespace torch_trainer {

namespace {
[[noreturn]] void failed(const std::filesystem::path& path, const std::string& what) {
  tool::fail(path.string(), what + ": " + std::strerror(errno));
}
}  // namespace

atomic_file::atomic_file(std::filesystem::path path) : path_(std::move(path)) {
  const auto folder = path_.has_parent_path() ? path_.parent_path() : std::filesystem::path(".");
  temporary_ = (folder / ("." + path_.filename().string() + ".XXXXXX")).string();
  file_ = mkstemp(temporary_.data());
  if (file_ < 0) failed(path_, "no file can be made in its folder");
  // mkstemp makes files for the owner alone: as any other new file instead.
  const mode_t mask = umask(0);
  umask(mask);
  fchmod(file_, static_cast<mode_t>(0666 & ~mask));
}

atomic_file::~atomic_file() {
  if (file_ >= 0) {
    close(file_);
    unlink(temporary_.c_str());
  }
}

void atomic_file::write(std::span<const std::byte> bytes) {
  constexpr std::size_t piece = std::size_t{1} << 30;  // a call takes less than 2 GiB on Linux
  while (!bytes.empty()) {
    const ssize_t done = ::write(file_, bytes.data(), std::min(bytes.size(), piece));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) failed(path_, "cannot be written to its end");
    bytes = bytes.subspan(static_cast<std::size_t>(done));
  }
}

void atomic_file::commit() {
  if (fsync(file_) != 0) failed(path_, "cannot be written to the disk");
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) {
    failed(path_, "cannot be put in its place");
  }
  close(std::exchange(file_, -1));
}

}  // namespace torch_trainer
