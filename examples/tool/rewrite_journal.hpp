// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A file of lines that a process can be killed over at any moment: `<result>.unfinished`. Its first
// line says which command it belongs to; every other line is one record, in order, and is written
// in one go. Who opens it again finds the lines that were completed; a last line that was not is
// cut off. POSIX.

#include <string>
#include <vector>

namespace tool {

class journal {
 public:
  /// Opens `path`, or makes it, for this process alone. `header` is a JSON object without line
  /// breaks. Raises input_error if another process has it open, or if it belongs to another
  /// command, naming what differs; `restart` forgets what is in it instead.
  journal(std::string path, const std::string& header, bool restart);
  journal(const journal&) = delete;
  journal& operator=(const journal&) = delete;
  ~journal();

  [[nodiscard]] const std::string& path() const noexcept { return path_; }

  /// The records that were there when it was opened, without line breaks.
  [[nodiscard]] const std::vector<std::string>& found() const noexcept { return found_; }

  /// One more record, without a line break. Raises input_error.
  void append(const std::string& line);

  /// All records, found and appended.
  [[nodiscard]] std::vector<std::string> records() const;

  /// The result is in its place: the file goes.
  void remove();

 private:
  void open_alone();
  void write(const std::string& bytes);

  std::string path_;
  int file_ = -1;
  std::vector<std::string> found_;
};

}  // namespace tool
