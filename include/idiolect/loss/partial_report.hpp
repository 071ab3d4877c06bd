// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The report of a call in pieces, on host and device: one row's loss, coefficients and share of the
// report, the report of some rows, and the whole of it. All of it is trivially copyable.
//
//   statistics --evaluate_row--> row_report, row_span     partial_report += row_report, in order
//
// Pieces are merged in a fixed order, so that a report has the same bits whoever made the pieces.

#include <concepts>
#include <cstdint>

#include <idiolect/config.hpp>
#include <idiolect/core/error.hpp>
#include <idiolect/core/scalar.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/loss/options.hpp>
#include <idiolect/loss/report.hpp>
#include <idiolect/loss/span.hpp>
#include <idiolect/loss/token_loss.hpp>
#include <idiolect/stats/row_stats.hpp>

namespace idiolect::detail {

/// What a row needs of loss_options, with pointers that are good where the row is evaluated.
struct row_options {
  const float* weights = nullptr;  ///< one a row, or null
  const token_id* end_tokens = nullptr;
  index_t end_token_count = 0;
  double gradient_scale = 1;
  double inverse_temperature = 1;
  bool skip_non_finite = false;
};

/// For rows in the memory that `o` points to.
[[nodiscard]] inline row_options row_options_of(const loss_options& o) {
  return {.weights = o.weights.empty() ? nullptr : o.weights.data(),
          .end_tokens = o.end_tokens.data(),
          .end_token_count = static_cast<index_t>(o.end_tokens.size()),
          .gradient_scale = o.gradient_scale,
          .inverse_temperature = 1 / o.temperature,
          .skip_non_finite = o.on_non_finite == non_finite::skip};
}

/// Factor of every row's loss in the reduced loss of `valid` rows, unless it is a sequence_mean.
[[nodiscard]] IDIOLECT_HD inline double common_scale(const reduction& reduce, index_t valid) {
  if (reduce.how == reduction::kind::mean) return valid > 0 ? 1 / static_cast<double>(valid) : 0;
  if (reduce.how == reduction::kind::mean_over) return valid > 0 ? 1 / reduce.tokens : 0;
  return 1;
}

/// The sequence that a row is in: the last of `sequences` that begins at the row or before.
[[nodiscard]] IDIOLECT_HD inline index_t sequence_of(const index_t* offsets, index_t sequences,
                                                     index_t row) {
  index_t low = 0, high = sequences;
  while (high - low > 1) {
    const index_t middle = low + (high - low) / 2;
    (offsets[middle] <= row ? low : high) = middle;
  }
  return low;
}

/// The rows of a call in the pieces that its report is made of, which are merged in order. They
/// depend on nothing but the number of rows.
struct row_chunks {
  static constexpr index_t most = 128;
  index_t rows = 0;

  [[nodiscard]] IDIOLECT_HD index_t size() const { return (rows + most - 1) / most; }
  [[nodiscard]] IDIOLECT_HD index_t count() const {
    return rows > 0 ? (rows + size() - 1) / size() : 0;
  }
  [[nodiscard]] IDIOLECT_HD index_t begin(index_t k) const { return k * size(); }
  [[nodiscard]] IDIOLECT_HD index_t end(index_t k) const {
    return rows - begin(k) < size() ? rows : begin(k) + size();
  }
};

/// What became of a row: what is judged is the finished row, not its logits alone.
enum class row_status : std::uint8_t {
  ignored,
  finite,
  bad_logits,  ///< NaN, +inf or no finite logit: it has no statistics
  bad_weight,  ///< its external weight is NaN or infinite
  bad_loss     ///< its loss or a coefficient of its gradient is NaN or infinite
};

/// What one row adds to the report.
struct row_report {
  double loss = 0;    ///< weighted
  double scaled = 0;  ///< the same, times the row's factor in the reduction
  double nll = 0;
  double phi = 0;
  double weight = 0;    ///< the pull on the target
  double end_prob = 0;  ///< p of the target, where it is an end token
  double fill = 0;      ///< of a row without a span: every element of its gradient, 0 or NaN
  bool is_end = false;
  bool has_span = false;  ///< its gradient is its row_span's
  row_status status = row_status::ignored;

  /// It counts in the summaries of the statistics, whatever became of its loss.
  [[nodiscard]] IDIOLECT_HD bool has_statistics() const {
    return status != row_status::ignored && status != row_status::bad_logits;
  }
  [[nodiscard]] IDIOLECT_HD bool is_bad() const {
    return status != row_status::ignored && status != row_status::finite;
  }
};

/// Without branches: it is asked of every row.
template <std::floating_point... Real>
[[nodiscard]] IDIOLECT_HD bool all_finite(Real... x) {
  return (... & static_cast<int>(is_finite(x))) != 0;
}

/// The loss and gradient of a row that is not finite: as the options say. Propagated, an infinite
/// loss with a finite gradient (a masked target under plain likelihood) stays what it is.
template <std::floating_point Real>
IDIOLECT_HD void mark_bad(row_report& r, row_status status, const row_options& o,
                          const row_span<Real>& span) {
  r.status = status;
  if (!o.skip_non_finite && status == row_status::bad_loss && r.loss == r.loss &&
      all_finite(span.common, span.entropic, span.at_target)) {
    return;
  }
  r.has_span = false;
  r.loss = r.scaled = r.fill = o.skip_non_finite ? 0 : quiet_nan<double>;
}

/// Row i, which is not ignored: its loss, its share of the report and, where `has_span`, its
/// gradient's coefficients. `scale` is its factor in the reduction. (Without the word `inline` GCC
/// keeps it a call, which costs a quarter more time at rows of 32 logits.)
template <class Loss, std::floating_point Real, moments Set>
[[nodiscard]] IDIOLECT_HD inline row_report evaluate_row(const Loss& f, row_stats<Real, Set> stats,
                                                         index_t i, double scale,
                                                         const row_options& o,
                                                         row_span<Real>& span) {
  row_report r;
  if (!stats.finite()) {
    mark_bad(r, row_status::bad_logits, o, span);
    return r;
  }
  const double weight = o.weights == nullptr ? 1.0 : static_cast<double>(o.weights[i]);
  stats.external_weight = static_cast<Real>(weight);
  const loss_terms<Real> terms = f.evaluate(stats);
  r.status = row_status::finite;
  r.has_span = true;
  r.loss = silenced(weight, static_cast<double>(terms.value));
  r.scaled = silenced(scale, r.loss);
  r.nll = -static_cast<double>(stats.log_prob());
  r.phi = static_cast<double>(stats.phi());
  r.weight = static_cast<double>(terms.a);
  for (index_t k = 0; k < o.end_token_count && !r.is_end; ++k) {
    r.is_end = o.end_tokens[k] == stats.target;
  }
  if (r.is_end) r.end_prob = static_cast<double>(stats.prob());
  span = make_row_span(stats, terms, static_cast<Real>(scale * weight * o.gradient_scale),
                       static_cast<Real>(o.inverse_temperature));
  if (!all_finite(weight, r.loss, span.common, span.entropic, span.at_target)) [[unlikely]] {
    const bool of_weight = !is_finite(weight);
    mark_bad(r, of_weight ? row_status::bad_weight : row_status::bad_loss, o, span);
  }
  return r;
}

/// The report of some rows without its histograms, and the first row that was not finite.
struct report_moments {
  double loss = 0;
  double nll = 0;
  index_t non_finite = 0;
  index_t first_non_finite = -1;
  row_status first_status = row_status::finite;  // of that row
  moment_summary phi;
  moment_summary weight;
  moment_summary end_prob;

  /// Row i, the next one.
  IDIOLECT_HD void add(index_t i, const row_report& row) {
    loss += row.scaled;
    if (row.has_statistics()) {
      nll += row.nll;
      phi.add(row.phi);
      weight.add(row.weight);
      if (row.is_end) end_prob.add(row.end_prob);
    }
    if (row.is_bad()) {
      ++non_finite;
      take_first(i, row.status);
    }
  }

  /// The rows after these.
  IDIOLECT_HD void merge(const report_moments& next) {
    loss += next.loss;
    nll += next.nll;
    non_finite += next.non_finite;
    take_first(next.first_non_finite, next.first_status);
    phi.merge(next.phi);
    weight.merge(next.weight);
    end_prob.merge(next.end_prob);
  }

 private:
  IDIOLECT_HD void take_first(index_t i, row_status status) {
    if (first_non_finite >= 0) return;
    first_non_finite = i;
    first_status = status;
  }
};

/// The report of some rows.
struct partial_report : report_moments {
  summary_bins phi_bins = empty_phi_summary().bins;
  summary_bins weight_bins = empty_weight_summary().bins;

  IDIOLECT_HD void add(index_t i, const row_report& row) {
    report_moments::add(i, row);
    if (row.has_statistics()) {
      phi_bins.add(row.phi);
      weight_bins.add(row.weight);
    }
  }
  IDIOLECT_HD void merge(const partial_report& next) {
    report_moments::merge(next);
    phi_bins.merge(next.phi_bins);
    weight_bins.merge(next.weight_bins);
  }
};

/// Raises the non_finite_error of row i.
[[noreturn]] inline void raise_bad_row(row_status status, index_t i) {
  switch (status) {
    case row_status::bad_weight:
      raise(non_finite_error("weights", "NaN or infinite", i));
    case row_status::bad_loss:
      raise(non_finite_error("loss",
                             "its value or gradient is NaN or infinite: a target of probability 0, "
                             "a gate or loss that gives NaN, or an overflow",
                             i));
    default:
      raise(non_finite_error("logits", "NaN, +inf or no finite logit", i));
  }
}

/// The report of a whole call of `valid` rows, without per-token losses. Raises non_finite_error
/// where that was asked for.
[[nodiscard]] inline loss_report finish_report(const partial_report& all, index_t valid,
                                               non_finite on_non_finite) {
  if (on_non_finite == non_finite::error && all.first_non_finite >= 0) {
    raise_bad_row(all.first_status, all.first_non_finite);
  }
  const index_t counted = all.phi.count + all.phi.nan_count;
  loss_report report;
  report.loss = all.loss;
  if (counted > 0) report.mean_nll = all.nll / static_cast<double>(counted);
  report.valid = valid;
  report.non_finite = all.non_finite;
  report.phi = {all.phi, all.phi_bins};
  report.weight = {all.weight, all.weight_bins};
  report.end_prob = all.end_prob;
  return report;
}

}  // namespace idiolect::detail
