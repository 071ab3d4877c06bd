// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "tool/trainer.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <utility>

#include <idiolect/core/philox.hpp>

#include "tiny_llama/training.hpp"
#include "tool/errors.hpp"
#include "tool/progress.hpp"
#include "tool/scoring.hpp"
#include "tool/text.hpp"
#include "tool/windows.hpp"

namespace tool {

namespace {

/// A window of a text; rows from `first_trained` on have a target.
struct item {
  const sequence* text;
  window rows;
  index_t first_trained;
};

std::vector<item> cut(const std::vector<sequence>& texts, index_t context, index_t overlap) {
  std::vector<item> items;
  for (const sequence& s : texts) {
    for (const window& w : cut_windows(static_cast<index_t>(s.tokens.size()), context, overlap)) {
      const index_t first = std::max(w.first + w.repeated, s.first_scored - 1);
      if (first < w.first + w.rows) items.push_back({&s, w, first});
    }
  }
  return items;
}

/// The texts in a new order for every pass through them: a pure function of seed and pass.
std::vector<std::size_t> shuffled(std::size_t n, std::uint64_t seed, std::uint64_t pass) {
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  const idiolect::philox numbers{seed, pass};
  for (std::size_t i = n; i > 1; --i) std::swap(order[i - 1], order[numbers.below(i, i)]);
  return order;
}

/// Gives out the items without end, pass after pass.
class item_source {
 public:
  item_source(std::size_t n, std::uint64_t seed) : size_(n), seed_(seed) {}

  std::size_t next() {
    if (at_ == order_.size()) {
      order_ = shuffled(size_, seed_, pass_++);
      at_ = 0;
    }
    return order_[at_++];
  }

 private:
  std::size_t size_;
  std::uint64_t seed_;
  std::uint64_t pass_ = 0;
  std::size_t at_ = 0;
  std::vector<std::size_t> order_;
};

/// One step's rows, and the weight of each if any text has one.
struct weighted_batch {
  tiny_llama::batch rows;
  std::vector<float> weights;

  void append(const item& it) {
    for (index_t r = it.rows.first; r < it.rows.first + it.rows.rows; ++r) {
      const auto i = static_cast<std::size_t>(r);
      rows.tokens.push_back(it.text->tokens[i]);
      rows.targets.push_back(r < it.first_trained ? idiolect::ignored_target
                                                  : it.text->tokens[i + 1]);
      weights.push_back(static_cast<float>(it.text->weight));
    }
    rows.offsets.push_back(rows.rows());
  }
};

}  // namespace

void validate(const training& how, const tiny_llama::config& shape, token_id end) {
  require_usage(how.steps >= 0 && how.steps <= 100'000'000, "--steps: expected a number from 0");
  require_usage(how.batch >= 1 && how.batch <= 1'000'000, "--batch: expected a number from 1");
  const auto& o = how.optimiser;
  require_usage(o.learning_rate > 0 && std::isfinite(o.learning_rate),
                "--lr: expected a number above 0, such as 1e-4");
  require_usage(o.weight_decay >= 0 && std::isfinite(o.weight_decay),
                "--weight-decay: expected a number from 0 up");
  require_usage(o.max_norm >= 0 && std::isfinite(o.max_norm),
                "--clip: expected a number from 0 up (0: no clipping)");
  require_usage(how.rate_warmup >= 0, "--lr-warmup: expected a number of steps from 0");
  const index_t overlap = how.overlap.value_or(0);
  require_usage(overlap >= 0 && overlap < shape.context_size,
                "--overlap: expected a number of tokens from 0 to " +
                    std::to_string(shape.context_size - 1) + ", found " + std::to_string(overlap));
  static_cast<void>(make_gate(how.loss, 0, shape.vocab_size, end));
}

std::vector<step_report> train(tiny_llama::weights<float>& weights,
                               const std::vector<sequence>& texts, token_id end,
                               const training& how, const executor& workers,
                               const std::string& label) {
  validate(how, weights.shape(), end);
  const index_t context = weights.shape().context_size;
  const index_t overlap = how.overlap.value_or(context / 2);
  const auto items = cut(texts, context, overlap);
  if (items.empty()) throw input_error("there is no token to train on");

  item_source source(items.size(), how.seed);
  tiny_llama::weights<float> gradient;
  tiny_llama::training_workspace<float> workspace;
  tiny_llama::adamw_state<float> moments;
  tiny_llama::adamw_options optimiser = how.optimiser;
  const bool weighted = std::ranges::any_of(texts, [](const sequence& s) { return s.weight != 1; });
  std::vector<step_report> steps;
  progress line(label, how.steps, "steps");
  const auto begin = std::chrono::steady_clock::now();
  index_t tokens = 0;
  weighted_batch batch;
  for (index_t step = 0; step < how.steps; ++step) {
    batch.rows.clear();
    batch.weights.clear();
    for (index_t i = 0; i < how.batch; ++i) batch.append(items[source.next()]);

    // Progress runs from 0 at the first step to 1 at the last.
    const double done =
        how.steps > 1 ? static_cast<double>(step) / static_cast<double>(how.steps - 1) : 1.0;
    const any_gate gate = make_gate(how.loss, done, weights.shape().vocab_size, end);
    idiolect::loss_options options;
    options.reduce =
        how.sequence_mean ? idiolect::reduction::sequence_mean() : idiolect::reduction::mean();
    if (weighted) options.weights = batch.weights;
    options.end_tokens = std::span(&end, 1);
    auto report = tiny_llama::forward_backward(weights, batch.rows, gradient, workspace, gate,
                                               options, workers);
    const double peak = how.optimiser.learning_rate;
    optimiser.learning_rate =
        how.cosine ? tiny_llama::cosine_schedule(step, how.steps, peak, how.rate_warmup)
        : step < how.rate_warmup
            ? peak * static_cast<double>(step + 1) / static_cast<double>(how.rate_warmup)
            : peak;
    const double norm = tiny_llama::adamw_step(weights, gradient, moments, optimiser);
    if (!std::isfinite(norm) || !std::isfinite(report.loss)) {
      throw input_error("training diverged at step " + std::to_string(step + 1) + " of " +
                        std::to_string(how.steps) +
                        ": the gradient is no longer finite; lower --lr");
    }
    tokens += report.valid;
    std::string note;
    if (line.visible()) {
      const double seconds =
          std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      note = fixed(static_cast<double>(tokens) / std::max(seconds, 1e-9), 0) + " tokens/s, loss " +
             fixed(report.loss, 3) + ", NLL " + fixed(report.mean_nll, 3) + ", phi " +
             fixed(report.phi.mean, 3) + ", weight " + fixed(report.weight.mean, 3);
    }
    steps.push_back({step + 1, std::move(report), norm, optimiser.learning_rate});
    line.advance(1, note);
  }
  // What the last step made of them no later step has seen.
  if (!std::ranges::all_of(weights.flat(), [](float x) { return std::isfinite(x); })) {
    throw input_error("training diverged in its last step, " + std::to_string(how.steps) +
                      ": the weights are no longer finite; lower --lr");
  }
  return steps;
}

text_figures evaluate(const tiny_llama::weights<float>& weights, const loaded_model& like,
                      std::span<const sequence> texts, const std::optional<index_t>& overlap,
                      const executor& workers, const std::string& label) {
  language_model model = like.trainable("evaluating").open(weights, workers);
  scoring how;
  how.overlap = overlap;
  const auto scores = score_all(model, workers, texts, how, label);
  text_figures figures;
  double sum = 0;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const sequence& s = texts[i];
    figures.score.merge(idiolect::score_sequence(scores[i].tokens));
    if (figures.score.non_finite > 0) {
      throw input_error(label +
                        ": the model gives logits that are not numbers: its weights "
                        "overflow; if it was trained here, lower --lr");
    }
    // The end closes a text; a begin token that serves as end may also stand inside.
    if (s.tokens.back() != like.end || scores[i].tokens.empty()) continue;
    ++figures.ends;
    sum += std::exp(scores[i].tokens.back().log_prob);
  }
  if (figures.ends > 0) figures.end_prob = sum / static_cast<double>(figures.ends);
  return figures;
}

}  // namespace tool
