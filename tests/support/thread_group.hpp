// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A row group of std::threads: what a device's kernel does with a row, run on the host, where the
// sanitizers see it. `run_group(n, f)` calls f(group) on n threads.

#include <barrier>
#include <cstddef>
#include <cstring>
#include <thread>
#include <type_traits>
#include <vector>

#include <idiolect/backend/cuda/row_group.hpp>

namespace idiolect::test {

/// One thread's handle of a group.
class thread_group {
 public:
  struct shared {
    explicit shared(int n) : size(n), barrier(n), slots(static_cast<std::size_t>(n)) {}
    struct alignas(16) slot {
      unsigned char bytes[256];
    };
    int size;
    std::barrier<> barrier;
    std::vector<slot> slots;
  };

  thread_group(shared& s, int rank) : shared_(&s), rank_(rank) {}

  [[nodiscard]] int rank() const { return rank_; }
  [[nodiscard]] int size() const { return shared_->size; }
  void sync() const { shared_->barrier.arrive_and_wait(); }

  template <class T, class Op>
  [[nodiscard]] T all_reduce(T x, Op&& op) const {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= sizeof(shared::slot::bytes));
    std::memcpy(shared_->slots[static_cast<std::size_t>(rank_)].bytes, &x, sizeof(T));
    sync();
    T all = x;
    for (int k = 0; k < size(); ++k) {
      T other = x;
      std::memcpy(&other, shared_->slots[static_cast<std::size_t>(k)].bytes, sizeof(T));
      all = k == 0 ? other : op(all, other);
    }
    sync();
    return all;
  }

  template <class F>
  [[nodiscard]] auto broadcast(F&& f) const {
    using value = decltype(f());
    static_assert(std::is_trivially_copyable_v<value> &&
                  sizeof(value) <= sizeof(shared::slot::bytes));
    unsigned char* const slot = shared_->slots[0].bytes;
    if (rank_ == 0) {
      const value x = f();
      std::memcpy(slot, &x, sizeof x);
    }
    sync();
    value x;
    std::memcpy(static_cast<void*>(&x), slot, sizeof x);
    sync();
    return x;
  }

 private:
  shared* shared_;
  int rank_;
};

template <class F>
void run_group(int threads, F&& f) {
  thread_group::shared shared(threads);
  std::vector<std::jthread> pool;
  for (int k = 1; k < threads; ++k) pool.emplace_back([&, k] { f(thread_group(shared, k)); });
  f(thread_group(shared, 0));
}

}  // namespace idiolect::test
