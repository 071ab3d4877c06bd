// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Hinted decoding on device data: many texts' steps in one kernel, a block for each request.
// Requests and answers lie in device memory, so that a loop of one's own may be captured in a
// graph: its launch depends on the numbers of requests and logits alone.

#include <cstddef>
#include <type_traits>

#include <cuda_runtime.h>

#include <idiolect/backend/cuda/hinted_row.hpp>
#include <idiolect/backend/cuda/launch.cuh>
#include <idiolect/backend/cuda/policy.cuh>
#include <idiolect/backend/cuda/row_group.cuh>
#include <idiolect/core/error.hpp>
#include <idiolect/core/scalar.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/hinted/mixture.hpp>
#include <idiolect/hinted/request.hpp>

namespace idiolect {

namespace detail {

/// Threads of a block: reasoned from the registers that the kernel needs; not measured on a GPU.
inline constexpr int hinted_threads = 512;

template <class T, class S, class Schedule>
__global__ void __launch_bounds__(hinted_threads)
    hinted_kernel(const hinted_request<T, S>* requests, hinted_rule<Schedule> rule,
                  hinted_rows<T, S> rows, hinted_answer* answers) {
  using group = block_group<hinted_threads>;
  __shared__ typename group::memory memory;
  __shared__ sum_memory sums;
  const group block(memory);
  const hinted_request<T, S> r = requests[blockIdx.x];
  const hinted_row<T, S, 1, group> step(block, sums, rows);
  const hinted_answer a = step.answer(r, rule);
  if (threadIdx.x == 0) answers[blockIdx.x] = a;
}

/// The workspace's pieces.
template <class T, class S>
[[nodiscard]] hinted_rows<T, S> hinted_rows_in(workspace_layout& layout, index_t places,
                                               index_t vocab, bool deferred) {
  hinted_rows<T, S> rows;
  rows.stride = place_stride(vocab);
  rows.drawn = layout.take<mixture_t<T, S>>(places * rows.stride);
  if (deferred) rows.kept = layout.take<T>(places * rows.stride);
  return rows;
}

}  // namespace detail

/// Bytes of workspace that `hinted_step` needs for requests with places below `places` and rows of
/// `vocab` logits at most: 4 a logit (8 in double precision). `deferred`: requests may come without
/// the student's row where lambda might be above 0; sizeof(T) a logit more.
template <logit_scalar T, logit_scalar S = T>
[[nodiscard]] std::size_t hinted_workspace_bytes(index_t places, index_t vocab,
                                                 bool deferred = false) {
  detail::workspace_layout layout;
  (void)detail::hinted_rows_in<T, S>(layout, places, vocab, deferred);
  return layout.used();
}

/// Answers `count` requests: both arrays in device memory, the rows as well. Enqueues one kernel.
/// The places of requests for a next token differ and are below `places`, no row is longer than
/// `vocab`; with `deferred` the workspace must be left alone between a `student_needed` and what
/// follows it. An answer's status says what the host raises: see `hinted_writer::accept`.
template <logit_scalar T, logit_scalar S, lambda_schedule Schedule>
void hinted_step(const cuda& where, const hinted_request<T, S>* requests, hinted_answer* answers,
                 index_t count, index_t places, index_t vocab, const hinted_rule<Schedule>& rule,
                 bool deferred = false) {
  static_assert(std::is_trivially_copyable_v<Schedule>,
                "idiolect: the lambda schedule is copied to the device");
  require(count >= 0 && places > 0 && vocab > 0, "count",
          "requests, places and logits cannot be fewer than none");
  detail::workspace_layout layout(where.workspace);
  const auto rows = detail::hinted_rows_in<T, S>(layout, places, vocab, deferred);
  layout.check("hinted_workspace_bytes");
  if (count == 0) return;
  require(requests != nullptr && answers != nullptr, "requests", "null pointer");
  detail::enqueue(where.stream, count, detail::hinted_threads, 1,
                  detail::hinted_kernel<T, S, Schedule>, requests, rule, rows, answers);
}

}  // namespace idiolect
