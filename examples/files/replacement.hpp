// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The one way in which these programs write a file. What is written goes to a file of our own
// making in the same folder; `commit` brings it to the disk and puts it in its place in one step,
// with the permissions of the file it replaces. On every other way out it is removed, and the older
// file stays as it was. Standard output, devices and pipes are written as they are. POSIX.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include "files/destination.hpp"
#include "files/error.hpp"
#include "files/temporaries.hpp"

namespace files {

namespace detail {

/// Writes all bytes; 0, or the errno of what went wrong.
inline int write_all(int descriptor, std::string_view bytes) {
  constexpr std::size_t piece = std::size_t{1} << 30;  // a call takes less than 2 GiB on Linux
  while (!bytes.empty()) {
    const ssize_t done = ::write(descriptor, bytes.data(), std::min(bytes.size(), piece));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return done < 0 ? errno : EIO;
    bytes.remove_prefix(static_cast<std::size_t>(done));
  }
  return 0;
}

/// Whether an errno says that the file system has no such call, rather than that it went wrong.
inline bool is_lacking(int code) {
  return code == EINVAL || code == ENOSYS || code == ENOTSUP || code == EOPNOTSUPP ||
         code == ENOTTY || code == ENOLCK;
}

inline std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

/// A file that was not there before, so that it is ours to remove; -1 and errno if none can be
/// made. Its name has a fixed length: one made of the output's name could be too long.
inline int make_temporary(const std::filesystem::path& folder, std::string& name) {
  auto seed =
      static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count()) ^
      (static_cast<std::uint64_t>(getpid()) << 32);
  for (int i = 0; i < 1000; ++i) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    char digits[32];
    std::snprintf(digits, sizeof digits, ".idiolect-%012llx",
                  static_cast<unsigned long long>(seed >> 16));
    name = (folder / digits).string();
    const int made = open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (made >= 0 || errno != EEXIST) return made;
  }
  return -1;
}

}  // namespace detail

class replacement {
 public:
  /// Finds out at once whether the file can be written. Raises file_error.
  explicit replacement(const std::filesystem::path& path)
      : asked_(path), to_(destination_of(path)) {
    if (to_.stream) {
      open_stream();
    } else {
      open_temporary();
    }
  }
  replacement(const replacement&) = delete;
  replacement& operator=(const replacement&) = delete;
  replacement(replacement&& other) noexcept
      : asked_(std::move(other.asked_)),
        to_(std::move(other.to_)),
        temporary_(std::exchange(other.temporary_, {})),
        descriptor_(std::exchange(other.descriptor_, -1)),
        waiting_(std::move(other.waiting_)) {}
  ~replacement() {
    if (descriptor_ >= 0) close(descriptor_);
    if (temporary_.empty()) return;
    unlink(temporary_.c_str());
    temporaries::all().forget(temporary_);
  }

  /// Where it will stand.
  [[nodiscard]] const destination& where() const noexcept { return to_; }

  /// Raises file_error, for example where the disk is full.
  void write(std::string_view bytes) {
    constexpr std::size_t block = std::size_t{1} << 20;
    waiting_ += bytes;
    if (waiting_.size() >= block) flush();
  }

  /// Brings what was written to the disk; nothing is replaced yet. Raises file_error.
  void prepare() {
    flush();
    const bool on_disk = !to_.stream;
    if (on_disk && fsync(descriptor_) != 0) {
      if (!detail::is_lacking(errno)) fail(asked_, "cannot be written to the disk", errno);
      warn(asked_.string() + ": its file system does not say when a file is on the disk (fsync: " +
           std::strerror(errno) + ")");
    }
    // Some file systems say only here that there was no room.
    if (close(std::exchange(descriptor_, -1)) != 0 && errno != EINTR) {
      fail(asked_, "could not be written to its end", errno);
    }
  }

  /// Puts the file in its place. Raises file_error.
  void publish() {
    if (to_.stream) return;
    temporaries::all().publish([&] {
      if (std::rename(temporary_.c_str(), to_.path.c_str()) == 0) {
        temporaries::all().forget(std::exchange(temporary_, {}));
        return sync_folder();
      }
      const int why = errno;
      // What is mounted as a single file can be written and not be replaced.
      if (why != EXDEV && why != EBUSY) fail(asked_, "cannot be put in its place", why);
      warn(asked_.string() + ": cannot be replaced in one step (" + std::strerror(why) +
           "), and is written over");
      write_over();
    });
  }

  void commit() {
    prepare();
    publish();
  }

 private:
  void open_stream() {
    if (to_.descriptor) {
      descriptor_ = fcntl(*to_.descriptor, F_DUPFD_CLOEXEC, 3);
    } else {
      descriptor_ = open(to_.path.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY);
    }
    if (descriptor_ < 0) fail(to_.path, "cannot be written", errno);
  }

  void open_temporary() {
    struct stat old {};
    const bool replaces = stat(to_.path.c_str(), &old) == 0;
    if (replaces && access(to_.path.c_str(), W_OK) != 0) {
      fail(asked_, "cannot be written", errno);  // that its folder can is not enough
    }
    const auto folder = detail::folder_of(to_.path);
    descriptor_ = detail::make_temporary(folder, temporary_);
    if (descriptor_ < 0) {
      const int why = errno;
      temporary_.clear();
      std::error_code ignored;
      if (!std::filesystem::is_directory(folder, ignored)) {
        fail(asked_, "cannot be written: there is no folder " + folder.string() +
                         "; make it first (mkdir -p)");
      }
      fail(asked_, "cannot be written: no file can be made in " + folder.string(), why);
    }
    temporaries::all().add(temporary_);
    if (!replaces) return;
    // Another owner's file stays his, where we may give it away.
    if (old.st_uid != geteuid() || old.st_gid != getegid()) {
      static_cast<void>(fchown(descriptor_, old.st_uid, old.st_gid) == 0);
    }
    static_cast<void>(fchmod(descriptor_, old.st_mode & 0777) == 0);
  }

  void flush() {
    const int why = detail::write_all(descriptor_, waiting_);
    if (why == EPIPE) {
      idiolect::raise(
          reader_gone(to_.path, std::string("could not be written: ") + std::strerror(why)));
    }
    if (why != 0) fail(to_.descriptor ? to_.path : asked_, "could not be written to its end", why);
    waiting_.clear();
  }

  // A file that is in its place may still be lost with its name, if the machine stops.
  void sync_folder() const {
    const int folder =
        open(detail::folder_of(to_.path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) return;  // written and searched, but not read: nothing to do about it
    const int why = fsync(folder) == 0 ? 0 : errno;
    close(folder);
    if (why != 0 && !detail::is_lacking(why)) {
      warn(asked_.string() + ": is written, but its folder could not be brought to the disk (" +
           std::strerror(why) + ")");
    }
  }

  void write_over() {
    const int from = open(temporary_.c_str(), O_RDONLY | O_CLOEXEC);
    const int to = open(to_.path.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
    int why = from < 0 || to < 0 ? errno : 0;
    std::string block(std::size_t{1} << 20, '\0');
    while (why == 0) {
      const ssize_t n = read(from, block.data(), block.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) {
        why = n < 0 ? errno : 0;
        break;
      }
      why = detail::write_all(to, std::string_view(block).substr(0, static_cast<std::size_t>(n)));
    }
    if (why == 0 && fsync(to) != 0 && !detail::is_lacking(errno)) why = errno;
    if (from >= 0) close(from);
    if (to >= 0 && close(to) != 0 && why == 0) why = errno;
    if (why == 0) return;
    // The older file is gone: the new one is not thrown away with it.
    const std::string kept = std::exchange(temporary_, {});
    temporaries::all().forget(kept);
    fail(asked_, "could not be written over; what it should hold is in " + kept, why);
  }

  std::filesystem::path asked_;
  destination to_;
  std::string temporary_;  // empty once it is in its place
  int descriptor_ = -1;
  std::string waiting_;  // not yet given to the system
};

/// Puts several results in their places: all are on the disk before the first replaces anything, so
/// that a full disk changes none of them. They have `prepare` and `publish`. Raises file_error.
template <class... Files>
void commit_together(Files&... results) {
  (results.prepare(), ...);
  temporaries::all().publish([&] { (results.publish(), ...); });
}

/// Writes a file whole. Raises file_error.
inline void write_file(const std::filesystem::path& path, std::string_view bytes) {
  replacement file(path);
  file.write(bytes);
  file.commit();
}

}  // namespace files
