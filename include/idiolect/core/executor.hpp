// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Who runs independent pieces of work. An executor has one operation:
//
//   bulk(n, f)   calls f(0), ..., f(n - 1), each exactly once, in any order and possibly at once,
//                and returns when all have returned
//
// The library cuts its work the same way for every executor and merges in a fixed order, so the
// choice changes the time and never the bits of a result.

#include <algorithm>
#include <atomic>
#include <concepts>
#include <condition_variable>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#if defined(_OPENMP)
#include <omp.h>
#endif

#include <idiolect/core/types.hpp>

namespace idiolect {

/// Requirements: (1) `e.bulk(n, f)` as above, callable on a const executor; (2) the writes of every
/// f(i) are visible when it returns; (3) an exception from some f(i) reaches the caller, or the
/// program is built without exceptions; (4) copies are cheap and mean the same workers. Optional:
/// (5) `e.concurrency()`, how many calls may run at once; the cut of the work follows it, the bits
/// of the result do not.
template <class E>
concept executor = std::copy_constructible<E> && requires(const E& e, index_t n, void (*f)(index_t)) {
  e.bulk(n, f);
};

namespace detail {
/// f(i), and what it threw.
template <class F>
std::exception_ptr attempt(F& f, index_t i) {
#if defined(__cpp_exceptions)
  try {
    f(i);
  } catch (...) {
    return std::current_exception();
  }
#else
  f(i);
#endif
  return nullptr;
}
}  // namespace detail

namespace detail {
/// How many calls of f may run at once; a guess where the executor does not say.
template <executor E>
[[nodiscard]] index_t concurrency_of(const E& e) {
  if constexpr (requires { { e.concurrency() } -> std::convertible_to<index_t>; }) {
    return std::max<index_t>(1, e.concurrency());
  } else {
    return 16;
  }
}
}  // namespace detail

/// The calling thread, in order.
struct serial_executor {
  static constexpr int concurrency() noexcept { return 1; }

  template <class F>
  void bulk(index_t n, F&& f) const {
    for (index_t i = 0; i < n; ++i) f(i);
  }
};

/// Any callable `g(n, f)` as an executor: the host's own thread pool in one line.
template <class Bulk>
struct executor_from {
  Bulk run;

  template <class F>
  void bulk(index_t n, F&& f) const {
    run(n, std::forward<F>(f));
  }
};
template <class Bulk>
executor_from(Bulk) -> executor_from<Bulk>;

#if defined(_OPENMP)
/// OpenMP's threads; present where the embedder compiles with OpenMP.
struct openmp_executor {
  int threads = 0;  ///< 0: OpenMP's own choice

  [[nodiscard]] int concurrency() const { return threads > 0 ? threads : omp_get_max_threads(); }

  template <class F>
  void bulk(index_t n, F&& f) const {
    std::exception_ptr failure;
    const auto run = [&](index_t i) {  // an exception must not leave the parallel region
      if (std::exception_ptr caught = detail::attempt(f, i)) {
#pragma omp critical(idiolect_openmp_executor)
        if (!failure) failure = caught;
      }
    };
    if (threads > 0) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
      for (index_t i = 0; i < n; ++i) run(i);
    } else {
#pragma omp parallel for schedule(dynamic, 1)
      for (index_t i = 0; i < n; ++i) run(i);
    }
    if (failure) std::rethrow_exception(failure);
  }
};
#endif

namespace detail {
/// Calls f(first, end) for pieces that cover [0, n): one piece alone, a few for each of many threads,
/// so that a thread which is held up does not hold up the rest.
template <executor E, class F>
void for_pieces(const E& e, index_t n, F&& f) {
  const index_t threads = concurrency_of(e);
  const index_t pieces = threads == 1 ? std::min<index_t>(n, 1) : std::min(n, 8 * threads);
  e.bulk(pieces, [&](index_t k) { f(n * k / pieces, n * (k + 1) / pieces); });
}
}  // namespace detail

/// A pool of std::threads, shared by copies. The calling thread works too. A call while another is
/// under way, nested or from another thread, runs serially in its caller: nobody ever waits for
/// somebody else's work.
class thread_executor {
 public:
  /// `threads` in all, the caller's included; 0 means std::thread::hardware_concurrency().
  explicit thread_executor(int threads = 0);

  [[nodiscard]] int concurrency() const noexcept;

  template <class F>
  void bulk(index_t n, F&& f) const;

 private:
  class pool;
  std::shared_ptr<pool> pool_;
};

class thread_executor::pool {
 public:
  explicit pool(int threads) {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
  }
  pool(const pool&) = delete;
  pool& operator=(const pool&) = delete;
  ~pool() {
    {
      const std::scoped_lock lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (auto& worker : workers_) worker.join();
  }

  [[nodiscard]] int concurrency() const noexcept { return static_cast<int>(workers_.size()) + 1; }

  void bulk(index_t n, const std::function<void(index_t)>& f) {
    if (workers_.empty() || n <= 1 || busy_.test_and_set(std::memory_order_acquire)) {
      for (index_t i = 0; i < n; ++i) f(i);
      return;
    }
    std::unique_lock lock(mutex_);
    task_ = &f;
    next_ = 0;
    end_ = n;
    failure_ = nullptr;
    wake_.notify_all();
    drain(lock);
    done_.wait(lock, [this] { return running_ == 0; });
    task_ = nullptr;
    const std::exception_ptr failure = std::exchange(failure_, nullptr);
    lock.unlock();
    busy_.clear(std::memory_order_release);
    if (failure) std::rethrow_exception(failure);
  }

 private:
  // Takes items until none is left; `lock` is held on entry and on return.
  void drain(std::unique_lock<std::mutex>& lock) {
    while (next_ < end_) {
      const index_t i = next_++;
      const auto* const task = task_;
      ++running_;
      lock.unlock();
      std::exception_ptr failure = detail::attempt(*task, i);
      lock.lock();
      if (failure) {
        if (!failure_) failure_ = failure;
        next_ = end_;
      }
      --running_;
    }
    if (running_ == 0) done_.notify_all();
  }

  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return stopping_ || next_ < end_; });
      if (stopping_) return;
      drain(lock);
    }
  }

  std::atomic_flag busy_;  // a bulk is under way
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable done_;
  const std::function<void(index_t)>* task_ = nullptr;
  index_t next_ = 0;
  index_t end_ = 0;
  index_t running_ = 0;
  std::exception_ptr failure_;
  bool stopping_ = false;
  std::vector<std::thread> workers_;  // last: started when everything above exists
};

inline thread_executor::thread_executor(int threads)
    : pool_(std::make_shared<pool>(
          threads > 0 ? threads
                      : std::max(1, static_cast<int>(std::thread::hardware_concurrency())))) {}

inline int thread_executor::concurrency() const noexcept { return pool_->concurrency(); }

template <class F>
void thread_executor::bulk(index_t n, F&& f) const {
  pool_->bulk(n, [&f](index_t i) { f(i); });
}

}  // namespace idiolect
