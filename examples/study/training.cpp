// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "study/training.hpp"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <stdexcept>

#include <idiolect/core/philox.hpp>

#include "tiny_llama/adamw.hpp"

namespace study {

endless_order::endless_order(std::size_t n, std::uint64_t seed) : seed_(seed), order_(n) {
  if (n == 0) throw std::runtime_error("there is nothing to train on");
  shuffle(0);
}

std::size_t endless_order::operator()(std::uint64_t draw) {
  const std::uint64_t round = draw / order_.size();
  if (round != round_) shuffle(round);
  return order_[draw % order_.size()];
}

void endless_order::shuffle(std::uint64_t round) {
  round_ = round;
  std::iota(order_.begin(), order_.end(), std::size_t{0});
  const idiolect::philox random{seed_, round};
  for (std::size_t left = order_.size(); left > 1; --left)
    std::swap(order_[left - 1], order_[random.below(left, left)]);
}

batch_source text_batches(std::vector<text> texts, const settings& how, std::uint64_t seed,
                          std::vector<text> mixed, double mixed_share) {
  // Shared, as a std::function is copied.
  auto first = std::make_shared<endless_order>(texts.size(), seed);
  const auto size = static_cast<std::uint64_t>(how.batch);
  const auto foreign =
      size - static_cast<std::uint64_t>(std::lround(mixed_share * static_cast<double>(size)));
  auto second = foreign < size ? std::make_shared<endless_order>(mixed.size(), seed + 1) : nullptr;
  return [=, texts = std::move(texts), mixed = std::move(mixed)](index_t step, const weights&,
                                                                 mini_batch& b) {
    const auto at = static_cast<std::uint64_t>(step);
    for (std::uint64_t k = 0; k < foreign; ++k) {
      b.items.push_back((*first)(at * foreign + k));
      const text& t = texts[b.items.back()];
      b.rows.append(t.tokens, t.prompt);
    }
    for (std::uint64_t k = foreign; k < size; ++k) {
      const text& t = mixed[(*second)(at * (size - foreign) + k - foreign)];
      b.rows.append(t.tokens, t.prompt);
    }
  };
}

batch_source pair_batches(std::vector<preference> pairs, const settings& how, std::uint64_t seed) {
  auto order = std::make_shared<endless_order>(pairs.size(), seed);
  const auto size = static_cast<std::uint64_t>(how.batch / 2);
  return [=, pairs = std::move(pairs)](index_t step, const weights&, mini_batch& b) {
    for (std::uint64_t k = 0; k < size; ++k) {
      b.items.push_back((*order)(static_cast<std::uint64_t>(step) * size + k));
      const preference& p = pairs[b.items.back()];
      b.rows.append(p.chosen.tokens, p.chosen.prompt);
      b.rows.append(p.rejected.tokens, p.rejected.prompt);
    }
  };
}

trained_model train(const weights& base, const settings& how, double rate,
                    const batch_source& source, const objective& loss,
                    const std::function<void(index_t, const weights&)>& after) {
  trained_model m{.result = base, .curve = json::array()};
  weights gradient;
  tiny_llama::training_workspace<float> workspace;
  tiny_llama::adamw_state<float> moments;
  mini_batch batch;
  for (index_t step = 0; step < how.steps; ++step) {
    batch.rows.clear();
    batch.items.clear();
    source(step, m.result, batch);
    if (batch.rows.rows() == 0) continue;
    const double progress = static_cast<double>(step) / static_cast<double>(how.steps);
    const auto on_logits = [&](idiolect::matrix_view<float> z, std::span<const token_id>) {
      return loss(z, batch, progress);
    };
    const idiolect::loss_report report = tiny_llama::forward_backward(
        m.result, batch.rows, gradient, workspace, on_logits, idiolect::serial_executor{});
    const double warm =
        std::min(1.0, static_cast<double>(step + 1) / static_cast<double>(how.warmup));
    const double norm = tiny_llama::adamw_step(m.result, gradient, moments,
                                               {.learning_rate = rate * warm, .weight_decay = 0});
    if (!std::isfinite(norm)) throw std::runtime_error("training diverged");
    m.trained_tokens += report.valid;
    if (step % 10 == 0 || step + 1 == how.steps) {
      m.curve.push_back({{"step", step},
                         {"nll", report.mean_nll},
                         {"weight", report.weight.mean},
                         {"end_prob", report.end_prob.mean}});
    }
    if (after) after(step + 1, m.result);
  }
  return m;
}

}  // namespace study
