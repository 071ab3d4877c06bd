// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// `loss` and `loss_and_gradient` over rows in host memory, for every backend that folds them:
// validation, the cut into chunks, the reduction and the report. The arithmetic on logits is the
// backend's two passes.
//
// Complexity: O(N V) time. Memory beside the arguments: one partial report for each of at most 128
// chunks, and what the backend's pass needs. The chunks depend on N alone and are merged in order, so
// that the result has the same bits for any executor.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <ranges>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <idiolect/core/bounds.hpp>
#include <idiolect/core/error.hpp>
#include <idiolect/core/matrix_view.hpp>
#include <idiolect/core/targets.hpp>
#include <idiolect/loss/options.hpp>
#include <idiolect/loss/partial_report.hpp>
#include <idiolect/loss/report.hpp>
#include <idiolect/loss/span.hpp>
#include <idiolect/loss/token_loss.hpp>
#include <idiolect/stats/fold.hpp>

namespace idiolect {

namespace detail {

/// The same, from options that have been checked. Only where there are no tokens anywhere may their
/// number be 0.
[[nodiscard]] inline double common_scale(const loss_options& o, index_t valid) {
  require(o.reduce.how != reduction::kind::mean_over || valid == 0 || o.reduce.tokens > 0,
          "reduction::mean_over", "the number of tokens must be > 0");
  return common_scale(o.reduce, valid);
}

/// Factor of each row's loss in the reduced loss.
class row_scales {
 public:
  template <class Target>
  row_scales(std::span<const Target> targets, const loss_options& o)
      : offsets_(o.sequence_offsets) {
    for (const Target t : targets) valid_ += static_cast<index_t>(t) != o.ignore_index;
    scale_ = common_scale(o, valid_);
    if (o.reduce.how == reduction::kind::sequence_mean) by_sequence(targets, o.ignore_index);
  }

  [[nodiscard]] index_t valid() const { return valid_; }

  [[nodiscard]] double operator[](index_t row) const {
    if (per_sequence_.empty()) return scale_;
    const auto sequences = static_cast<index_t>(offsets_.size()) - 1;
    return per_sequence_[static_cast<std::size_t>(sequence_of(offsets_.data(), sequences, row))];
  }

 private:
  template <class Target>
  void by_sequence(std::span<const Target> targets, token_id ignore) {
    per_sequence_.resize(offsets_.size());
    index_t sequences = 0;
    for (std::size_t k = 0; k + 1 < offsets_.size(); ++k) {
      index_t n = 0;
      for (index_t i = offsets_[k]; i < offsets_[k + 1]; ++i) {
        n += static_cast<index_t>(targets[static_cast<std::size_t>(i)]) != ignore;
      }
      per_sequence_[k] = n > 0 ? 1 / static_cast<double>(n) : 0;
      sequences += n > 0;
    }
    for (double& s : per_sequence_) s = sequences > 0 ? s / static_cast<double>(sequences) : 0;
  }

  std::span<const index_t> offsets_;
  std::vector<double> per_sequence_;
  double scale_;
  index_t valid_ = 0;
};

/// What needs no look at the rows' memory.
inline void check_option_sizes(const loss_options& o, index_t rows) {
  check_temperature(o.temperature);
  require_finite(o.gradient_scale, "gradient_scale");
  if (o.reduce.how == reduction::kind::mean_over) {
    // Below the smallest normal number, its inverse is infinite.
    const bool usable = o.reduce.tokens == 0 || o.reduce.tokens >= 0x1.0p-1022;
    require(usable && std::isfinite(o.reduce.tokens), "reduction::mean_over", [&] {
      return "the number of tokens must be finite and > 0, got " + shown(o.reduce.tokens);
    });
  }
  require(o.weights.empty() || static_cast<index_t>(o.weights.size()) == rows, "weights", [&] {
    return std::to_string(o.weights.size()) + " weights for " + std::to_string(rows) + " rows";
  });
  require(o.reduce.how != reduction::kind::sequence_mean || !o.sequence_offsets.empty() || rows == 0,
          "sequence_offsets", "sequence_mean needs them");
}

inline void check_options(const loss_options& o, index_t rows) {
  check_option_sizes(o, rows);
  const auto& offsets = o.sequence_offsets;
  if (offsets.empty()) return;
  require(offsets.front() == 0 && offsets.back() == rows && std::ranges::is_sorted(offsets),
          "sequence_offsets", [&] {
            return "must ascend from 0 to the " + std::to_string(rows) + " rows";
          });
}

/// The gradient may be the logits themselves or apart from them; rows that interleave in one
/// allocation are apart.
template <class T, class G>
void check_gradient(const matrix_view<const T>& logits, const matrix_view<G>& gradient,
                    bool accumulate) {
  require(gradient.rows() == logits.rows() && gradient.cols() == logits.cols(), "gradient", [&] {
    return std::to_string(gradient.rows()) + " x " + std::to_string(gradient.cols()) +
           ", but the logits are " + std::to_string(logits.rows()) + " x " +
           std::to_string(logits.cols());
  });
  if (logits.rows() == 0 || logits.cols() == 0) return;
  const auto z = reinterpret_cast<std::uintptr_t>(logits.data());
  const auto g = reinterpret_cast<std::uintptr_t>(gradient.data());
  const auto row_z = static_cast<std::uintptr_t>(logits.cols()) * sizeof(T);
  const auto row_g = static_cast<std::uintptr_t>(gradient.cols()) * sizeof(G);
  const auto step_z = static_cast<std::uintptr_t>(logits.stride()) * sizeof(T);
  const auto step_g = static_cast<std::uintptr_t>(gradient.stride()) * sizeof(G);
  const auto last = static_cast<std::uintptr_t>(logits.rows() - 1);
  const bool apart = z + last * step_z + row_z <= g || g + last * step_g + row_g <= z;
  if (apart) return;
  const bool same_step = logits.rows() == 1 || step_z == step_g;
  if (z == g && same_step && std::is_same_v<T, std::remove_cv_t<G>>) {
    require(!accumulate, "gradient", "cannot be accumulated into the logits themselves");
    return;
  }
  if (same_step && logits.rows() > 1) {
    const auto distance = z < g ? (g - z) % step_z : step_z - (z - g) % step_z;
    if (distance >= row_z && step_z - distance >= row_g) return;
  }
  raise(shape_error("gradient",
                    "overlaps the logits in part; use the logits' own view for an in-place "
                    "gradient, or memory apart from them"));
}

/// Stands for the scalar of a gradient that nobody asked for.
struct void_gradient {};

/// One call; G is void_gradient for the loss alone.
template <class Backend, class T, class Target, class Loss, class G>
class loss_pass {
 public:
  loss_pass(const Backend& backend, matrix_view<const T> logits, std::span<const Target> targets,
            const Loss& loss, matrix_view<G> gradient, const loss_options& options)
      : backend_(backend),
        logits_(logits),
        targets_(targets),
        loss_(loss),
        gradient_(gradient),
        options_(options),
        row_options_(row_options_of(options)),
        scales_(targets, options) {}

  loss_report run() {
    const index_t rows = logits_.rows();
    std::vector<double> token_loss;
    if (options_.reduce.how == reduction::kind::none) {
      token_loss.resize(static_cast<std::size_t>(rows));
    }
    const row_chunks chunks{rows};
    std::vector<partial_report> partials(static_cast<std::size_t>(chunks.count()));
    auto pass = make_pass();
    const auto run_chunks = [&](index_t first, index_t last) {
      auto worker = pass.start();
      for (index_t k = first; k < last; ++k) {
        auto& partial = partials[static_cast<std::size_t>(k)];
        const index_t end = chunks.end(k);
        for (index_t i = chunks.begin(k); i < end;) {
          i = run_batch(i, end, pass.batch(), worker, partial, token_loss);
        }
      }
      worker.finish();
    };
    if (pass.shares_rows()) {
      run_chunks(0, chunks.count());
    } else {
      for_pieces(backend_.executor, chunks.count(), run_chunks);
    }

    partial_report all;
    for (const auto& partial : partials) all.merge(partial);
    loss_report report = finish_report(all, scales_.valid(), options_.on_non_finite);
    report.token_loss = std::move(token_loss);
    return report;
  }

 private:
  static constexpr bool with_gradient = !std::is_same_v<G, void_gradient>;
  static constexpr moments set = required_moments<Loss>;

  // The backend's own pass where it has one and the loss allows it.
  auto make_pass() const {
    const double inverse_temperature = 1 / options_.temperature;
    if constexpr (with_gradient && !may_pull_entropy<Loss> && requires {
                    backend_.template gradient_pass<set>(logits_, gradient_, inverse_temperature,
                                                         false);
                  }) {
      return backend_.template gradient_pass<set>(logits_, gradient_, inverse_temperature,
                                                  options_.accumulate);
    } else {
      return plain_pass<set, Backend, T, G>(backend_, logits_, gradient_, inverse_temperature,
                                            options_.accumulate);
    }
  }

  // Takes `most` rows that are not ignored, from `i` on and before `end`; returns the row after.
  template <class Worker>
  index_t run_batch(index_t i, index_t end, index_t most, Worker& worker, partial_report& partial,
                    std::vector<double>& token_loss) {
    index_t rows[max_batch];
    double target_logits[max_batch];  // read now: the gradient may take the logits' place
    std::size_t count = 0;
    for (; i < end && count < static_cast<std::size_t>(most); ++i) {
      const auto target = static_cast<index_t>(targets_[static_cast<std::size_t>(i)]);
      if (target == options_.ignore_index) {
        fill_gradient(i, 0);
        continue;
      }
      target_logits[count] = static_cast<double>(load(logits_.row(i)[target]));
      rows[count++] = i;
    }

    row_state<double, set> states[max_batch];
    worker.fold(std::span<const index_t>(rows, count), states);
    // One step for all rows after another: a row's logarithm, exponentials and sums wait for each other.
    row_stats<double, set> stats[max_batch];
    for (std::size_t k = 0; k < count; ++k) {
      const auto target = static_cast<token_id>(targets_[static_cast<std::size_t>(rows[k])]);
      stats[k] = finish(states[k], target_logits[k], target, row_options_.inverse_temperature);
    }
    row_report reports[max_batch];
    row_span<double> spans[max_batch];
    for (std::size_t k = 0; k < count; ++k) {
      reports[k] = evaluate_row(loss_, stats[k], rows[k], scales_[rows[k]], row_options_, spans[k]);
    }
    for (std::size_t k = 0; k < count; ++k) {
      partial.add(rows[k], reports[k]);
      if (!token_loss.empty()) token_loss[static_cast<std::size_t>(rows[k])] = reports[k].loss;
      if (!reports[k].has_span) fill_gradient(rows[k], reports[k].fill);
    }
    if constexpr (with_gradient) {
      for (std::size_t k = 0; k < count; ++k) {
        if (reports[k].has_span) worker.write(k, spans[k]);
      }
    }
    return i;
  }

  // The gradient of a row without one: 0, which may be left to what is there, or NaN.
  void fill_gradient(index_t i, double value) {
    if constexpr (with_gradient) {
      if (value == 0 && options_.accumulate) return;
      std::fill_n(gradient_.row(i), gradient_.cols(), store<G>(value));
    }
  }

  const Backend& backend_;
  matrix_view<const T> logits_;
  std::span<const Target> targets_;
  const Loss& loss_;
  matrix_view<G> gradient_;
  const loss_options& options_;
  row_options row_options_;
  row_scales scales_;
};

}  // namespace detail

/// The token loss `f` of N x V `logits` at `targets` (row i predicts targets[i]).
///
/// `f` is a token_loss, a gate, or any callable from row statistics to a weight. Raises
/// shape_error, target_error naming the row, and non_finite_error where asked for; everything but
/// the last is found before any work. N = 0 or all targets ignored: loss 0.
template <folding_backend Backend, matrix_like Logits, target_range Targets, class Loss>
  requires(token_loss<Loss> || gate<Loss>)
[[nodiscard]] loss_report loss(const Backend& backend, const Logits& logits, const Targets& targets,
                               const Loss& f, const loss_options& options = {}) {
  const matrix_view<const matrix_scalar_t<const Logits&>> z = view(logits);
  const auto y = targets_of(targets);
  detail::validate_options(f);
  detail::check_options(options, z.rows());
  check_targets(z, y, options.ignore_index);
  const auto token_loss = as_token_loss(f);
  return detail::loss_pass(backend, z, y, token_loss, matrix_view<detail::void_gradient>{}, options)
      .run();
}

/// The same, and its gradient with respect to the logits written to `gradient` (N x V, any stride,
/// any scalar type), or added to it. `gradient` may be `logits`: the gradient replaces them.
/// If `f` throws, the gradient is unspecified, and in place so are the logits.
template <training_backend Backend, matrix_like Logits, target_range Targets, class Loss,
          matrix_like Gradient>
  requires(token_loss<Loss> || gate<Loss>)
loss_report loss_and_gradient(const Backend& backend, const Logits& logits, const Targets& targets,
                              const Loss& f, Gradient&& gradient,
                              const loss_options& options = {}) {
  const matrix_view<const matrix_scalar_t<const Logits&>> z = view(logits);
  const auto y = targets_of(targets);
  const auto dz = view(gradient);
  static_assert(!std::is_const_v<typename decltype(dz)::element_type>,
                "idiolect: the gradient must be writable");
  static_assert(detail::outlives_call<Gradient>,
                "idiolect: the gradient of a temporary would be lost; give the matrix a name");
  detail::validate_options(f);
  detail::check_options(options, z.rows());
  detail::check_gradient(z, dz, options.accumulate);
  check_targets(z, y, options.ignore_index);
  const auto token_loss = as_token_loss(f);
  return detail::loss_pass(backend, z, y, token_loss, dz, options).run();
}

}  // namespace idiolect
