// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "torch_trainer/training_log.hpp"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "tool/text.hpp"

namespace torch_trainer {

namespace {
/// "1:05:09", "0:42".
std::string clock_text(double seconds) {
  const auto s = static_cast<long long>(std::llround(std::max(seconds, 0.0)));
  char text[32];
  if (s >= 3600) {
    std::snprintf(text, sizeof text, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
  } else {
    std::snprintf(text, sizeof text, "%lld:%02lld", s / 60, s % 60);
  }
  return text;
}
}  // namespace

std::string figures(const idiolect::loss_report& r) {
  std::string text = "NLL " + tool::fixed(r.mean_nll, 4) + ", phi " + tool::fixed(r.phi.mean, 4);
  if (r.end_prob.count > 0) text += ", p(end) " + tool::fixed(r.end_prob.mean, 4);
  return text;
}

training_log::training_log(const training& how, index_t done, double spent, index_t log_every)
    : steps_(how.steps),
      limit_(how.seconds),
      first_(done),
      spent_(spent),
      log_every_(log_every),
      terminal_(isatty(STDERR_FILENO) == 1) {}

training_log::~training_log() {
  if (drawn_) std::fputs("\n", stderr);
}

void training_log::add(const step_report& s, bool last) {
  tokens_ += static_cast<double>(s.tokens);
  seconds_ += s.seconds;
  if (!terminal_ && !last && s.step % log_every_ != 0) return;
  const double a_step = seconds_ / static_cast<double>(s.step - first_);
  const double left =
      limit_ > 0 ? limit_ - spent_ - seconds_ : a_step * static_cast<double>(steps_ - s.step);
  const std::string line =
      "step " + std::to_string(s.step) + (limit_ > 0 ? "" : " of " + std::to_string(steps_)) +
      ": loss " + tool::fixed(s.loss.loss, 4) + ", " + figures(s.loss) + ", weight " +
      tool::fixed(s.loss.weight.mean, 3) + ", gradient " + tool::fixed(s.gradient_norm, 2) + ", " +
      tool::fixed(tokens_per_second(), 0) + " tokens/s, " + clock_text(left) + " left";
  std::fprintf(stderr, terminal_ ? "\r\033[K%s" : "%s\n", line.c_str());
  std::fflush(stderr);
  drawn_ = terminal_;
}

void training_log::say(const std::string& text) {
  std::fprintf(stderr, "%s%s\n", drawn_ ? "\n" : "", text.c_str());
  drawn_ = false;
}

}  // namespace torch_trainer
