// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// What tests on a device need: whether there is one, memory on it, and matrices whose margins tell
// when something was written beside them. Every test case begins with
//
//   if (no_device()) return;
//
// The tag [small] marks those that bench/gpu/run.sh runs under compute-sanitizer, where all is
// slow.

#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <cuda_runtime.h>

#include <idiolect/backend/cuda/policy.cuh>
#include <idiolect/core/matrix_view.hpp>
#include <idiolect/core/types.hpp>

#include "support/catch.hpp"

namespace idiolect::test {

/// Whether this test case cannot be run here; says so.
inline bool no_device() {
  int devices = 0;
  const cudaError_t status = cudaGetDeviceCount(&devices);
  if (status == cudaSuccess && devices > 0) return false;
  skip(std::string("no CUDA device: ") +
       (status == cudaSuccess ? "none found" : cudaGetErrorString(status)));
  return true;
}

/// n elements of device memory; NaN (all bits set) until something is written, or left as they are,
/// so that compute-sanitizer sees who reads them first.
template <class T>
class device_array {
 public:
  static_assert(std::is_trivially_copyable_v<T>);

  device_array() = default;
  explicit device_array(index_t n, bool as_it_is = false) : size_(n) {
    if (n == 0) return;
    check(cudaMalloc(&data_, bytes()), "cudaMalloc");
    if (!as_it_is) check(cudaMemset(data_, 0xff, bytes()), "cudaMemset");
  }
  explicit device_array(const std::vector<T>& host)
      : device_array(static_cast<index_t>(host.size())) {
    upload(host);
  }
  device_array(device_array&& other) noexcept : data_(other.data_), size_(other.size_) {
    other.data_ = nullptr;
    other.size_ = 0;
  }
  device_array& operator=(device_array&&) = delete;
  ~device_array() { cudaFree(data_); }

  [[nodiscard]] T* data() const { return static_cast<T*>(data_); }
  [[nodiscard]] index_t size() const { return size_; }
  [[nodiscard]] std::size_t bytes() const { return static_cast<std::size_t>(size_) * sizeof(T); }
  [[nodiscard]] std::span<const T> span() const {
    return {data(), static_cast<std::size_t>(size_)};
  }

  void upload(const std::vector<T>& host) {
    REQUIRE(static_cast<index_t>(host.size()) == size_);
    if (size_ > 0) check(cudaMemcpy(data_, host.data(), bytes(), cudaMemcpyDefault), "upload");
  }
  /// Waits for everything on the device.
  [[nodiscard]] std::vector<T> download() const {
    std::vector<T> host(static_cast<std::size_t>(size_));
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    if (size_ > 0) check(cudaMemcpy(host.data(), data_, bytes(), cudaMemcpyDefault), "download");
    return host;
  }

 private:
  void* data_ = nullptr;
  index_t size_ = 0;
};

/// Where a matrix lies in its memory: elements between rows, and before the first.
struct placement {
  index_t padding = 0;
  index_t shift = 0;
};

/// Rows of device memory with margins.
template <class T>
class device_matrix {
 public:
  device_matrix(index_t rows, index_t cols, placement p = {})
      : rows_(rows),
        cols_(cols),
        place_(p),
        memory_(p.shift + rows * (cols + p.padding) + margin) {}
  device_matrix(const std::vector<T>& contiguous, index_t rows, index_t cols, placement p = {})
      : device_matrix(rows, cols, p) {
    upload(contiguous);
  }

  [[nodiscard]] matrix_view<T> view() const {
    return {memory_.data() + place_.shift, rows_, cols_, cols_ + place_.padding};
  }
  [[nodiscard]] matrix_view<const T> input() const { return view(); }

  void upload(const std::vector<T>& contiguous) {
    REQUIRE(static_cast<index_t>(contiguous.size()) == rows_ * cols_);
    copy(view().data(), stride(), contiguous.data(), cols_);
  }
  /// Waits for everything on the device.
  [[nodiscard]] std::vector<T> download() const {
    std::vector<T> contiguous(static_cast<std::size_t>(rows_ * cols_));
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    copy(contiguous.data(), cols_, view().data(), stride());
    return contiguous;
  }
  /// Whether all that lies beside the rows is as it was: all bits set.
  [[nodiscard]] bool clean() const {
    const std::vector<T> all = memory_.download();
    for (index_t i = 0; i < memory_.size(); ++i) {
      const index_t at = i - place_.shift;
      const bool inside = at >= 0 && at < rows_ * stride() && at % stride() < cols_;
      unsigned char bytes[sizeof(T)];
      std::memcpy(bytes, &all[static_cast<std::size_t>(i)], sizeof(T));
      for (const unsigned char byte : bytes) {
        if (!inside && byte != 0xff) return false;
      }
    }
    return true;
  }

 private:
  static constexpr index_t margin = 64;

  [[nodiscard]] index_t stride() const { return cols_ + place_.padding; }
  void copy(T* to, index_t to_stride, const T* from, index_t from_stride) const {
    if (rows_ == 0) return;
    check(cudaMemcpy2D(to, static_cast<std::size_t>(to_stride) * sizeof(T), from,
                       static_cast<std::size_t>(from_stride) * sizeof(T),
                       static_cast<std::size_t>(cols_) * sizeof(T), static_cast<std::size_t>(rows_),
                       cudaMemcpyDefault),
          "cudaMemcpy2D");
  }

  index_t rows_;
  index_t cols_;
  placement place_;
  device_array<T> memory_;
};

/// A stream of its own.
class test_stream {
 public:
  test_stream() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "stream"); }
  test_stream(const test_stream&) = delete;
  test_stream& operator=(const test_stream&) = delete;
  ~test_stream() { cudaStreamDestroy(stream_); }
  [[nodiscard]] cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

/// What f enqueues on a stream, as a graph to replay.
class captured_graph {
 public:
  template <class F>
  captured_graph(cudaStream_t stream, F&& f) : stream_(stream) {
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capture");
    f();
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(stream, &graph), "capture");
    check(cudaGraphInstantiate(&graph_, graph, 0), "cudaGraphInstantiate");
    check(cudaGraphDestroy(graph), "cudaGraphDestroy");
  }
  captured_graph(const captured_graph&) = delete;
  captured_graph& operator=(const captured_graph&) = delete;
  ~captured_graph() { cudaGraphExecDestroy(graph_); }

  void replay() const {
    check(cudaGraphLaunch(graph_, stream_), "cudaGraphLaunch");
    check(cudaStreamSynchronize(stream_), "replay");
  }

 private:
  cudaStream_t stream_;
  cudaGraphExec_t graph_ = nullptr;
};

}  // namespace idiolect::test
