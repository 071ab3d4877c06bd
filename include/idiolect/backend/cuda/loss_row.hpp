// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a kernel does with one row: statistics, the loss, its gradient. The row is read once where a
// group holds all of it, and the gradient is written once.
//
//   row --fold_row--> row_state --finish_row--> row_stats --evaluate_row--> row_report, row_span
//   row_span and the row, still held, --write_gradient--> dz

#include <concepts>
#include <type_traits>

#include <idiolect/backend/cuda/row_fold.hpp>
#include <idiolect/backend/cuda/row_gradient.hpp>
#include <idiolect/backend/cuda/row_group.hpp>
#include <idiolect/backend/cuda/row_tile.hpp>
#include <idiolect/config.hpp>
#include <idiolect/core/scalar.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/loss/loss.hpp>
#include <idiolect/loss/partial_report.hpp>
#include <idiolect/loss/token_loss.hpp>
#include <idiolect/stats/row_stats.hpp>

namespace idiolect::detail {

/// Whether a loss takes statistics in `Real`.
template <class Loss, class Real>
inline constexpr bool evaluates_in = requires(const Loss& f, stats_for<Loss, Real> s) {
  { f.evaluate(s) } -> std::same_as<loss_terms<Real>>;
};
template <class Gate, class Real>
inline constexpr bool evaluates_in<gated<Gate, gradient_flow::stop>, Real> =
    weighs<Gate, stats_for<Gate, Real>>;
template <class Gate, class Real>
inline constexpr bool evaluates_in<gated<Gate, gradient_flow::through_weight>, Real> =
    weighs<Gate, stats_for<Gate, Real>>&& requires(const Gate& g, stats_for<Gate, Real> s) {
  { g.slope(s) } -> std::same_as<weight_slope<Real>>;
};

/// The type a loss is evaluated in: that of the row's sums if the loss takes it, double if not.
template <class Loss, class Real>
using evaluation_t = std::conditional_t<evaluates_in<Loss, Real>, Real, double>;

/// A row's place in the call.
struct row_place {
  index_t row;
  token_id target;  ///< in [0, n)
  double scale;     ///< its factor in the reduction, for the threads that broadcast
};

/// Calls `report(row_report)` in one thread for one row of n logits, and writes its gradient if
/// there is one: G is void_gradient where not. `gradient.data` may be `row`.
template <tile_shape Shape, class Loss, class T, class G, row_group Group, class Report>
IDIOLECT_HD void loss_row(const Group& group, const T* row, int n, const row_place& place,
                          const Loss& loss, const row_options& options,
                          const gradient_row<G>& gradient, Report&& report) {
  constexpr moments set = required_moments<Loss>;
  using real = accumulator_t<T>;
  using evaluation = evaluation_t<Loss, real>;
  const auto inverse_temperature = static_cast<real>(options.inverse_temperature);

  const real target_logit = load(row[place.target]);  // now: the gradient may take its place
  const row_layout<T> layout(row, n);
  row_tile<T, Shape> tile;
  const auto folded = fold_row<set>(group, row, layout, inverse_temperature, tile);

  struct evaluated {
    row_coefficients<real> coefficients;
    bool has_span;
    float filling;  ///< of a row without one
  };
  const auto result = group.broadcast([&] {
    const auto stats =
        finish_row<evaluation>(folded, target_logit, place.target, inverse_temperature);
    row_span<evaluation> span;
    const auto r = evaluate_row(loss, stats, place.row, place.scale, options, span);
    if (group.rank() == 0) report(r);
    const auto sum = static_cast<evaluation>(folded.sum());
    return evaluated{coefficients_of<real>(span, sum), r.has_span, static_cast<float>(r.fill)};
  });

  if constexpr (!std::is_same_v<G, void_gradient>) {
    if (result.has_span) {
      const span_elements<real, may_pull_entropy<Loss>> element(result.coefficients, folded.max,
                                                                inverse_temperature);
      write_gradient(group, row, layout, tile, element, place.target, gradient);
    } else if (result.filling != 0 || !gradient.accumulate) {  // NaN, or 0 for a skipped row
      fill_row(group, gradient.data, n, store<G>(result.filling));
    }
  }
}

}  // namespace idiolect::detail
