// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A line on a terminal that says how far the work is, how fast it goes and how long it will take.
// Nothing is written where standard error is not a terminal: a log file wants results, not
// progress.

#include <chrono>
#include <cstdint>
#include <string>

namespace tool {

class progress {
 public:
  /// `total` pieces of work, counted in `unit` ("tokens"), of which `before` were done before.
  progress(std::string label, std::int64_t total, std::string unit, std::int64_t before = 0);
  progress(const progress&) = delete;
  progress& operator=(const progress&) = delete;
  ~progress();  ///< wipes the line

  /// `count` more pieces are done; `note` stands at the end of the line.
  void advance(std::int64_t count, const std::string& note = {});

  /// `count` more tokens were written, in pieces of work that may not be done yet.
  void wrote(std::int64_t count) {
    tokens_ += count;
    advance(0);
  }

  /// Whether anybody sees it: a note need not be made up if not.
  [[nodiscard]] bool visible() const noexcept { return visible_; }

 private:
  using clock = std::chrono::steady_clock;

  [[nodiscard]] std::string line(double seconds) const;

  std::string label_;
  std::string unit_;
  std::string note_;
  std::int64_t total_;
  std::int64_t before_;
  std::int64_t done_;
  std::int64_t tokens_ = 0;
  bool visible_;
  bool drawn_ = false;
  clock::time_point begin_ = clock::now();
  clock::time_point next_ = clock::now();
};

/// A duration as a person says it: "8 s", "3 min", "2 h 10 min".
[[nodiscard]] std::string duration(double seconds);

}  // namespace tool
