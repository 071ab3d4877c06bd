// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// One training loop for every method: what is in a batch is a source's affair, what the logits are
// told an objective's.

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <idiolect/loss/loss.hpp>
#include <idiolect/loss/options.hpp>

#include "study/datasets.hpp"
#include "study/lab.hpp"
#include "tiny_llama/training.hpp"

namespace study {

/// Packed texts. A preference takes two places, its chosen text first; `items` are the numbers of
/// what was drawn.
struct mini_batch {
  tiny_llama::batch rows;
  std::vector<std::size_t> items;
};

/// Replaces logits by their gradient. `progress` is in [0, 1).
using objective = std::function<idiolect::loss_report(idiolect::matrix_view<float> logits,
                                                      const mini_batch& batch, double progress)>;
/// Fills the batch of a step, an empty one; may ask the weights as they are then.
using batch_source = std::function<void(index_t step, const weights& now, mini_batch& batch)>;

/// A gate's objective; `make(progress)` is the gate.
template <class Make>
[[nodiscard]] objective gated_objective(Make make) {
  return [make](idiolect::matrix_view<float> z, const mini_batch& b, double progress) {
    static constexpr token_id ends[] = {world::end_token};
    idiolect::loss_options o;
    o.end_tokens = ends;
    return idiolect::loss_and_gradient(idiolect::cpu{}, z, b.rows.targets, make(progress), z, o);
  };
}

/// Numbers 0 to n - 1 in a new order every time round: item `draw` of an endless sequence.
class endless_order {
 public:
  endless_order(std::size_t n, std::uint64_t seed);
  [[nodiscard]] std::size_t operator()(std::uint64_t draw);

 private:
  void shuffle(std::uint64_t round);

  std::uint64_t seed_;
  std::uint64_t round_ = 0;
  std::vector<std::size_t> order_;
};

/// Batches of `texts`; the first `mixed_share` of each batch from `mixed` instead.
[[nodiscard]] batch_source text_batches(std::vector<text> texts, const settings& how,
                                        std::uint64_t seed, std::vector<text> mixed = {},
                                        double mixed_share = 0);
/// Half as many pairs as a batch has texts.
[[nodiscard]] batch_source pair_batches(std::vector<preference> pairs, const settings& how,
                                        std::uint64_t seed);

struct trained_model {
  weights result;
  index_t trained_tokens = 0;  ///< targets, over all steps
  json curve;                  ///< every tenth step: NLL, weight and end probability of its batch
};

/// Trains from `base`; a step whose batch stays empty is left out. Linear warm-up, then a constant
/// rate; AdamW with clipping. `after(steps, weights)` is called after each step, if there is one.
[[nodiscard]] trained_model train(
    const weights& base, const settings& how, double rate, const batch_source& source,
    const objective& loss, const std::function<void(index_t steps, const weights&)>& after = {});

}  // namespace study
