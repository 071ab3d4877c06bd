// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Fine-tuning a Llama with any gate of the library, a step at a time, and its state in a file.

#include <filesystem>
#include <functional>
#include <vector>

#include <idiolect/loss/report.hpp>

#include "torch_trainer/adamw.hpp"
#include "torch_trainer/examples.hpp"
#include "torch_trainer/llama.hpp"
#include "torch_trainer/training.hpp"

namespace torch_trainer {

class trainer {
 public:
  /// `model` and `texts` must outlive it. The model's parameters are trained where they are.
  trainer(llama& model, const example_set& texts, token_id end, const training& how);

  /// One step of the optimiser. `progress` in [0, 1] is the share of training that is done and
  /// decides the loss (IDFT's schedule). `rate_progress` decides the learning rate, likewise; it is
  /// called when the gradient is there, with the seconds that took, for schedules by the clock.
  /// Raises input_error if loss or gradient are not finite; the weights are then as before.
  step_report step(double progress, const std::function<double(double)>& rate_progress);

  /// Steps that were made, those before a resumption included.
  [[nodiscard]] index_t steps_done() const noexcept { return steps_; }

  /// Everything that the next step depends on, in one safetensors file: weights, moments, the
  /// number of the step, the settings. `seconds` is the time spent so far.
  void save(const std::filesystem::path& path, double seconds) const;
  /// Takes up where `save` was called; returns its `seconds`. The next steps have the bits that
  /// they would have had. Raises usage_error naming the first setting that is not the same, and
  /// input_error for a file that is no such state.
  double resume(const std::filesystem::path& path);

 private:
  [[nodiscard]] std::vector<const example*> next_examples();
  [[nodiscard]] std::vector<adamw_parameter> optimised();

  llama& model_;
  const example_set& texts_;
  token_id end_;
  training how_;
  example_order order_;
  std::vector<at::Tensor> first_;  ///< moments, undefined where a parameter is frozen
  std::vector<at::Tensor> second_;
  index_t steps_ = 0;
};

/// The plain likelihood's report of texts under the model: NLL, CLL and the end token's p.
[[nodiscard]] idiolect::loss_report evaluate(const llama& model, const example_set& texts,
                                             token_id end, const training& how);

}  // namespace torch_trainer
