// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "tool/rewrite_journal.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "tool/errors.hpp"
#include "tool/files.hpp"
#include "tool/text.hpp"

namespace tool {

namespace {

using json = nlohmann::ordered_json;

std::string shortened(const json& value) {
  std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return printable(text);
}

/// What a header begins with.
constexpr const char* own = "{\"idiolect\":\"rewrite\"";

/// What differs between two headers, for a person.
std::string difference(const std::string& before, const std::string& now) {
  const json a = json::parse(before, nullptr, false);
  const json b = json::parse(now, nullptr, false);
  if (!a.is_object()) return "its first line is not this tool's";
  std::string text;
  for (const auto& [key, value] : b.items()) {
    const json old = a.value(key, json());
    if (old != value) {
      text += (text.empty() ? "" : "; ") + key + " was " + shortened(old) + " and is " +
              shortened(value);
    }
  }
  return text.empty() ? "it was made by another version of the tool" : text;
}

std::vector<std::string> complete_lines(const std::string& content) {
  std::vector<std::string> lines;
  std::size_t begin = 0;
  for (auto end = content.find('\n'); end != std::string::npos; end = content.find('\n', begin)) {
    lines.push_back(content.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

}  // namespace

journal::journal(std::string path, const std::string& header, bool restart)
    : path_(std::move(path)) {
  try {
    open_alone();
    std::string content = read_file(path_, "an unfinished result");
    // A file of somebody else may have this name. Ours can be killed in its first line.
    if (!content.starts_with(own) && !std::string_view(own).starts_with(content)) {
      fail(path_,
           "is needed for what is unfinished, and is another file: its first line is not this "
           "tool's. Move it away, or choose another --out");
    }
    if (restart) content.clear();
    auto lines = complete_lines(content);
    if (lines.size() == 1) lines.clear();  // nothing to lose
    if (!lines.empty() && lines.front() != header) {
      fail(path_,
           "is the unfinished result of another command: " + difference(lines.front(), header) +
               ". Repeat that command to finish it, or add --restart to discard its " +
               counted(static_cast<long long>(lines.size()) - 1, "record"));
    }
    std::size_t kept = 0;
    for (const auto& line : lines) kept += line.size() + 1;
    if (ftruncate(file_, static_cast<off_t>(kept)) != 0) {
      fail(path_, std::string("cannot be cut to its complete lines: ") + std::strerror(errno));
    }
    if (lines.empty()) {
      write(header + "\n");
    } else {
      found_.assign(std::make_move_iterator(lines.begin() + 1),
                    std::make_move_iterator(lines.end()));
    }
  } catch (...) {
    if (file_ >= 0) close(file_);
    throw;
  }
}

journal::~journal() {
  close(file_);
}

void journal::open_alone() {
  for (;;) {
    file_ = open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (file_ < 0) fail(path_, std::string("cannot be written: ") + std::strerror(errno));
    if (flock(file_, LOCK_EX | LOCK_NB) != 0) {
      fail(path_, errno == EWOULDBLOCK
                      ? "another process is writing it: wait for it, or choose another --out"
                      : std::string("cannot be locked: ") + std::strerror(errno));
    }
    // Whoever had it before may have finished and removed it in between.
    struct stat mine {};
    struct stat there {};
    if (fstat(file_, &mine) == 0 && stat(path_.c_str(), &there) == 0 && mine.st_ino == there.st_ino)
      return;
    close(std::exchange(file_, -1));
  }
}

void journal::write(const std::string& bytes) {
  for (std::size_t done = 0; done < bytes.size();) {
    const auto n = ::write(file_, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      fail(path_, std::string("could not be written: ") + std::strerror(errno) +
                      "; the same command goes on from here");
    }
    done += static_cast<std::size_t>(n);
  }
}

void journal::append(const std::string& line) {
  write(line + "\n");
}

std::vector<std::string> journal::records() const {
  auto lines = complete_lines(read_file(path_, "an unfinished result"));
  if (!lines.empty()) lines.erase(lines.begin());
  return lines;
}

void journal::remove() {
  unlink(path_.c_str());
}

}  // namespace tool
