// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The gradient of any token loss at one row of logits z, from the row's statistics:
//
//   dz_i = p_i ((a + c) + b (log p_i + H)) - a [i = y]
//
// times the row's scale and 1 / temperature. Since log p_i + H = z_i - E_p[z], lse is not needed.
// The target's element is not taken as a difference of p and 1, which near 1 leaves nothing:
//
//   dz_y = a (p_y - 1) + c p_y + b p_y phi,    p_y - 1 = expm1(log p_y)

#include <cmath>
#include <concepts>
#include <cstddef>
#include <span>
#include <type_traits>

#include <idiolect/config.hpp>
#include <idiolect/core/matrix_view.hpp>
#include <idiolect/core/scalar.hpp>
#include <idiolect/loss/token_loss.hpp>
#include <idiolect/stats/fold.hpp>

namespace idiolect {

/// The coefficients of one row's gradient; scale and 1 / temperature are multiplied in.
template <std::floating_point Real>
struct row_span {
  Real max = 0;          ///< of z, which no temperature divides
  Real log_sum = 0;      ///< lse - max, of z / temperature
  Real mean_offset = 0;  ///< E_p[z] - max, of z / temperature
  Real inverse_temperature = 1;
  Real common = 0;     ///< (a + c) scale: times p
  Real entropic = 0;   ///< b scale: times p (log p + H)
  Real at_target = 0;  ///< dz_y
  index_t target = 0;
};

template <std::floating_point Real, moments Set>
[[nodiscard]] IDIOLECT_HD row_span<Real> make_row_span(const row_stats<Real, Set>& s,
                                                       const loss_terms<Real>& terms, Real scale,
                                                       Real inverse_temperature) {
  using std::expm1;
  const Real factor = scale * inverse_temperature;
  const Real p = s.prob();
  const Real below_one = p < Real(0.5) ? p - 1 : expm1(s.log_prob());  // the faster where it serves
  Real at_target = terms.a * below_one + terms.c * p;
  if (p != 0) at_target += terms.b * (p * s.phi());  // a masked target's phi is infinite
  return {s.max_logit,
          s.log_sum,
          s.mean_offset,
          inverse_temperature,
          detail::silenced(factor, terms.a + terms.c),
          detail::silenced(factor, terms.b),
          detail::silenced(factor, at_target),
          s.target};
}

/// One element of the gradient that is not the target's. 0 for a masked logit.
template <std::floating_point Real>
[[nodiscard]] IDIOLECT_HD Real span_element(const row_span<Real>& r, Real logit) {
  using std::exp;
  const Real offset = detail::tempered_offset(logit, r.max, r.inverse_temperature);
  const Real p = exp(offset - r.log_sum);
  return p == 0 ? Real{0} : p * (r.common + r.entropic * (offset - r.mean_offset));
}

/// Writes (or adds) element i of the gradient of a finite row; `gradient` may be `row` itself.
template <std::floating_point Real, logit_scalar T, logit_scalar G>
IDIOLECT_HD inline void write_span_element(const T* row, G* gradient, index_t i,
                                           const row_span<Real>& r, bool accumulate) {
  Real dz = i == r.target ? r.at_target : span_element(r, static_cast<Real>(load(row[i])));
  if (accumulate) dz += static_cast<Real>(load(gradient[i]));
  gradient[i] = store<G>(dz);
}

/// The same of all n elements. O(n).
template <std::floating_point Real, logit_scalar T, logit_scalar G>
IDIOLECT_HD void write_span(const T* row, G* gradient, index_t n, const row_span<Real>& r,
                            bool accumulate) {
  for (index_t i = 0; i < n; ++i) write_span_element(row, gradient, i, r, accumulate);
}

/// A folding_backend that also writes gradients: requirement (5) `b.span(row, gradient, n, r,
/// accumulate)` does what write_span does.
/// Optional: (6) `b.template gradient_pass<Set>(logits, gradient, inverse_temperature, accumulate)`,
/// an object for one call that does both passes faster for losses without a part in p (log p + H).
/// See plain_pass for what it offers.
template <class B>
concept training_backend =
    folding_backend<B> && requires(const B& b, const float* row, float* gradient, index_t n,
                                   const row_span<double>& r, bool accumulate) {
      b.span(row, gradient, n, r, accumulate);
    };

namespace detail {

/// The two passes one after the other, for losses of any kind and every backend.
template <moments Set, class Backend, class T, class G>
class plain_pass {
 public:
  plain_pass(const Backend& backend, matrix_view<const T> logits, matrix_view<G> gradient,
             double inverse_temperature, bool accumulate)
      : backend_(backend),
        logits_(logits),
        gradient_(gradient),
        inverse_temperature_(inverse_temperature),
        accumulate_(accumulate) {}

  /// Whether the executor's threads share each row: rows are then taken one by one.
  [[nodiscard]] bool shares_rows() const {
    return share_rows(backend_, logits_.rows(), logits_.cols());
  }

  /// How many rows fold() takes at once, at most max_batch.
  [[nodiscard]] index_t batch() const { return batch_rows_of(backend_, logits_.cols()); }

  /// Takes rows in order, on one thread.
  class worker {
   public:
    explicit worker(const plain_pass& pass) : pass_(pass) {}

    /// Writes the states of a few rows.
    void fold(std::span<const index_t> rows, row_state<double, Set>* states) {
      const auto& p = pass_;
      const index_t n = p.logits_.cols();
      rows_ = rows;
      if constexpr (requires { Backend::segment; }) {
        if (p.shares_rows()) {
          for (std::size_t k = 0; k < rows.size(); ++k) {
            const T* const row = p.logits_.row(rows[k]);
            states[k] = fold_segments<Set>(p.backend_.executor, n, Backend::segment,
                                           p.inverse_temperature_,
                                           [&](index_t first, index_t count) {
                                             return p.backend_.template fold<Set>(
                                                 row + first, count, p.inverse_temperature_);
                                           });
          }
          return;
        }
      }
      const T* pointers[max_batch];
      for (std::size_t k = 0; k < rows.size(); ++k) pointers[k] = p.logits_.row(rows[k]);
      fold_batch_of<Set>(p.backend_, std::span<const T* const>(pointers, rows.size()), n,
                         p.inverse_temperature_, states);
    }
    /// The gradient of a finite row, the k-th of the last fold().
    void write(std::size_t k, const row_span<double>& r) {
      if constexpr (logit_scalar<G>) {
        const auto& p = pass_;
        const index_t i = rows_[k];
        p.backend_.span(p.logits_.row(i), p.gradient_.row(i), p.logits_.cols(), r, p.accumulate_);
      }
    }
    /// Every gradient is written when this returns.
    void finish() {}

   private:
    const plain_pass& pass_;
    std::span<const index_t> rows_;
  };
  [[nodiscard]] worker start() { return worker(*this); }

 private:
  const Backend& backend_;
  matrix_view<const T> logits_;
  matrix_view<G> gradient_;
  double inverse_temperature_;
  bool accumulate_;
};

}  // namespace detail

}  // namespace idiolect
