// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The rows' reports become one: a block a chunk of rows, then one block for the chunks. Moments are
// joined by CUB over their monoid, in the order of the rows; histograms are counted in integers.

#include <cstddef>
#include <cstdint>

#include <cub/block/block_reduce.cuh>

#include <idiolect/backend/cuda/launch.cuh>
#include <idiolect/backend/cuda/prepare.hpp>
#include <idiolect/backend/cuda/report.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/loss/partial_report.hpp>

namespace idiolect::detail {

/// report_moments' merge, for CUB.
struct merge_moments {
  [[nodiscard]] __device__ report_moments operator()(const report_moments& a,
                                                     const report_moments& b) const {
    report_moments r = a;
    r.merge(b);
    return r;
  }
};

/// Places of a histogram: its bins, below, above, NaN.
inline constexpr int report_places = 32 + 3;

template <int Threads>
__global__ void __launch_bounds__(Threads)
    join_rows(const row_report* rows, row_chunks chunks, partial_report* partials) {
  using reduce = CUB_NS_QUALIFIER::BlockReduce<report_moments, Threads>;
  __shared__ typename reduce::TempStorage storage;
  __shared__ std::uint32_t phi[report_places];
  __shared__ std::uint32_t weight[report_places];
  const auto thread = static_cast<int>(threadIdx.x);
  if (thread < report_places) phi[thread] = weight[thread] = 0;
  __syncthreads();

  // Neighbouring rows to one thread: the order of joining is the order of the rows.
  const auto chunk = static_cast<index_t>(blockIdx.x);
  const index_t end = chunks.end(chunk);
  const index_t per_thread = (chunks.size() + Threads - 1) / Threads;
  const index_t first = chunks.begin(chunk) + thread * per_thread;
  const index_t last = first + per_thread < end ? first + per_thread : end;
  report_moments moments;
  const summary_bins phi_bins = empty_phi_summary().bins;
  const summary_bins weight_bins = empty_weight_summary().bins;
  for (index_t i = first; i < last; ++i) {
    const row_report row = rows[i];
    moments.add(i, row);
    if (!row.has_statistics()) continue;
    atomicAdd(&phi[phi_bins.place(row.phi)], 1u);
    atomicAdd(&weight[weight_bins.place(row.weight)], 1u);
  }
  moments = reduce(storage).Reduce(moments, merge_moments{});
  __syncthreads();
  partial_report& part = partials[blockIdx.x];
  if (thread == 0) static_cast<report_moments&>(part) = moments;
  if (thread < report_places) {
    part.phi_bins.at(static_cast<std::size_t>(thread)) = phi[thread];
    part.weight_bins.at(static_cast<std::size_t>(thread)) = weight[thread];
  }
}

template <int Threads>
__global__ void __launch_bounds__(Threads)
    join_chunks(partial_report* partials, int chunks, const prepared_targets* prepared,
                device_loss_report* report) {
  using reduce = CUB_NS_QUALIFIER::BlockReduce<report_moments, Threads>;
  __shared__ typename reduce::TempStorage storage;
  const auto thread = static_cast<int>(threadIdx.x);
  report_moments moments;
  if (thread < chunks) moments = partials[thread];
  moments = reduce(storage).Reduce(moments, merge_moments{});
  if (thread == 0) {
    static_cast<report_moments&>(report->sums) = moments;
    report->valid = prepared->valid;
    report->status = prepared->status;
  }
  if (thread < report_places) {
    const auto place = static_cast<std::size_t>(thread);
    std::uint64_t phi = 0;
    std::uint64_t weight = 0;
    for (int k = 0; k < chunks; ++k) {
      phi += partials[k].phi_bins.at(place);
      weight += partials[k].weight_bins.at(place);
    }
    report->sums.phi_bins.at(place) = phi;
    report->sums.weight_bins.at(place) = weight;
  }
  if (thread == Threads - 1) {
    const partial_report empty;
    report->sums.phi_bins.low = empty.phi_bins.low;
    report->sums.phi_bins.high = empty.phi_bins.high;
    report->sums.weight_bins.low = empty.weight_bins.low;
    report->sums.weight_bins.high = empty.weight_bins.high;
  }
}

inline void join_reports(cudaStream_t stream, const row_report* rows, index_t count,
                         const prepared_targets* prepared, partial_report* partials,
                         device_loss_report* report) {
  const row_chunks chunks{count};
  if (count > 0) {
    constexpr int threads = 128;
    enqueue(stream, chunks.count(), threads, 1, join_rows<threads>, rows, chunks, partials);
  }
  constexpr auto threads = static_cast<int>(row_chunks::most);  // one for each
  enqueue(stream, 1, threads, 1, join_chunks<threads>, partials,
          static_cast<int>(chunks.count()), prepared, report);
}

}  // namespace idiolect::detail
