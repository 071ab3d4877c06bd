// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// How the training goes, on standard error: one line that is written over on a terminal, a line
// every few steps in a log.

#include <string>

#include "torch_trainer/training.hpp"

namespace torch_trainer {

class training_log {
 public:
  /// Of training that takes `steps`, or `seconds` where that is not 0; `done` of the steps and
  /// `spent` of the seconds belong to an earlier run.
  training_log(const training& how, index_t done, double spent, index_t log_every);
  training_log(const training_log&) = delete;
  training_log& operator=(const training_log&) = delete;
  ~training_log();  ///< ends the line

  void add(const step_report& step, bool last);
  /// A remark on a line of its own.
  void say(const std::string& text);

  [[nodiscard]] double tokens_per_second() const { return seconds_ > 0 ? tokens_ / seconds_ : 0; }

 private:
  index_t steps_;
  double limit_;
  index_t first_;
  double spent_;
  index_t log_every_;
  bool terminal_;
  bool drawn_ = false;
  double tokens_ = 0;
  double seconds_ = 0;
};

/// The plain figures of a text, for a line: "NLL 1.413, phi -0.275, p(end) 0.98".
[[nodiscard]] std::string figures(const idiolect::loss_report& r);

}  // namespace torch_trainer
