// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The end of the model, from states to the loss, through the library's adapter for LibTorch. Logits
// of a vocabulary are large (192 KiB a token in SmolLM2), so they are made for a few rows at a
// time, become their own gradient in place and are gone before the next ones come:
//
//   for each piece of rows:   z = h E^T   z <- dL/dz   dL/dh = z E   dL/dE += z^T h

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <span>

#include <idiolect/loss/report.hpp>

#include "tool/gates.hpp"
#include "torch_trainer/config.hpp"

namespace torch_trainer {

struct head_options {
  double tokens = 1;           ///< targets of the whole optimiser step: the loss is their mean
  index_t rows_at_once = 512;  ///< rows of logits that exist at a time
  token_id end = -1;           ///< whose probability is reported; none below 0
};

/// Adds to `all` the report of rows that came after: losses add up, means are over all rows.
void merge(idiolect::loss_report& all, const idiolect::loss_report& next);

/// The loss of states [N, D] with the head's matrix [V, D], and its backward pass down to the
/// leaves that the states come from. `targets` are N, int64; `weights` are N or undefined.
[[nodiscard]] idiolect::loss_report loss_backward(const at::Tensor& states, const at::Tensor& head,
                                                  const at::Tensor& targets,
                                                  const at::Tensor& weights,
                                                  const tool::any_gate& gate,
                                                  const head_options& options);

/// The report alone, without gradients; its loss is the plain likelihood's.
[[nodiscard]] idiolect::loss_report score(const at::Tensor& states, const at::Tensor& head,
                                          const at::Tensor& targets, const head_options& options);

}  // namespace torch_trainer
