// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "tool/progress.hpp"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "tool/interrupt.hpp"
#include "tool/text.hpp"

namespace tool {

progress::progress(std::string label, std::int64_t total, std::string unit, std::int64_t before)
    : label_(std::move(label)),
      unit_(std::move(unit)),
      total_(total),
      before_(before),
      done_(before),
      visible_(isatty(STDERR_FILENO) == 1) {}

progress::~progress() {
  if (drawn_) std::fputs("\r\033[K", stderr);
}

void progress::advance(std::int64_t count, const std::string& note) {
  check_interrupt();
  done_ += count;
  if (!note.empty()) note_ = note;
  const auto now = clock::now();
  if (!visible_ || now < next_) return;
  next_ = now + std::chrono::milliseconds(100);
  std::fprintf(stderr, "\r\033[K%s",
               line(std::chrono::duration<double>(now - begin_).count()).c_str());
  std::fflush(stderr);
  drawn_ = true;
}

std::string progress::line(double seconds) const {
  const auto percent = total_ > 0 ? 100 * std::min(done_, total_) / total_ : 0;
  const auto rate = [&](std::int64_t n) {
    const double r = seconds > 0 ? static_cast<double>(n) / seconds : 0;
    return fixed(r, r < 10 ? 1 : 0);
  };
  const std::int64_t now = done_ - before_;
  std::string text = printable(label_) + ": " + std::to_string(percent) + "% of " +
                     std::to_string(total_) + " " + unit_ + ", " +
                     (tokens_ > 0 ? rate(tokens_) + " tokens/s"
                                  : rate(now) + (unit_ == "tokens" ? " " + unit_ : "") + "/s");
  if (now > 0 && done_ < total_ && seconds > 1) {
    text += ", " +
            duration(seconds * static_cast<double>(total_ - done_) / static_cast<double>(now)) +
            " left";
  }
  return note_.empty() ? text : text + ", " + note_;
}

std::string duration(double seconds) {
  if (seconds < 60) return fixed(std::ceil(seconds), 0) + " s";
  const double minutes = std::ceil(seconds / 60);
  if (minutes < 60) return fixed(minutes, 0) + " min";
  return fixed(std::floor(minutes / 60), 0) + " h " + fixed(std::fmod(minutes, 60), 0) + " min";
}

}  // namespace tool
