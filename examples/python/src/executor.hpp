// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// torch's own threads as an executor. Two pools side by side would wait, spinning, for processors
// that the other one holds.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include <unistd.h>

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/headeronly/util/shim_utils.h>

#include <idiolect/core/executor.hpp>

// Of the stable interface since torch 2.10. Weak: they are null where a 2.9 is loaded.
extern "C" {
__attribute__((weak)) AOTITorchError torch_parallel_for(
    std::int64_t begin, std::int64_t end, std::int64_t grain_size,
    void (*f)(std::int64_t, std::int64_t, void*), void* context);
__attribute__((weak)) AOTITorchError torch_get_num_threads(std::uint32_t* threads);
}

namespace idiolect_torch {

using idiolect::index_t;

/// torch.get_num_threads() where libtorch says it, or the machine's.
[[nodiscard]] inline int torch_threads() {
  std::uint32_t threads = 0;
  if (torch_get_num_threads != nullptr && torch_get_num_threads(&threads) == TORCH_SUCCESS) {
    return std::max(1, static_cast<int>(threads));
  }
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

/// The library's pool of so many threads, for torch 2.9. Pools are kept, and never ended: when a
/// process exits its libraries may be gone before its threads. A forked process has no threads but
/// its own, and gets new pools.
[[nodiscard]] inline idiolect::thread_executor pool_of(int threads) {
  static std::mutex mutex;
  static auto& pools = *new std::map<std::pair<pid_t, int>, idiolect::thread_executor>;
  const std::scoped_lock lock(mutex);
  const auto key = std::pair(getpid(), threads);
  auto found = pools.find(key);
  if (found == pools.end()) found = pools.emplace(key, idiolect::thread_executor(threads)).first;
  return found->second;
}

/// Runs on at most `threads` of torch's threads, the calling one included.
struct torch_executor {
  int threads = 1;

  [[nodiscard]] int concurrency() const { return threads; }

  template <class F>
  void bulk(index_t n, F&& f) const {
    if (threads <= 1 || n <= 1) return idiolect::serial_executor{}.bulk(n, f);
    if (torch_parallel_for == nullptr) return pool_of(threads).bulk(n, f);

    // torch cuts ranges into equal parts beforehand: each part takes items until none is left.
    std::atomic<index_t> next = 0;
    std::exception_ptr failure;
    std::mutex mutex;
    auto take = [&] {
      for (index_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < n;) {
        if (std::exception_ptr caught = idiolect::detail::attempt(f, i)) {
          const std::scoped_lock lock(mutex);
          if (!failure) failure = caught;
          next.store(n, std::memory_order_relaxed);
        }
      }
    };
    using taker = decltype(take);
    const auto run = [](std::int64_t, std::int64_t, void* context) {
      (*static_cast<taker*>(context))();
    };
    const auto code =
        torch_parallel_for(0, std::min<index_t>(threads, n), 1, run, static_cast<void*>(&take));
    if (failure) std::rethrow_exception(failure);
    idiolect::require<idiolect::backend_error>(code == TORCH_SUCCESS, "torch",
                                               "its parallel_for failed");
  }
};
static_assert(idiolect::executor<torch_executor>);

}  // namespace idiolect_torch
