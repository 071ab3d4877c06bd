// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a loss of tensors can be told beside the logits, targets and loss: loss_options, with
// tensors where those have spans. (There is no `accumulate`: autograd adds gradients up itself.)

#include <vector>

#include <ATen/ATen.h>

#include <idiolect/adapters/torch/executor.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/loss/options.hpp>

namespace idiolect {

/// Every field has the usual default; tensors may be undefined. The tensors are on the logits'
/// device.
struct torch_loss_options {
  reduction reduce = reduction::mean();
  token_id ignore_index = ignored_target;  ///< target of rows that do not count
  double temperature = 1;                  ///< logits are divided by it
  /// Multiplies the gradient only. For fp16 logits set a loss scaler's factor here, where the
  /// gradient is rounded, rather than multiply the loss by it.
  double gradient_scale = 1;
  non_finite on_non_finite = non_finite::propagate;
  /// One per row, of the targets' shape: multiplies that row's loss. fp32, or rounded to it. No
  /// gradient with respect to them.
  at::Tensor weights = {};
  /// int32 or int64, ascending from 0 to the row count: rows [offsets[k], offsets[k + 1]) of the
  /// flattened rows are sequence k.
  at::Tensor sequence_offsets = {};
  std::vector<token_id> end_tokens = {};  ///< whose probability the report follows
  /// The gradient is written over the logits, so that no other memory of their size is needed. What
  /// was in the logits is lost. See torch_loss for what is refused.
  bool gradient_in_logits = false;
  any_executor executor = {};  ///< on the CPU. The bits of a result do not depend on it
};

}  // namespace idiolect
