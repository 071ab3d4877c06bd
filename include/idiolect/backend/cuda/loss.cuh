// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// `loss` and `loss_and_gradient` on device data. Four kernels: targets are checked and counted,
// rows are read (once, where they fit a group of threads) and their gradients written, and the
// rows' reports are joined in two steps, in the chunks and the order of the CPU's.
//
// Same bits at every call on the same chip, whatever else is in the batch: nothing is added in an
// order that threads decide. (A row's last bits depend on its place modulo 16 bytes.)

#include <cstddef>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <cuda_runtime.h>

#include <idiolect/backend/cuda/launch.cuh>
#include <idiolect/backend/cuda/loss_row.hpp>
#include <idiolect/backend/cuda/policy.cuh>
#include <idiolect/backend/cuda/prepare.cuh>
#include <idiolect/backend/cuda/report.cuh>
#include <idiolect/backend/cuda/row_group.cuh>
#include <idiolect/backend/cuda/tuning.hpp>
#include <idiolect/core/error.hpp>
#include <idiolect/core/matrix_view.hpp>
#include <idiolect/loss/loss.hpp>
#include <idiolect/loss/options.hpp>

namespace idiolect {

namespace detail {

/// End tokens that a call may follow.
inline constexpr int max_end_tokens = 16;

/// Arguments of the kernel over rows; pointers into device memory.
template <class Loss, class T, class Target, class G>
struct loss_call {
  const T* logits;
  index_t logits_stride;
  G* gradient;  ///< null without one
  index_t gradient_stride;
  const Target* targets;
  index_t rows;
  index_t cols;
  Loss loss;
  row_options options;  ///< its end_tokens are below
  token_id end_tokens[max_end_tokens];
  index_t ignore;
  bool accumulate;
  const index_t* offsets;  ///< sequence_mean only
  index_t sequences;
  const double* sequence_scales;
  const prepared_targets* prepared;
  row_report* reports;  ///< one a row
  double* token_loss;   ///< one a row, or null
};

/// The factor of a row in the reduced loss.
template <class Call>
[[nodiscard]] IDIOLECT_HD double scale_of(const Call& call, index_t row) {
  if (call.sequence_scales == nullptr) return call.prepared->scale;
  if (call.prepared->status.bad_offsets) return 0;
  return call.sequence_scales[sequence_of(call.offsets, call.sequences, row)];
}

template <int Shape, class Loss, class T, class Target, class G>
__global__ void __launch_bounds__(launch_threads<Shape>, launch_blocks<Shape, T>)
    loss_rows(const __grid_constant__ loss_call<Loss, T, Target, G> call, int blocks) {
  const index_t i = row_of_thread<Shape>(blocks);
  if (i >= call.rows) return;
  const auto target = static_cast<index_t>(call.targets[i]);
  const auto n = static_cast<int>(call.cols);
  gradient_row<G> gradient{nullptr, call.accumulate};
  if constexpr (!std::is_same_v<G, void_gradient>) {
    gradient.data = call.gradient + i * call.gradient_stride;
  }
  const auto report = [&](const row_report& r) {
    call.reports[i] = r;
    if (call.token_loss != nullptr) call.token_loss[i] = r.loss;
  };
  with_group<Shape>(blocks, [&](const auto& group) {
    if (!is_valid_target(target, call.cols, call.ignore)) {
      if constexpr (!std::is_same_v<G, void_gradient>) {
        if (!call.accumulate) fill_row(group, gradient.data, n, store<G>(0.0));
      }
      if (group.rank() == 0) report({});
      return;
    }
    row_options options = call.options;
    options.end_tokens = call.end_tokens;
    // The others need not wait for it.
    const bool broadcasts = row_shapes[Shape].threads == warp_size || threadIdx.x == 0;
    const row_place place{i, static_cast<token_id>(target), broadcasts ? scale_of(call, i) : 0};
    loss_row<tile_of<Shape, T>>(group, call.logits + i * call.logits_stride, n, place, call.loss,
                                options, gradient, report);
  });
}

/// Where a call's results lie in its workspace.
struct loss_workspace {
  prepared_targets* prepared;
  double* sequence_scales;
  row_report* rows;
  partial_report* partials;
  double* token_loss;
  device_loss_report* report;

  loss_workspace(workspace_layout& w, index_t rows_, const loss_options& o) {
    const bool by_sequence = o.reduce.how == reduction::kind::sequence_mean;
    const bool none = o.reduce.how == reduction::kind::none;
    report = w.take<device_loss_report>(1);
    prepared = w.take<prepared_targets>(1);
    sequence_scales =
        by_sequence ? w.take<double>(static_cast<index_t>(o.sequence_offsets.size())) : nullptr;
    rows = w.take<row_report>(rows_);
    partials = w.take<partial_report>(row_chunks::most);
    token_loss = none ? w.take<double>(rows_) : nullptr;
  }
};

}  // namespace detail

/// Bytes that `loss` and `loss_and_gradient` of `rows` rows need as workspace: about 64 a row.
[[nodiscard]] inline std::size_t loss_workspace_bytes(index_t rows,
                                                      const loss_options& options = {}) {
  detail::workspace_layout w;
  (void)detail::loss_workspace(w, rows, options);
  return w.used();
}

/// A call's results, in its workspace on the device. A cheap value; good while the workspace is.
class cuda_loss {
 public:
  /// For kernels that come later on the stream.
  [[nodiscard]] const device_loss_report* device() const { return report_; }
  /// reduction::none: a weighted loss a row, on the device; null otherwise.
  [[nodiscard]] const double* device_token_loss() const { return token_loss_; }

  /// Waits for the stream and gives the report. Raises target_error naming the row, shape_error for
  /// offsets, non_finite_error where it was asked for, and backend_error.
  [[nodiscard]] loss_report wait() const {
    device_loss_report report;
    std::vector<double> token_loss(token_loss_ != nullptr ? static_cast<std::size_t>(rows_) : 0);
    check(cudaMemcpyAsync(&report, report_, sizeof report, cudaMemcpyDeviceToHost, stream_),
          "cuda_loss::wait");
    if (!token_loss.empty()) {
      check(cudaMemcpyAsync(token_loss.data(), token_loss_, token_loss.size() * sizeof(double),
                            cudaMemcpyDeviceToHost, stream_),
            "cuda_loss::wait");
    }
    check(cudaStreamSynchronize(stream_), "cuda_loss::wait");
    check(report.status);
    loss_report result = detail::finish_report(report.sums, report.valid, on_non_finite_);
    result.token_loss = std::move(token_loss);
    return result;
  }

  cuda_loss(const device_loss_report* report, const double* token_loss, index_t rows,
            non_finite on_non_finite, cudaStream_t stream)
      : report_(report),
        token_loss_(token_loss),
        rows_(rows),
        on_non_finite_(on_non_finite),
        stream_(stream) {}

 private:
  const device_loss_report* report_;
  const double* token_loss_;
  index_t rows_;
  non_finite on_non_finite_;
  cudaStream_t stream_;
};

namespace detail {

/// What the host can check of a call on device data.
template <class T, class Target>
void check_device_call(const matrix_view<const T>& logits, std::span<const Target> targets,
                       const loss_options& o) {
  const index_t rows = logits.rows();
  check_device_rows(logits, targets.size());
  check_option_sizes(o, rows);
  require(o.end_tokens.size() <= max_end_tokens, "end_tokens", [&] {
    return "at most " + std::to_string(max_end_tokens) + " on a device, got " +
           std::to_string(o.end_tokens.size());
  });
  require(o.reduce.how != reduction::kind::mean_over || o.reduce.tokens > 0, "reduction::mean_over",
          "the number of tokens must be > 0");
}

template <class T, class Target, class Loss, class G>
cuda_loss run_loss(const cuda& where, matrix_view<const T> logits, std::span<const Target> targets,
                   const Loss& loss, matrix_view<G> gradient, const loss_options& o) {
  static_assert(std::is_trivially_copyable_v<Loss>,
                "idiolect: a loss for a device is copied there as bytes: no vectors, strings or "
                "std::function in it");
  constexpr bool with_gradient = !std::is_same_v<G, void_gradient>;
  validate_options(loss);
  check_device_call(logits, targets, o);
  if constexpr (with_gradient) check_gradient(logits, gradient, o.accumulate);
  workspace_layout layout(where.workspace);
  const loss_workspace memory(layout, logits.rows(), o);
  layout.check("loss_workspace_bytes");

  const bool by_sequence = o.reduce.how == reduction::kind::sequence_mean;
  const index_t* const offsets = by_sequence ? o.sequence_offsets.data() : nullptr;
  const auto sequences =
      offsets != nullptr ? static_cast<index_t>(o.sequence_offsets.size()) - 1 : 0;
  const index_t rows = logits.rows();
  const index_t cols = logits.cols();

  target_check<Target> targets_check{targets.data(), rows,    cols,      o.ignore_index,
                                     o.reduce,       offsets, sequences, memory.sequence_scales,
                                     memory.prepared};
  enqueue_check(where.stream, targets_check);

  loss_call<Loss, T, Target, G> call{.logits = logits.data(),
                                     .logits_stride = logits.stride(),
                                     .gradient = gradient.data(),
                                     .gradient_stride = gradient.stride(),
                                     .targets = targets.data(),
                                     .rows = rows,
                                     .cols = cols,
                                     .loss = loss,
                                     .options = row_options_of(o),
                                     .end_tokens = {},
                                     .ignore = o.ignore_index,
                                     .accumulate = o.accumulate,
                                     .offsets = offsets,
                                     .sequences = sequences,
                                     .sequence_scales = memory.sequence_scales,
                                     .prepared = memory.prepared,
                                     .reports = memory.rows,
                                     .token_loss = memory.token_loss};
  for (std::size_t k = 0; k < o.end_tokens.size(); ++k) call.end_tokens[k] = o.end_tokens[k];
  launch_rows<T>(
      where.stream, rows, cols, [&]<int Shape>() { return loss_rows<Shape, Loss, T, Target, G>; },
      call);

  join_reports(where.stream, memory.rows, rows, memory.prepared, memory.partials, memory.report);
  return cuda_loss(memory.report, memory.token_loss, rows, o.on_non_finite, where.stream);
}

}  // namespace detail

/// The token loss `f` of N x V `logits` at `targets`, all in device memory; otherwise as on the
/// CPU.
///
/// Enqueues on `where.stream` and returns. In `options`, `weights` and `sequence_offsets` are
/// device memory, `end_tokens` host memory (at most 16). `f` is copied into the kernel: it is
/// trivially copyable, and its `weight` or `evaluate` marked IDIOLECT_HD. Raises shape_error for
/// what the host can see, and backend_error for what CUDA says; the rest is in the result.
template <class T, std::signed_integral Target, class Loss>
  requires(token_loss<Loss> || gate<Loss>)
[[nodiscard]] cuda_loss loss(const cuda& where, matrix_view<T> logits, std::span<Target> targets,
                             const Loss& f, const loss_options& options = {}) {
  return detail::run_loss(where, matrix_view<const std::remove_const_t<T>>(logits),
                          std::span<const std::remove_const_t<Target>>(targets), as_token_loss(f),
                          matrix_view<detail::void_gradient>{}, options);
}

/// The same, and its gradient written to `gradient` (N x V, any stride, fp32, fp64, fp16 or bf16),
/// or added to it. `gradient` may be `logits`. Fastest where both begin at the same place modulo 16
/// bytes.
template <class T, std::signed_integral Target, class Loss, class G>
  requires(token_loss<Loss> || gate<Loss>)
cuda_loss loss_and_gradient(const cuda& where, matrix_view<T> logits, std::span<Target> targets,
                            const Loss& f, matrix_view<G> gradient,
                            const loss_options& options = {}) {
  static_assert(!std::is_const_v<G>, "idiolect: the gradient must be writable");
  return detail::run_loss(where, matrix_view<const std::remove_const_t<T>>(logits),
                          std::span<const std::remove_const_t<Target>>(targets), as_token_loss(f),
                          gradient, options);
}

}  // namespace idiolect
