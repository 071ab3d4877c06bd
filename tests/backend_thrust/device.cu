// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Every call of the Thrust backend on Thrust's CUDA system, compiled. Nothing here runs.

#include <cstddef>
#include <cstdint>
#include <span>

#include <cuda_runtime_api.h>
#include <thrust/system/cuda/execution_policy.h>

#include <idiolect/backend/thrust/thrust.hpp>
#include <idiolect/loss/gates.hpp>

// [thrust_device]
// Logits, targets and gradient in device memory; the report comes back to the host.
idiolect::loss_report train_step(const float* logits, const int* targets, float* gradient,
                                 std::int64_t rows, std::int64_t vocabulary, cudaStream_t stream) {
  return idiolect::loss_and_gradient(idiolect::thrust_system{thrust::cuda::par.on(stream)},
                                     idiolect::matrix_view(logits, rows, vocabulary),
                                     std::span(targets, static_cast<std::size_t>(rows)),
                                     idiolect::idft{},
                                     idiolect::matrix_view(gradient, rows, vocabulary));
}
// [thrust_device]

namespace idiolect::test {

/// A user's own gate, on a moment that is not always there.
struct own_gate {
  static constexpr moments required = moments::varentropy;
  template <class Stats>
  IDIOLECT_HD double weight(const Stats& s) const {
    return s.varentropy() > 1 ? 1.0 : s.prob();
  }
};

using stream_policy = decltype(::thrust::cuda::par.on(nullptr));
using nosync_policy = decltype(::thrust::cuda::par_nosync.on(nullptr));
static_assert(!detail::thrust_steps::on_host<stream_policy>);
static_assert(!detail::thrust_steps::on_host<nosync_policy>);

double score_and_loss(const nosync_policy& policy, matrix_view<const bfloat16> logits,
                      std::span<const std::int64_t> targets, const loss_options& options) {
  const thrust_system system{policy};
  return score(system, logits, targets).front().phi +
         loss(system, logits, targets, own_gate{}, options).loss;
}

loss_report in_place(const nosync_policy& policy, matrix_view<bfloat16> logits,
                     std::span<const std::int64_t> targets, const loss_options& options) {
  return loss_and_gradient(thrust_system{policy}, logits, targets, through_weight(idft{}), logits,
                           options);
}

}  // namespace idiolect::test
