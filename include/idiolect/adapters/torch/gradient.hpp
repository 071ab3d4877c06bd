// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The node of autograd's graph behind a loss whose gradient was written in the forward pass:
//
//   backward: dz = gradient * grad_output        a scalar, or one a row
//
// A node of its own and not torch::autograd::Function, because a node is told when its graph is
// used for the last time: it then scales the gradient where it lies and gives it away, and needs no
// memory. Where the graph is kept it gives a copy.

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <type_traits>
#include <utility>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/saved_variable.h>
#include <torch/csrc/autograd/variable.h>

#include <idiolect/adapters/torch/executor.hpp>
#include <idiolect/adapters/torch/views.hpp>
#include <idiolect/core/error.hpp>
#include <idiolect/core/scalar.hpp>

namespace idiolect::detail {

/// Multiplies a gradient [..., V] in place by one factor, or by one a row (of shape [...]).
using scale_gradient = void (*)(at::Tensor& gradient, const at::Tensor& factor);

/// On the host a factor of 1 is seen, and costs nothing. Factors are not rounded to a 16-bit
/// gradient's type.
inline void scale_on_host(at::Tensor& gradient, const at::Tensor& factor) {
  if (factor.eq(1).all().item<bool>()) return;
  if (factor.dim() == 0) {
    gradient.mul_(factor);
    return;
  }
  const tensor_rows r = rows_of(gradient);
  const at::Tensor factors = flat(factor, at::kDouble);
  const auto factor_of = span_of<double>(factors);
  with_scalar(gradient.scalar_type(), [&]<class T>() {
    torch_executor{}.bulk(r.rows, [&](index_t i) {
      const auto f = static_cast<accumulator_t<T>>(factor_of[static_cast<std::size_t>(i)]);
      T* const row = write_view<T>(r).row(i);
      for (index_t j = 0; f != 1 && j < r.cols; ++j) row[j] = store<T>(load(row[j]) * f);
    });
  });
}

struct gradient_node final : torch::autograd::Node {
  torch::autograd::SavedVariable saved;
  scale_gradient scale = nullptr;
  bool last_use = false;

  [[nodiscard]] std::string name() const override { return "IdiolectLossBackward"; }

  torch::autograd::variable_list apply(torch::autograd::variable_list&& outputs) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    require<backend_error>(
        !at::GradMode::is_enabled(), "torch_loss",
        "its gradient cannot be differentiated again (create_graph): it was computed in the "
        "forward pass. Write the loss in LibTorch's operations (log_softmax, gather, ...) where "
        "second derivatives are needed");
    if (!outputs[0].defined()) return {at::Tensor()};
    at::Tensor gradient = saved.unpack().detach();
    if (!std::exchange(last_use, false)) gradient = gradient.clone();
    scale(gradient, outputs[0]);
    return {std::move(gradient)};
  }

  void will_release_variables() override { last_use = true; }
  void release_variables() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    saved.reset_data();
  }
};

/// A node as LibTorch owns it: by std::shared_ptr, or since 2.15 by c10::intrusive_ptr.
template <class Node>
[[nodiscard]] auto make_node() {
  if constexpr (std::is_base_of_v<c10::intrusive_ptr_target, Node>) {
    return c10::make_intrusive<Node>();
  } else {
    return std::shared_ptr<Node>(new Node, [](Node* node) { deleteNode(node); });
  }
}

/// Makes `loss` the loss of `logits` with the given gradient, which nobody else may write to.
inline void attach_gradient(at::Tensor& loss, const at::Tensor& logits, const at::Tensor& gradient,
                            scale_gradient scale) {
  auto node = make_node<gradient_node>();
  node->set_next_edges(torch::autograd::collect_next_edges(logits));
  node->scale = scale;
  node->saved = torch::autograd::SavedVariable(gradient, /*is_output=*/false);
  torch::autograd::set_history(loss, node);
}

}  // namespace idiolect::detail
