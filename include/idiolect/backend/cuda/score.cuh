// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// `score` on device data: one kernel that checks the targets, one that reads each row once.

#include <cstddef>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <cuda_runtime.h>

#include <idiolect/backend/cuda/launch.cuh>
#include <idiolect/backend/cuda/policy.cuh>
#include <idiolect/backend/cuda/prepare.cuh>
#include <idiolect/backend/cuda/report.hpp>
#include <idiolect/backend/cuda/row_group.cuh>
#include <idiolect/backend/cuda/score_row.hpp>
#include <idiolect/cll/score.hpp>
#include <idiolect/core/error.hpp>
#include <idiolect/core/matrix_view.hpp>

namespace idiolect {

namespace detail {

/// Arguments of the kernel over rows; pointers into device memory.
template <class T, class Target>
struct score_call {
  const T* logits;
  index_t stride;
  const Target* targets;
  index_t rows;
  index_t cols;
  index_t ignore;
  double inverse_temperature;
  token_score* scores;
};

template <int Shape, class T, class Target>
__global__ void __launch_bounds__(launch_threads<Shape>, launch_blocks<Shape, T>)
    score_rows(const __grid_constant__ score_call<T, Target> call, int blocks) {
  const index_t i = row_of_thread<Shape>(blocks);
  if (i >= call.rows) return;
  const auto target = static_cast<index_t>(call.targets[i]);
  const bool wanted = is_valid_target(target, call.cols, call.ignore);
  const auto report = [&](const token_score& s) { call.scores[i] = s; };
  with_group<Shape>(blocks, [&](const auto& group) {
    if (wanted) {
      score_row<tile_of<Shape, T>>(group, call.logits + i * call.stride,
                                   static_cast<int>(call.cols), static_cast<token_id>(target),
                                   static_cast<accumulator_t<T>>(call.inverse_temperature), report);
    } else if (group.rank() == 0) {
      report({});
    }
  });
}

struct score_workspace {
  prepared_targets* prepared;
  token_score* scores;

  score_workspace(workspace_layout& w, index_t rows)
      : prepared(w.take<prepared_targets>(1)), scores(w.take<token_score>(rows)) {}
};

}  // namespace detail

/// Bytes that `score` of `rows` rows needs as workspace: 40 a row.
[[nodiscard]] inline std::size_t score_workspace_bytes(index_t rows) {
  detail::workspace_layout w;
  (void)detail::score_workspace(w, rows);
  return w.used();
}

/// A call's scores, in its workspace on the device. A cheap value; good while the workspace is.
class cuda_scores {
 public:
  cuda_scores(const token_score* scores, const detail::prepared_targets* prepared, index_t rows,
              cudaStream_t stream)
      : scores_(scores), prepared_(prepared), rows_(rows), stream_(stream) {}

  /// One a row, for kernels that come later on the stream.
  [[nodiscard]] const token_score* device() const { return scores_; }

  /// Waits for the stream and gives the scores. Raises target_error naming the row, and
  /// backend_error.
  [[nodiscard]] std::vector<token_score> wait() const {
    std::vector<token_score> scores(static_cast<std::size_t>(rows_));
    detail::prepared_targets prepared;
    check(cudaMemcpyAsync(&prepared, prepared_, sizeof prepared, cudaMemcpyDeviceToHost, stream_),
          "cuda_scores::wait");
    check(cudaMemcpyAsync(scores.data(), scores_, scores.size() * sizeof(token_score),
                          cudaMemcpyDeviceToHost, stream_),
          "cuda_scores::wait");
    check(cudaStreamSynchronize(stream_), "cuda_scores::wait");
    check(prepared.status);
    return scores;
  }

 private:
  const token_score* scores_;
  const detail::prepared_targets* prepared_;
  index_t rows_;
  cudaStream_t stream_;
};

/// Scores row i's target for each of N rows of V logits, all in device memory; otherwise as on the
/// CPU. Enqueues on `where.stream` and returns. `options.sampler` is for the CPU: shape_error here.
template <class T, std::signed_integral Target>
[[nodiscard]] cuda_scores score(const cuda& where, matrix_view<T> logits, std::span<Target> targets,
                                const score_options& options = {}) {
  using logit = std::remove_const_t<T>;
  using id = std::remove_const_t<Target>;
  require(!options.sampler, "score_options::sampler",
          "scores centred by a sampler are computed on the CPU, not on a device");
  detail::check_temperature(options.temperature);
  detail::check_device_rows(logits, targets.size());
  detail::workspace_layout layout(where.workspace);
  const detail::score_workspace memory(layout, logits.rows());
  layout.check("score_workspace_bytes");

  detail::target_check<id> targets_check{};
  targets_check.targets = targets.data();
  targets_check.rows = logits.rows();
  targets_check.cols = logits.cols();
  targets_check.ignore = options.ignore_index;
  targets_check.prepared = memory.prepared;
  detail::enqueue_check(where.stream, targets_check);

  const detail::score_call<logit, id> call{
      logits.data(), logits.stride(),      targets.data(),          logits.rows(),
      logits.cols(), options.ignore_index, 1 / options.temperature, memory.scores};
  detail::launch_rows<logit>(
      where.stream, logits.rows(), logits.cols(),
      [&]<int Shape>() { return detail::score_rows<Shape, logit, id>; }, call);
  return cuda_scores(memory.scores, memory.prepared, logits.rows(), where.stream);
}

}  // namespace idiolect
