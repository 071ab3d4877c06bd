// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A call of `loss_and_gradient` on a device and the same on the host's plain backend, from the same
// host arrays. Kernels take long to compile: one loss stands for several, and loss_kernels_*.cu
// hold what all tests share.

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <idiolect/backend/cuda/loss.cuh>
#include <idiolect/backend/reference/reference.hpp>
#include <idiolect/loss/gates.hpp>
#include <idiolect/loss/loss.hpp>

#include "cuda/support.hpp"
#include "support/gradient_check.hpp"
#include "support/oracle.hpp"
#include "support/rows.hpp"
#include "support/tolerance.hpp"

namespace idiolect::test {

/// One of three losses, chosen when it is run: a pull, a gated pull, a pull and an entropic part.
struct device_test_loss {
  enum kind : std::uint8_t { likelihood, gated_pull, entropic } which = gated_pull;

  template <std::floating_point Real, moments Set>
  [[nodiscard]] IDIOLECT_HD loss_terms<Real> evaluate(const row_stats<Real, Set>& s) const {
    loss_terms<Real> terms;
    terms.value = -s.log_prob();
    terms.a = 1;
    if (which == entropic) {
      terms.value -= Real(0.5) * s.entropy();
      terms.b = Real(0.5);
    } else if (which == gated_pull) {
      const Real w = idft{}.weight(s);
      terms.value = detail::silenced(w, terms.value);
      terms.a = w;
    }
    return terms;
  }
};
inline constexpr device_test_loss all_device_losses[] = {
    {device_test_loss::likelihood}, {device_test_loss::gated_pull}, {device_test_loss::entropic}};

}  // namespace idiolect::test

/// Declares, or with an empty first argument defines, the kernels for logits of T, gradient of G.
#define IDIOLECT_TEST_LOSS_KERNELS(prefix, T, G)                                                  \
  prefix template idiolect::cuda_loss idiolect::loss_and_gradient(                                \
      const idiolect::cuda&, idiolect::matrix_view<const T>, std::span<const idiolect::token_id>, \
      const idiolect::test::device_test_loss&, idiolect::matrix_view<G>,                          \
      const idiolect::loss_options&)
IDIOLECT_TEST_LOSS_KERNELS(extern, float, float);
IDIOLECT_TEST_LOSS_KERNELS(extern, double, double);
IDIOLECT_TEST_LOSS_KERNELS(extern, idiolect::half, idiolect::half);
IDIOLECT_TEST_LOSS_KERNELS(extern, idiolect::bfloat16, idiolect::bfloat16);
IDIOLECT_TEST_LOSS_KERNELS(extern, idiolect::bfloat16, float);

namespace idiolect::test {

/// A batch on the host, contiguous.
template <class T>
struct host_batch {
  index_t rows;
  index_t cols;
  std::vector<T> logits;
  std::vector<token_id> targets;

  host_batch(index_t n, index_t v, std::uint64_t seed, double scale = 3)
      : rows(n),
        cols(v),
        logits(gaussian_matrix<T>(n, v, scale, seed)),
        targets(random_targets(n, v, seed)) {}

  [[nodiscard]] matrix_view<const T> view() const { return {logits.data(), rows, cols}; }
  [[nodiscard]] const T* row(index_t i) const { return logits.data() + i * cols; }
};

/// A call's results, back on the host.
template <class G>
struct device_outcome {
  loss_report report;
  std::vector<G> gradient;
  bool clean = true;  ///< nothing was written beside the gradient
};

/// Spans of `host` in `o` become spans of device memory that this owns.
class device_options {
 public:
  explicit device_options(const loss_options& host)
      : weights_({host.weights.begin(), host.weights.end()}),
        offsets_({host.sequence_offsets.begin(), host.sequence_offsets.end()}),
        options_(host) {
    if (!host.weights.empty()) options_.weights = weights_.span();
    if (!host.sequence_offsets.empty()) options_.sequence_offsets = offsets_.span();
  }
  [[nodiscard]] const loss_options& get() const { return options_; }

 private:
  device_array<float> weights_;
  device_array<index_t> offsets_;
  loss_options options_;
};

/// Logits and gradient in their places, and memory for exactly one call. `before` is what the
/// gradient holds: NaN, unless something is added to it.
template <class T, class G = T>
class device_call {
 public:
  explicit device_call(const host_batch<T>& batch, const loss_options& o = {},
                       placement logits = {}, placement gradient = {}, double before = not_a_number)
      : options(o),
        z(batch.logits, batch.rows, batch.cols, logits),
        dz(std::vector<G>(batch.logits.size(), store<G>(before)), batch.rows, batch.cols, gradient),
        y(batch.targets),
        workspace(static_cast<index_t>(loss_workspace_bytes(batch.rows, o)), true) {}

  [[nodiscard]] idiolect::cuda where(cudaStream_t stream = nullptr) const {
    return {stream, {workspace.data(), workspace.bytes()}};
  }
  template <class Loss>
  auto enqueue(const Loss& f, cudaStream_t stream = nullptr) const {
    return loss_and_gradient(where(stream), z.input(), y.span(), f, dz.view(), options.get());
  }
  /// The gradient takes the logits' place.
  template <class Loss>
  auto enqueue_in_place(const Loss& f) const {
    return loss_and_gradient(where(), z.input(), y.span(), f, z.view(), options.get());
  }
  template <class Loss>
  device_outcome<G> run(const Loss& f) const {
    device_outcome<G> r;
    r.report = enqueue(f).wait();
    r.gradient = dz.download();
    r.clean = dz.clean();
    return r;
  }

  device_options options;
  device_matrix<T> z;
  device_matrix<G> dz;
  device_array<token_id> y;
  device_array<unsigned char> workspace;
};

template <class T, class G = T, class Loss = idft>
device_outcome<G> on_device(const host_batch<T>& batch, const Loss& f = {},
                            const loss_options& o = {}, placement logits = {},
                            placement gradient = {}, double before = not_a_number) {
  return device_call<T, G>(batch, o, logits, gradient, before).run(f);
}

template <class T, class G = T, class Loss = idft>
device_outcome<G> on_host(const host_batch<T>& batch, const Loss& f = {},
                          const loss_options& o = {}) {
  device_outcome<G> r;
  r.gradient.assign(batch.logits.size(), store<G>(not_a_number));
  r.report = loss_and_gradient(reference{}, batch.view(), batch.targets, f,
                               matrix_view<G>(r.gradient.data(), batch.rows, batch.cols), o);
  return r;
}

/// The largest difference of two reports' numbers, in units of max(1, |value|); a count that
/// differs is 1. Histograms may differ where a value lies on a border: they are compared by their
/// totals.
inline worst_error report_error(const loss_report& got, const loss_report& want) {
  worst_error worst;
  const auto number = [&](const char* what, double a, double b) {
    worst.see(scaled_error(a, b), [&] { return std::string(what) + " " + std::to_string(a); });
  };
  const auto moments = [&](const char* what, const moment_summary& a, const moment_summary& b) {
    number(what, static_cast<double>(a.count), static_cast<double>(b.count));
    number(what, static_cast<double>(a.nan_count), static_cast<double>(b.nan_count));
    if (a.count == 0 || b.count == 0) return;
    number(what, a.mean, b.mean);
    number(what, a.min, b.min);
    number(what, a.max, b.max);
  };
  number("loss", got.loss, want.loss);
  number("mean_nll", got.mean_nll, want.mean_nll);
  number("valid", static_cast<double>(got.valid), static_cast<double>(want.valid));
  number("non_finite", static_cast<double>(got.non_finite), static_cast<double>(want.non_finite));
  moments("phi", got.phi, want.phi);
  moments("weight", got.weight, want.weight);
  moments("end_prob", got.end_prob, want.end_prob);
  number("token losses", static_cast<double>(got.token_loss.size()),
         static_cast<double>(want.token_loss.size()));
  for (std::size_t i = 0; i < std::min(got.token_loss.size(), want.token_loss.size()); ++i) {
    number("token loss", got.token_loss[i], want.token_loss[i]);
  }
  return worst;
}

/// Of a report: its numbers are statistics, and losses of up to about 20 nats in relative terms. A
/// weight p^gamma multiplies the error of log p by gamma |log p|, but p^gamma |log p| is below 4.
template <class Accumulator>
inline constexpr double report_tolerance = std::same_as<Accumulator, float> ? 8e-6 : 1e-10;

/// The largest error of a whole gradient over what is allowed there: what gradient_tolerance
/// allows, and the error of the row's weight, whose exponent gamma log p has the error of log p and
/// phi. `scale_of(i)` is row i's factor in the reduced loss; rows that are ignored are passed over.
template <class T, class G, class Loss, std::invocable<index_t> Scale>
worst_error gradient_error_of(const host_batch<T>& batch, const std::vector<G>& gradient,
                              const Loss& f, Scale&& scale_of, double temperature = 1,
                              double start = 0) {
  using A = accumulator_t<T>;
  // The entropic part multiplies p by log p + H, up to some hundreds, and with it what a p below
  // the smallest normal double has lost. (Where sums are in float, such a p is 0, which is allowed
  // for.)
  constexpr double subnormal_p = 1024 * 0x1.0p-1074;
  worst_error worst;
  for (index_t i = 0; i < batch.rows; ++i) {
    const auto target = batch.targets[static_cast<std::size_t>(i)];
    if (target == ignored_target) continue;
    const double scale = scale_of(i);
    const auto z = widened_row(batch.row(i), batch.cols, static_cast<long double>(temperature));
    const auto s = exact(z, target);
    auto stats =
        finish(fold<required_moments<Loss>, double>(batch.row(i), batch.cols, 1 / temperature),
               static_cast<double>(load(batch.row(i)[target])), target, 1 / temperature);
    const auto terms = f.evaluate(stats);
    const auto want = exact_gradient(z, s, terms.a, terms.b, terms.c, temperature);
    const double l = static_cast<double>(std::fabs(s.log_prob));
    const double weight_error =
        terms.a == 1
            ? 0
            : 2 * (likelihood_tolerance<A> * std::max(1.0, l) + 3 * l * entropy_tolerance<A>);
    for (index_t j = 0; j < batch.cols; ++j) {
      const auto k = static_cast<std::size_t>(j);
      const long double log_p = z[k] - s.max - s.log_sum;
      const long double p = std::exp(log_p);
      const long double parts = p > 0 ? p * (std::fabs(terms.a + terms.c) +
                                             std::fabs(terms.b) * (std::fabs(log_p) + s.entropy()))
                                      : 0;
      const long double total = want[k] * scale + start;
      const double allowed =
          gradient_tolerance<A, G>(parts * std::fabs(scale) / temperature,
                                   j == target ? terms.a * scale / temperature : 0.0, total) +
          weight_error * static_cast<double>(std::fabs(want[k] * scale)) + subnormal_p;
      const double got =
          static_cast<double>(load(gradient[static_cast<std::size_t>(i * batch.cols + j)]));
      worst.see(static_cast<double>(std::fabs(got - total)) / allowed, [&] {
        return "row " + std::to_string(i) + ", element " + std::to_string(j) + ": " +
               std::to_string(got);
      });
    }
  }
  return worst;
}
template <class T, class G, class Loss>
worst_error gradient_error_of(const host_batch<T>& batch, const std::vector<G>& gradient,
                              const Loss& f, double scale, double temperature = 1,
                              double start = 0) {
  return gradient_error_of(
      batch, gradient, f, [=](index_t) { return scale; }, temperature, start);
}

}  // namespace idiolect::test
