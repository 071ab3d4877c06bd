// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A batch with something of everything, and whether two reports of it are the same, bit for bit.

#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include <idiolect/loss/gates.hpp>
#include <idiolect/loss/loss.hpp>

#include "support/rows.hpp"
#include "support/tolerance.hpp"

namespace idiolect::test {

inline bool same_number(double a, double b) {
  return std::memcmp(&a, &b, sizeof a) == 0;
}

inline bool same_moments(const moment_summary& a, const moment_summary& b) {
  return a.count == b.count && a.nan_count == b.nan_count && same_number(a.mean, b.mean) &&
         same_number(a.sum_of_squares, b.sum_of_squares) && same_number(a.min, b.min) &&
         same_number(a.max, b.max);
}

inline bool same_report(const loss_report& a, const loss_report& b) {
  return same_number(a.loss, b.loss) && same_number(a.mean_nll, b.mean_nll) && a.valid == b.valid &&
         a.non_finite == b.non_finite && same_moments(a.phi, b.phi) &&
         same_moments(a.weight, b.weight) && same_moments(a.end_prob, b.end_prob) &&
         a.phi.bins == b.phi.bins && a.weight.bins == b.weight.bins &&
         same_bits(a.token_loss, b.token_loss);
}

/// A batch with an ignored row, one that is not finite, weights and ends of sequences.
template <class T>
struct mixed_batch {
  index_t rows;
  index_t cols;
  std::vector<T> logits;
  std::vector<token_id> targets;
  std::vector<float> weights;
  std::vector<token_id> ends{1, 2, 3, 4, 5, 6, 7};

  /// By default 100 chunks of three rows.
  explicit mixed_batch(std::uint64_t seed, index_t rows_ = 300, index_t cols_ = 333)
      : rows(rows_),
        cols(cols_),
        logits(gaussian_matrix<T>(rows, cols, 2, seed)),
        targets(random_targets(rows, cols, seed)) {
    random_source random(seed);
    for (index_t i = 0; i < rows; ++i) weights.push_back(static_cast<float>(random.uniform(-1, 2)));
    targets[17] = -100;
    logits[static_cast<std::size_t>(205 * cols + 3)] = store<T>(not_a_number);
  }

  template <class Backend>
  std::pair<loss_report, std::vector<T>> run(const Backend& backend) const {
    std::vector<T> gradient(logits.size());
    auto report = loss_and_gradient(backend, matrix_view<const T>(logits.data(), rows, cols),
                                    targets, idft{}, matrix_view<T>(gradient.data(), rows, cols),
                                    {.reduce = reduction::none(),
                                     .on_non_finite = non_finite::skip,
                                     .weights = weights,
                                     .end_tokens = ends});
    return {std::move(report), std::move(gradient)};
  }
};

}  // namespace idiolect::test
