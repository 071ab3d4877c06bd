// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The arguments of a loss of tensors, on any device: what is checked of them, their spans, and
// where the gradient goes.

#include <string>
#include <string_view>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/variable.h>

#include <idiolect/adapters/torch/options.hpp>
#include <idiolect/adapters/torch/views.hpp>
#include <idiolect/core/error.hpp>
#include <idiolect/loss/options.hpp>

namespace idiolect::detail {

/// Raises the errors of the arguments' shapes, types and devices, wherever the logits are.
inline void check_tensors(const at::Tensor& logits, const at::Tensor& targets,
                          const torch_loss_options& o) {
  check_per_row("targets", targets, logits);
  check_integers("targets", targets);
  if (o.weights.defined()) {
    check_per_row("weights", o.weights, logits);
    require(at::isFloatingType(o.weights.scalar_type()), "weights", [&] {
      return "must be floating-point, not " + std::string(toString(o.weights.scalar_type()));
    });
    require(!(o.weights.requires_grad() && at::GradMode::is_enabled()), "weights",
            "require grad, but no gradient is computed for them; pass weights.detach()");
  }
  if (o.sequence_offsets.defined()) {
    check_dense("sequence_offsets", o.sequence_offsets);
    check_device("sequence_offsets", o.sequence_offsets.device(), logits.device());
    check_integers("sequence_offsets", o.sequence_offsets);
    require(o.sequence_offsets.dim() == 1, "sequence_offsets", "must have one dimension");
  }
}

/// Raises shape_error where the gradient must not be written over the logits.
inline void check_overwritable(const at::Tensor& logits, const tensor_rows& rows) {
  const std::string_view argument = "gradient_in_logits";
  const auto is_parameter = [](const at::TensorBase& t) {
    return t.requires_grad() && t.is_leaf();
  };
  require(!is_parameter(logits) && !(logits.is_view() && is_parameter(logits._base())), argument,
          "the logits are, or are a view of, a leaf that requires grad: its values would be lost");
  require(!rows.copied, argument, [&] {
    return "the logits (shape " + printed(logits.sizes()) + ", strides " +
           printed(logits.strides()) +
           ") are not rows of adjacent elements at one distance from each other, without overlap";
  });
}

/// The spans of a call, in the logits' memory, and the tensors that own them.
struct call_arguments {
  at::Tensor targets;
  at::Tensor weights;
  at::Tensor offsets;
  loss_options options;

  call_arguments(const at::Tensor& y, const torch_loss_options& o) : targets(flat(y, at::kLong)) {
    options.reduce = o.reduce;
    options.ignore_index = o.ignore_index;
    options.temperature = o.temperature;
    options.gradient_scale = o.gradient_scale;
    options.on_non_finite = o.on_non_finite;
    options.end_tokens = o.end_tokens;
    if (o.weights.defined()) {
      weights = flat(o.weights, at::kFloat);
      options.weights = span_of<float>(weights);
    }
    if (o.sequence_offsets.defined()) {
      offsets = flat(o.sequence_offsets, at::kLong);
      options.sequence_offsets = span_of<index_t>(offsets);
    }
  }
};

/// The rows of a call and of its gradient. Without `train` there is no gradient; otherwise it is
/// the logits' own memory where that was asked for (their version counter is told), or the copy of
/// what had to be copied, or new.
struct loss_memory {
  tensor_rows rows;
  tensor_rows gradient;

  loss_memory(const at::Tensor& logits, const torch_loss_options& o, bool train)
      : rows(rows_of(logits)) {
    gradient = rows;
    if (!train) {
      gradient.holder = at::Tensor();
    } else if (o.gradient_in_logits) {
      check_overwritable(logits, rows);
      gradient.holder = logits.detach();
      torch::autograd::impl::bump_version(logits);
    } else if (!rows.copied) {
      gradient.holder = at::empty(logits.sizes(), logits.options());
      gradient.stride = rows.cols;
    }
  }
};

}  // namespace idiolect::detail
