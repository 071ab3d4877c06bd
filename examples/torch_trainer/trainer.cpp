// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "torch_trainer/trainer.hpp"

#include <chrono>
#include <cmath>
#include <utility>

#include <idiolect/adapters/torch/executor.hpp>

#include "tool/errors.hpp"
#include "tool/interrupt.hpp"
#include "torch_trainer/loss_head.hpp"

namespace torch_trainer {

namespace {

at::Tensor tensor_of(const std::vector<std::int64_t>& values, at::IntArrayRef shape) {
  const at::Tensor t = at::empty(shape, at::TensorOptions().dtype(at::kLong));
  std::ranges::copy(values, static_cast<std::int64_t*>(t.data_ptr()));
  return t;
}

/// The states of a batch where it has targets, [N, D].
at::Tensor wanted_states(const llama& model, const padded_batch& b) {
  const at::Tensor states = model.hidden(tensor_of(b.tokens, {b.rows, b.columns}));
  const auto n = static_cast<std::int64_t>(b.positions.size());
  return states.reshape({b.rows * b.columns, -1}).index_select(0, tensor_of(b.positions, {n}));
}

template <class T>
std::span<T> span_of(const at::Tensor& t) {
  return {static_cast<T*>(t.data_ptr()), static_cast<std::size_t>(t.numel())};
}

}  // namespace

trainer::trainer(llama& model, const example_set& texts, token_id end, const training& how)
    : model_(model),
      texts_(texts),
      end_(end),
      how_(how),
      order_(texts.examples.size(), how.seed),
      first_(model.parameters().size()),
      second_(model.parameters().size()) {
  validate(how, model.config(), end);
  for (std::size_t i = 0; i < first_.size(); ++i) {
    at::Tensor& p = model_.parameters()[i];
    const role what = model_.infos()[i].what;
    const bool frozen = how.freeze_embeddings && (what == role::embedding || what == role::head);
    p.requires_grad_(!frozen);
    if (frozen) continue;
    first_[i] = at::zeros(p.sizes(), at::TensorOptions().dtype(at::kFloat));
    second_[i] = at::zeros_like(first_[i]);
    // Gradients are there from the start: every step adds to zeros, the first as any other.
    p.mutable_grad() = at::zeros_like(first_[i]);
  }
}

std::vector<const example*> trainer::next_examples() {
  std::vector<const example*> chosen;
  const auto batch = static_cast<std::uint64_t>(how_.batch);
  const auto begin = static_cast<std::uint64_t>(steps_) * batch;
  for (std::uint64_t i = begin; i < begin + batch; ++i) {
    chosen.push_back(&texts_.examples[order_[i]]);
  }
  return chosen;
}

std::vector<adamw_parameter> trainer::optimised() {
  std::vector<adamw_parameter> all;
  for (std::size_t i = 0; i < first_.size(); ++i) {
    if (!first_[i].defined()) continue;
    const at::Tensor& p = model_.parameters()[i];
    all.push_back({.values = span_of<float>(p),
                   .gradient = span_of<const float>(p.grad()),
                   .first = span_of<float>(first_[i]),
                   .second = span_of<float>(second_[i]),
                   .decays = model_.infos()[i].is_matrix()});
  }
  return all;
}

step_report trainer::step(double progress, const std::function<double(double)>& rate_progress) {
  const auto begin = std::chrono::steady_clock::now();
  const auto seconds = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  const auto batches = split(next_examples(), how_.micro_batch);
  step_report report;
  report.step = steps_ + 1;
  head_options head;
  head.rows_at_once = how_.logit_rows;
  head.end = end_;
  head.tokens = 0;
  for (const padded_batch& b : batches) head.tokens += static_cast<double>(b.targets.size());
  const tool::any_gate gate =
      tool::make_gate(how_.loss, progress, model_.config().vocab_size, end_);

  for (at::Tensor& p : model_.parameters()) {
    if (p.requires_grad()) p.mutable_grad().zero_();
  }
  for (const padded_batch& b : batches) {
    tool::check_interrupt();
    const auto n = static_cast<std::int64_t>(b.targets.size());
    at::Tensor weights;
    if (!b.weights.empty()) {
      weights = at::empty({n}, at::TensorOptions().dtype(at::kFloat));
      std::ranges::copy(b.weights, static_cast<float*>(weights.data_ptr()));
    }
    merge(report.loss, loss_backward(wanted_states(model_, b), model_.head(),
                                     tensor_of(b.targets, {n}), weights, gate, head));
    report.tokens += b.real_tokens;
  }

  const auto parameters = optimised();
  const idiolect::torch_executor threads;
  report.gradient_norm = gradient_norm(parameters, threads);
  if (!std::isfinite(report.loss.loss) || !std::isfinite(report.gradient_norm)) {
    throw tool::input_error("training diverged at step " + std::to_string(report.step) +
                            ": loss or gradient are no longer finite; lower --lr");
  }
  adamw_options optimiser = how_.optimiser;
  optimiser.learning_rate *=
      rate_factor(rate_progress(seconds()), how_.rate_warmup, how_.rate_floor);
  report.rate = optimiser.learning_rate;
  adamw_step(parameters, steps_ + 1, report.gradient_norm, optimiser, threads);
  ++steps_;
  report.seconds = seconds();
  return report;
}

idiolect::loss_report evaluate(const llama& model, const example_set& texts, token_id end,
                               const training& how) {
  const at::NoGradGuard no_grad;
  std::vector<const example*> all;
  for (const example& e : texts.examples) all.push_back(&e);
  head_options head;
  head.rows_at_once = how.logit_rows;
  head.end = end;
  head.tokens = static_cast<double>(texts.trained());
  idiolect::loss_report report;
  for (const padded_batch& b : split(std::move(all), how.micro_batch)) {
    tool::check_interrupt();
    const auto n = static_cast<std::int64_t>(b.targets.size());
    merge(report, score(wanted_states(model, b), model.head(), tensor_of(b.targets, {n}), head));
  }
  return report;
}

}  // namespace torch_trainer
