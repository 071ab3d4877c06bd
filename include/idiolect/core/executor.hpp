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
#include <chrono>
#include <concepts>
#include <condition_variable>
#include <cstddef>
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

namespace detail {
/// Tells the processor that this thread only waits for another.
inline void pause() {
#if defined(__i386__) || defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__) && defined(__GNUC__)
  asm volatile("yield");
#endif
}
}  // namespace detail

/// A pool of std::threads, shared by copies. The calling thread works too. A call while another is
/// under way, nested or from another thread, runs serially in its caller: nobody ever waits for
/// somebody else's work.
///
/// A thread that waits, for the next call or for the last items of this one, looks for it for up to
/// `spin` before it sleeps, and lets others have the processor meanwhile: a sleeping thread takes
/// longer to wake than half a row of 150k logits takes to fold, and calls often follow one another.
/// So a pool without work costs each of its threads at most `spin` after a call, and nothing then.
class thread_executor {
 public:
  using duration = std::chrono::nanoseconds;

  /// `threads` in all, the caller's included; 0 means std::thread::hardware_concurrency(). Spins for
  /// 50 us, or not at all with more threads than processors.
  explicit thread_executor(int threads = 0);
  thread_executor(int threads, duration spin);

  [[nodiscard]] int concurrency() const noexcept;

  template <class F>
  void bulk(index_t n, F&& f) const;

 private:
  static int processors() { return std::max(1, static_cast<int>(std::thread::hardware_concurrency())); }

  class pool;
  std::shared_ptr<pool> pool_;
};

/// One call at a time: the caller opens it, threads enter, items are taken by number, whoever finds
/// none left closes it, and the caller returns when the last thread has left.
class thread_executor::pool {
 public:
  pool(int threads, duration spin) : spin_(spin) {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
  }
  pool(const pool&) = delete;
  pool& operator=(const pool&) = delete;
  ~pool() {
    announce(stopping);
    for (auto& worker : workers_) worker.join();
  }

  [[nodiscard]] int concurrency() const noexcept { return static_cast<int>(workers_.size()) + 1; }

  void bulk(index_t n, const std::function<void(index_t)>& f) {
    if (workers_.empty() || n <= 1 || busy_.test_and_set(std::memory_order_acquire)) {
      for (index_t i = 0; i < n; ++i) f(i);
      return;
    }
    task_ = &f;
    end_ = n;
    next_.store(0, std::memory_order_relaxed);
    announce(open);
    drain();
    const auto done = [this] { return state_.load(std::memory_order_acquire) == 0; };
    if (!spin_until(done)) {
      std::unique_lock lock(mutex_);
      done_.wait(lock, done);
    }
    const std::exception_ptr failure = std::exchange(failure_, nullptr);
    busy_.clear(std::memory_order_release);
    if (failure) std::rethrow_exception(failure);
  }

 private:
  // The state: a flag, and how many workers have entered.
  static constexpr unsigned open = 1u << 31;      // items may be left
  static constexpr unsigned stopping = 1u << 30;  // the pool ends

  // A worker either sees the new state before it sleeps, or is counted as sleeping here.
  void announce(unsigned state) {
    state_.store(state);
    if (sleeping_.load() == 0) return;
    { const std::scoped_lock lock(mutex_); }  // who is counted is asleep now
    wake_.notify_all();
  }

  void work() {
    const auto called = [this] { return (state_.load() & (open | stopping)) != 0; };
    for (;;) {
      if (!spin_until(called)) {
        std::unique_lock lock(mutex_);
        ++sleeping_;
        wake_.wait(lock, called);
        --sleeping_;
      }
      unsigned state = state_.load();
      if (state == stopping) return;
      while ((state & open) != 0 && !state_.compare_exchange_weak(state, state + 1)) {
      }
      if ((state & open) == 0) continue;  // too late
      drain();
      if (state_.fetch_sub(1) == 1) {  // the last
        { const std::scoped_lock lock(mutex_); }
        done_.notify_one();
      }
    }
  }

  // Takes items until none is left, and closes the call.
  void drain() {
    for (index_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < end_;) {
      if (std::exception_ptr failure = detail::attempt(*task_, i)) {
        const std::scoped_lock lock(mutex_);
        if (!failure_) failure_ = failure;
        next_.store(end_, std::memory_order_relaxed);
      }
    }
    state_.fetch_and(~open);
  }

  template <class Ready>
  [[nodiscard]] bool spin_until(const Ready& ready) const {
    using clock = std::chrono::steady_clock;
    if (spin_ == duration::zero()) return ready();
    for (const auto end = clock::now() + spin_; clock::now() < end; std::this_thread::yield()) {
      for (int i = 0; i < 16; ++i, detail::pause()) {
        if (ready()) return true;
      }
    }
    return false;
  }

  static constexpr std::size_t apart = 64;  // of other cache lines
  alignas(apart) std::atomic<unsigned> state_ = 0;
  alignas(apart) std::atomic<index_t> next_ = 0;  // the first item that nobody took
  alignas(apart) const std::function<void(index_t)>* task_ = nullptr;
  index_t end_ = 0;
  const duration spin_;
  std::exception_ptr failure_;
  std::atomic_flag busy_;  // a call is under way
  std::atomic<int> sleeping_ = 0;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable done_;
  std::vector<std::thread> workers_;  // last: started when everything above exists
};

inline thread_executor::thread_executor(int threads)
    : thread_executor(threads, threads > processors() ? duration(0) : std::chrono::microseconds(50)) {}

inline thread_executor::thread_executor(int threads, duration spin)
    : pool_(std::make_shared<pool>(threads > 0 ? threads : processors(), spin)) {}

inline int thread_executor::concurrency() const noexcept { return pool_->concurrency(); }

template <class F>
void thread_executor::bulk(index_t n, F&& f) const {
  pool_->bulk(n, [&f](index_t i) { f(i); });
}

}  // namespace idiolect
