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

#include "files/destination.hpp"
#include "files/replacement.hpp"
#include "files/temporaries.hpp"
#include "tool/errors.hpp"
#include "tool/files.hpp"
#include "tool/fingerprint.hpp"
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

/// A record as a line of the file.
std::string journal_line(const std::string& record, std::size_t number) {
  const std::string text = record + "\t" + std::to_string(number);
  hashed h;
  h.add(text);
  return text + " " + h.digits() + "\n";
}

/// What the bytes of a journal hold.
struct journal_content {
  std::string header;                ///< empty: it is not ours
  std::vector<std::string> records;  ///< up to the first line that is no good
  std::size_t bytes = 0;             ///< of the header and of them
  bool whole = true;                 ///< nothing follows but a last line that was cut off
};

journal_content parse(std::string_view bytes) {
  journal_content c;
  const auto first = bytes.find('\n');
  if (!bytes.starts_with(own) || first == std::string_view::npos) return c;
  c.header = bytes.substr(0, first);
  c.bytes = first + 1;
  for (;;) {
    const auto end = bytes.find('\n', c.bytes);
    if (end == std::string_view::npos) return c;
    const std::string_view line = bytes.substr(c.bytes, end + 1 - c.bytes);
    const auto tab = line.rfind('\t');
    std::string record(line.substr(0, tab == std::string_view::npos ? 0 : tab));
    if (tab == std::string_view::npos || line != journal_line(record, c.records.size())) {
      c.whole = false;
      return c;
    }
    c.records.push_back(std::move(record));
    c.bytes = end + 1;
  }
}

}  // namespace

journal::journal(std::string path, const std::string& header, bool restart)
    : path_(std::move(path)) {
  try {
    open_alone(header);
    const auto content = parse(read_file(path_, "an unfinished result", no_limit));
    if (content.header.empty()) {
      fail(path_,
           "is needed for what is unfinished, and is another file: its first line is not this "
           "tool's. Move it away, or choose another --out");
    }
    const bool nothing_to_lose = content.records.empty() && content.whole;
    const bool ours = content.header == header;
    if (!ours && !restart && !nothing_to_lose) {
      fail(path_,
           "is the unfinished result of another command: " + difference(content.header, header) +
               ". Repeat that command to finish it, or add --restart to discard its " +
               counted(static_cast<long long>(content.records.size()), "record"));
    }
    const bool kept = ours && !restart;
    if (kept && !content.whole) {
      files::warn(path_ + ": the line behind its first " +
                  counted(static_cast<long long>(content.records.size()), "record") +
                  " is damaged, missing or there twice; what follows is done again");
    }
    if (!kept) {  // never without its first line, as it would be if it were emptied
      remove();
      close(std::exchange(file_, -1));
      open_alone(header);
      return;
    }
    if (ftruncate(file_, static_cast<off_t>(content.bytes)) != 0) {
      fail(path_, std::string("cannot be cut to what is whole: ") + std::strerror(errno));
    }
    found_ = content.records;
    next_ = found_.size();
  } catch (...) {
    if (file_ >= 0) close(file_);
    throw;
  }
}

journal::~journal() {
  close(file_);
}

// With its first line in it, and locked, before it has its name. False: there is a file already.
bool journal::make(const std::string& header) {
  const auto folder = files::detail::folder_of(path_);
  std::string name;
  const int made = files::detail::make_temporary(folder, name);
  if (made < 0) fail(path_, std::string("cannot be written: ") + std::strerror(errno));
  files::temporaries::all().add(name);
  const auto give_up = [&] {
    unlink(name.c_str());
    files::temporaries::all().forget(name);
  };
  close(made);
  file_ = open(name.c_str(), O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
  if (file_ < 0 || !lock()) {
    const int why = errno;
    give_up();
    fail(path_, std::string("cannot be written: ") + std::strerror(why));
  }
  try {
    write(header + "\n");
  } catch (...) {
    give_up();
    throw;
  }
  const int linked = link(name.c_str(), path_.c_str());
  const int why = errno;
  if (linked != 0 && why != EEXIST) {
    // A file system without second names.
    const int plain = open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666);
    const int refused = errno;
    give_up();
    close(std::exchange(file_, plain));
    if (plain < 0 && refused == EEXIST) return false;
    if (plain < 0) fail(path_, std::string("cannot be written: ") + std::strerror(refused));
    if (!lock()) return false;
    write(header + "\n");
    return true;
  }
  give_up();
  if (linked == 0) return true;
  close(std::exchange(file_, -1));
  return false;
}

// False: somebody else has it.
bool journal::lock() {
  if (flock(file_, LOCK_EX | LOCK_NB) == 0) return true;
  if (errno == EWOULDBLOCK) return false;
  files::warn(path_ + ": its file system has no locks (" + std::strerror(errno) +
              "): two runs at once would not see each other before the end");
  return true;
}

bool journal::is_in_place() const {
  const auto mine = files::identity_of(file_);
  return mine && mine == files::identity_of(std::filesystem::path(path_));
}

void journal::open_alone(const std::string& header) {
  for (;;) {
    if (make(header)) return;
    if (file_ >= 0) close(std::exchange(file_, -1));
    struct stat there {};
    if (stat(path_.c_str(), &there) == 0 && !S_ISREG(there.st_mode)) {
      fail(path_, "is needed for what is unfinished, and is no regular file: move it away");
    }
    file_ = open(path_.c_str(), O_RDWR | O_APPEND | O_CLOEXEC);
    if (file_ < 0 && errno == ENOENT) continue;  // finished and removed in between
    if (file_ < 0) fail(path_, std::string("cannot be written: ") + std::strerror(errno));
    if (!lock()) {
      fail(path_, "another process is writing it: wait for it, or choose another --out");
    }
    // Whoever had it before may have finished and removed it in between.
    if (is_in_place()) return;
    close(std::exchange(file_, -1));
  }
}

void journal::write(const std::string& bytes) const {
  const int why = files::detail::write_all(file_, bytes);
  if (why != 0) {
    fail(path_, std::string("could not be written: ") + std::strerror(why) +
                    "; the same command goes on from here");
  }
}

void journal::append(const std::string& line) {
  write(journal_line(line, next_++));
}

std::vector<std::string> journal::records() const {
  auto content = parse(read_file(path_, "an unfinished result", no_limit));
  if (content.records.size() != next_ || !content.whole) {
    fail(path_,
         "does not hold what was written: is another run at work on it? The same command "
         "goes on from what is whole");
  }
  return std::move(content.records);
}

void journal::remove() {
  if (is_in_place()) unlink(path_.c_str());
}

}  // namespace tool
