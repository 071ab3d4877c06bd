// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A file of lines that a process can be killed over at any moment: `<result>.unfinished`. Its first
// line says that it is ours, and which command it belongs to; every other line is one record, in
// order, with its number and a hash behind it:
//
//   {"idiolect":"rewrite", ...}
//   {"how":"hinted", ...} <tab> 0 <space> 16 digits
//
// Who opens it again finds the records up to the first line that is cut off, damaged, missing or
// there twice; what follows is done again. The file appears with its first line in it, so that
// another file of this name is never taken for ours. POSIX.

#include <cstddef>
#include <string>
#include <vector>

namespace tool {

class journal {
 public:
  /// Opens `path`, or makes it, for this process alone. `header` is a JSON object without line
  /// breaks. Raises input_error if another process has it open, if it is somebody else's file, or
  /// if it belongs to another command, naming what differs; `restart` forgets what is in it
  /// instead. Warns of lines that are no good, and where the file system has no locks.
  journal(std::string path, const std::string& header, bool restart);
  journal(const journal&) = delete;
  journal& operator=(const journal&) = delete;
  ~journal();

  [[nodiscard]] const std::string& path() const noexcept { return path_; }

  /// The records that were there when it was opened, without line breaks.
  [[nodiscard]] const std::vector<std::string>& found() const noexcept { return found_; }

  /// One more record, without a line break. Raises input_error.
  void append(const std::string& line);

  /// All records, found and appended. Raises input_error if somebody else wrote between them.
  [[nodiscard]] std::vector<std::string> records() const;

  /// The result is in its place: the file goes, if it is still the one that was opened.
  void remove();

 private:
  void open_alone(const std::string& header);
  [[nodiscard]] bool make(const std::string& header);
  [[nodiscard]] bool lock();
  [[nodiscard]] bool is_in_place() const;
  void write(const std::string& bytes) const;

  std::string path_;
  int file_ = -1;
  std::size_t next_ = 0;  // number of the record that `append` writes
  std::vector<std::string> found_;
};

}  // namespace tool
