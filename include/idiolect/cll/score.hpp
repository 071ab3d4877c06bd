// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Centred log-likelihood of given tokens: phi = log p(token) + H(p), nats a token.
//
// Zero on average, with variance Var_p[log p], for tokens drawn from the model itself. For tokens
// from a source q, E_q[phi] = H(p) - H(q) - KL(q || p): below zero for most foreign text, but above
// zero for text more peaked than the model (greedy, low temperature, top-p). For such text centre
// by the sampler instead: phi_r = log p(token) - E_r[log p], with the variance Var_r[log p].
// Source: arXiv 2602.12222; the variance and the sampler's centre are this library's.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include <idiolect/config.hpp>
#include <idiolect/core/matrix_view.hpp>
#include <idiolect/core/scalar.hpp>
#include <idiolect/core/targets.hpp>
#include <idiolect/stats/fold.hpp>
#include <idiolect/stats/row_stats.hpp>
#include <idiolect/stats/row_blocks.hpp>
#include <idiolect/stats/sampling.hpp>
#include <idiolect/stats/selection.hpp>

namespace idiolect {

/// Whether a token was scored.
enum class token_status : std::uint8_t {
  scored,
  ignored,    ///< its target was the ignored one; all numbers are NaN
  non_finite  ///< its row had NaN, +inf or no finite logit; all numbers are NaN
};

/// One token under the model. Natural logarithms.
struct token_score {
  double log_prob = detail::quiet_nan<double>;    ///< log p_y
  double entropy = detail::quiet_nan<double>;     ///< H(p), nats
  double varentropy = detail::quiet_nan<double>;  ///< Var[log p], nats^2: of phi
  double phi = detail::quiet_nan<double>;         ///< CLL, nats
  token_status status = token_status::ignored;
};

/// How tokens are scored.
struct score_options {
  token_id ignore_index = ignored_target;
  double temperature = 1;  ///< of the model that is asked: logits are divided by it
  /// Centre phi by this sampler's distribution, and take its variance, instead of the model's own.
  std::optional<sampler_options> sampler = {};
};

namespace detail {

/// The score of a row that was not ignored, centred by the model itself.
[[nodiscard]] IDIOLECT_HD inline token_score score_of(
    const row_stats<double, moments::varentropy>& stats) {
  return {.log_prob = stats.log_prob(),
          .entropy = stats.entropy(),
          .varentropy = stats.varentropy(),
          .phi = stats.phi(),
          .status = stats.finite() ? token_status::scored : token_status::non_finite};
}

/// Centre and variance of log p under the sampler's distribution, for a finite row. Offsets from
/// the row's maximum, which every sampler keeps: for one token, or several that tie, both are
/// exact, and phi and its variance are 0 together. O(n).
template <class T>
void centre_by_sampler(const T* row, index_t n, const row_stats<double, moments::varentropy>& stats,
                       const score_options& o, token_score& score) {
  score.phi = stats.target_offset;
  score.varentropy = 0;
  if (o.sampler->temperature == 0) return;  // the maximum alone
  const auto max = static_cast<double>(largest_of(row_blocks(row, n)));
  selection_scratch r;
  row_selection selection(row, n, max, *o.sampler, r, 40);  // what it drops is below rounding
  auto selected = selection.select();
  selection.list(selected);
  const double total = selection.final_masses();

  const double inverse_temperature = 1 / o.temperature;
  double mean = 0;
  for (std::size_t i = 0; i < r.count; ++i) mean += r.masses[i] * r.offsets[i];
  mean /= total;
  double variance = 0;
  for (std::size_t i = 0; i < r.count; ++i) {
    const double distance = r.offsets[i] - mean;
    variance += r.masses[i] * distance * distance;
  }
  score.phi -= mean * inverse_temperature;
  score.varentropy = variance / total * inverse_temperature * inverse_temperature;
}

}  // namespace detail

/// Scores row i's target for each of N rows of V logits, row i predicting targets[i].
/// O(N V). Raises shape_error and target_error before any work.
template <folding_backend Backend, matrix_like Logits, target_range Targets>
[[nodiscard]] std::vector<token_score> score(const Backend& backend, const Logits& logits,
                                             const Targets& targets,
                                             const score_options& options = {}) {
  const auto z = view(logits);
  const auto y = targets_of(targets);
  detail::check_temperature(options.temperature);
  if (options.sampler) validate(*options.sampler);
  check_targets(z, y, options.ignore_index);

  std::vector<token_score> scores(y.size());
  const double inverse_temperature = 1 / options.temperature;
  const auto wanted = [&](index_t i) {
    return static_cast<index_t>(y[static_cast<std::size_t>(i)]) != options.ignore_index;
  };
  const auto write = [&](index_t i, const row_state<double, moments::varentropy>& state) {
    const auto k = static_cast<std::size_t>(i);
    const auto* const row = z.row(i);
    const auto target = static_cast<token_id>(y[k]);
    const auto stats =
        finish(state, static_cast<double>(load(row[target])), target, inverse_temperature);
    token_score& s = scores[k] = detail::score_of(stats);
    if (options.sampler && stats.finite()) {
      detail::centre_by_sampler(row, z.cols(), stats, options, s);
    }
  };
  detail::fold_rows<moments::varentropy>(backend, z, inverse_temperature, wanted, write);
  return scores;
}

}  // namespace idiolect
