// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Time on a device, and the figures as JSON. What is measured is captured in a graph: several calls
// over buffers that together exceed the cache, replayed between two events. A call that overwrites
// its input is measured alone, with fresh input before each.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <fstream>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <cuda_runtime.h>

#include <idiolect/backend/cuda/policy.cuh>
#include <idiolect/core/types.hpp>

namespace idiolect::bench {

/// n elements of device memory.
template <class T>
class buffer {
 public:
  explicit buffer(index_t n) : size_(n) {
    check(cudaMalloc(&data_, static_cast<std::size_t>(n) * sizeof(T)), "cudaMalloc");
  }
  buffer(buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(other.size_) {}
  buffer& operator=(buffer&&) = delete;
  ~buffer() { cudaFree(data_); }

  [[nodiscard]] T* data() const { return static_cast<T*>(data_); }
  [[nodiscard]] index_t size() const { return size_; }
  [[nodiscard]] std::vector<T> download(index_t first, index_t count) const {
    std::vector<T> host(static_cast<std::size_t>(count));
    check(cudaMemcpy(host.data(), data() + first, host.size() * sizeof(T), cudaMemcpyDeviceToHost),
          "cudaMemcpy");
    return host;
  }

 private:
  void* data_ = nullptr;
  index_t size_;
};

/// One line of the results.
struct figure {
  std::string name;
  std::string scalar;
  index_t rows = 0;
  index_t vocab = 0;
  double bytes = 0;   ///< that any way of doing it reads and writes
  std::string limit;  ///< the name of the figure that moves the same bytes, if there is one
  double median = 0;  ///< ms a call
  double low = 0;     ///< quartiles
  double high = 0;
  int samples = 0;
};

class session {
 public:
  explicit session(double seconds) : seconds_(seconds) {
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "stream");
    check(cudaEventCreate(&begin_), "event");
    check(cudaEventCreate(&end_), "event");
    int device = 0;
    check(cudaGetDevice(&device), "cudaGetDevice");
    check(cudaGetDeviceProperties(&properties_, device), "cudaGetDeviceProperties");
  }
  session(const session&) = delete;
  session& operator=(const session&) = delete;
  ~session() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
    cudaStreamDestroy(stream_);
  }

  [[nodiscard]] cudaStream_t stream() const { return stream_; }
  [[nodiscard]] const cudaDeviceProp& device() const { return properties_; }

  /// Buffers of so many bytes that together are four times the cache.
  [[nodiscard]] index_t sets_for(double bytes) const {
    const double cache = 4.0 * properties_.l2CacheSize;
    return std::max<index_t>(1, static_cast<index_t>(std::ceil(cache / bytes)));
  }

  /// Times `call(k)`, which enqueues the work on buffers k of `sets`. With `prepare(k)`, untimed,
  /// before every call.
  void time(figure f, index_t sets, const std::function<void(index_t)>& call,
            const std::function<void(index_t)>& prepare = {}) {
    const auto replay_ms = [&](cudaGraphExec_t graph) {
      check(cudaEventRecord(begin_, stream_), "event");
      check(cudaGraphLaunch(graph, stream_), "cudaGraphLaunch");
      check(cudaEventRecord(end_, stream_), "event");
      check(cudaEventSynchronize(end_), f.name);
      float ms = 0;
      check(cudaEventElapsedTime(&ms, begin_, end_), "event");
      return static_cast<double>(ms);
    };
    std::vector<cudaGraphExec_t> graphs;
    if (prepare) {
      for (index_t k = 0; k < sets; ++k) graphs.push_back(capture([&] { call(k); }));
    } else {
      // About 2 ms a replay, all buffers equally often.
      const cudaGraphExec_t once = capture([&] {
        for (index_t k = 0; k < sets; ++k) call(k);
      });
      replay_ms(once);
      const double round = replay_ms(once);
      const auto rounds = static_cast<index_t>(std::clamp(2 / round, 1.0, 32.0));
      graphs.push_back(capture([&] {
        for (index_t k = 0; k < rounds * sets; ++k) call(k % sets);
      }));
      check(cudaGraphExecDestroy(once), "graph");
      calls_ = static_cast<double>(rounds * sets);
    }
    std::vector<double> times;
    double spent = 0;
    for (index_t i = -2; i < 5 || (i < 200 && spent < 1e3 * seconds_); ++i) {  // two to warm up
      const auto k = static_cast<std::size_t>(i + 2) % graphs.size();
      if (prepare) prepare(static_cast<index_t>(k));
      const double ms = replay_ms(graphs[k]);
      spent += ms;
      if (i >= 0) times.push_back(ms / (prepare ? 1 : calls_));
    }
    for (const cudaGraphExec_t g : graphs) check(cudaGraphExecDestroy(g), "graph");
    std::sort(times.begin(), times.end());
    f.median = times[times.size() / 2];
    f.low = times[times.size() / 4];
    f.high = times[times.size() * 3 / 4];
    f.samples = static_cast<int>(times.size());
    std::printf("%-28s %s %6lld x %-6lld %9.4f ms  %6.0f GB/s\n", f.name.c_str(), f.scalar.c_str(),
                static_cast<long long>(f.rows), static_cast<long long>(f.vocab), f.median,
                f.bytes / f.median * 1e-6);
    std::fflush(stdout);
    figures_.push_back(std::move(f));
  }

  void write(const std::string& path) const {
    std::ofstream out(path);
    int runtime = 0, driver = 0;
    check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
    check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
    const auto version = [](int v) {
      return "\"" + std::to_string(v / 1000) + "." + std::to_string(v % 1000 / 10) + "\"";
    };
    out << "{\"device\": {\"name\": \"" << properties_.name << "\", \"capability\": \""
        << properties_.major << '.' << properties_.minor
        << "\", \"multiprocessors\": " << properties_.multiProcessorCount
        << ", \"l2_bytes\": " << properties_.l2CacheSize
        << ", \"memory_bytes\": " << properties_.totalGlobalMem
        << "},\n \"runtime\": " << version(runtime) << ", \"driver\": " << version(driver)
        << ",\n \"figures\": [";
    const char* comma = "\n";
    out.precision(6);
    for (const figure& f : figures_) {
      out << comma << "  {\"name\": \"" << f.name << "\", \"scalar\": \"" << f.scalar
          << "\", \"rows\": " << f.rows << ", \"vocab\": " << f.vocab << ", \"bytes\": " << f.bytes
          << ", \"limit\": \"" << f.limit << "\", \"ms\": " << f.median << ", \"quartiles\": ["
          << f.low << ", " << f.high << "], \"samples\": " << f.samples << "}";
      comma = ",\n";
    }
    out << "\n]}\n";
    if (!out) throw std::runtime_error("cannot write " + path);
  }

 private:
  template <class F>
  cudaGraphExec_t capture(F&& f) const {
    check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "capture");
    f();
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(stream_, &graph), "capture");
    cudaGraphExec_t exec = nullptr;
    check(cudaGraphInstantiate(&exec, graph, 0), "cudaGraphInstantiate");
    check(cudaGraphDestroy(graph), "cudaGraphDestroy");
    return exec;
  }

  double seconds_;  ///< for each figure
  cudaStream_t stream_ = nullptr;
  cudaEvent_t begin_ = nullptr;
  cudaEvent_t end_ = nullptr;
  cudaDeviceProp properties_ = {};
  double calls_ = 1;
  std::vector<figure> figures_;
};

}  // namespace idiolect::bench
