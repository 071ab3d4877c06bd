// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "torch_trainer/loss_head.hpp"

#include <algorithm>

#include <idiolect/adapters/torch/loss.hpp>
#include <idiolect/loss/gates.hpp>

namespace torch_trainer {

namespace {

idiolect::torch_loss_options options_of(const head_options& o) {
  idiolect::torch_loss_options options;
  options.reduce = idiolect::reduction::mean_over(o.tokens);
  options.gradient_in_logits = true;
  if (o.end >= 0) options.end_tokens = {o.end};
  return options;
}

/// Calls f(first row, rows) for pieces of the states.
template <class F>
void for_pieces(const at::Tensor& states, index_t rows_at_once, F&& f) {
  const index_t rows = states.size(0);
  for (index_t first = 0; first < rows; first += rows_at_once) {
    f(first, std::min(rows_at_once, rows - first));
  }
}

}  // namespace

void merge(idiolect::loss_report& all, const idiolect::loss_report& next) {
  // Rows with statistics; where there is none the mean is NaN, and no part of the other's.
  const auto before = static_cast<double>(all.phi.count);
  const auto added = static_cast<double>(next.phi.count);
  if (before == 0) {
    all.mean_nll = next.mean_nll;
  } else if (added > 0) {
    all.mean_nll = (all.mean_nll * before + next.mean_nll * added) / (before + added);
  }
  all.loss += next.loss;
  all.valid += next.valid;
  all.non_finite += next.non_finite;
  all.phi.merge(next.phi);
  all.weight.merge(next.weight);
  all.end_prob.merge(next.end_prob);
}

idiolect::loss_report loss_backward(const at::Tensor& states, const at::Tensor& head,
                                    const at::Tensor& targets, const at::Tensor& weights,
                                    const tool::any_gate& gate, const head_options& o) {
  idiolect::loss_report all;
  idiolect::torch_loss_options options = options_of(o);
  // A leaf of its own collects the states' gradient, and the graph below is walked once.
  const at::Tensor leaf = states.detach().requires_grad_();
  for_pieces(states, o.rows_at_once, [&](index_t first, index_t rows) {
    if (weights.defined()) options.weights = weights.narrow(0, first, rows);
    const auto result = idiolect::torch_loss(at::linear(leaf.narrow(0, first, rows), head),
                                             targets.narrow(0, first, rows), gate, options);
    result.loss.backward();
    merge(all, result.report);
  });
  states.backward(leaf.grad());
  return all;
}

idiolect::loss_report score(const at::Tensor& states, const at::Tensor& head,
                            const at::Tensor& targets, const head_options& o) {
  const at::NoGradGuard no_grad;
  idiolect::loss_report all;
  for_pieces(states, o.rows_at_once, [&](index_t first, index_t rows) {
    merge(all, idiolect::torch_loss(at::linear(states.narrow(0, first, rows), head),
                                    targets.narrow(0, first, rows), idiolect::nll{}, options_of(o))
                   .report);
  });
  return all;
}

}  // namespace torch_trainer
