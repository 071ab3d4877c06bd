// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "tool/progress.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "tool/interrupt.hpp"
#include "tool/text.hpp"

namespace tool {

progress::progress(std::string label, std::int64_t total, std::string unit)
    : label_(std::move(label)),
      unit_(std::move(unit)),
      total_(total),
      visible_(isatty(STDERR_FILENO) == 1) {}

progress::~progress() {
  if (drawn_) std::fputs("\r\033[K", stderr);
}

void progress::advance(std::int64_t count, const std::string& note) {
  check_interrupt();
  done_ += count;
  const auto now = clock::now();
  if (!visible_ || now < next_) return;
  next_ = now + std::chrono::milliseconds(100);
  const double seconds = std::chrono::duration<double>(now - begin_).count();
  const double rate = seconds > 0 ? static_cast<double>(done_) / seconds : 0;
  const auto percent = total_ > 0 ? 100 * std::min(done_, total_) / total_ : 0;
  std::string line = label_ + ": " + std::to_string(percent) + "% of " + std::to_string(total_) +
                     " " + unit_ + ", " + fixed(rate, rate < 10 ? 1 : 0) + "/s";
  if (!note.empty()) line += ", " + note;
  std::fprintf(stderr, "\r\033[K%s", line.c_str());
  std::fflush(stderr);
  drawn_ = true;
}

}  // namespace tool
