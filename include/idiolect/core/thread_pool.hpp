// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The threads behind thread_executor, of one process.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

#include <idiolect/core/error.hpp>
#include <idiolect/core/types.hpp>

namespace idiolect::detail {

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

/// A number of this process that a child of it does not have; where processes do not fork, 0.
[[nodiscard]] inline long this_process() noexcept {
#if defined(__unix__) || defined(__APPLE__)
  return static_cast<long>(::getpid());
#else
  return 0;
#endif
}

/// Tells the processor that this thread only waits for another.
inline void pause() {
#if defined(__i386__) || defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__) && defined(__GNUC__)
  asm volatile("yield");
#endif
}

/// One call at a time: the caller opens it, threads enter, items are taken by number, whoever finds
/// none left closes it, and the caller returns when the last thread has left.
class thread_pool {
 public:
  using duration = std::chrono::nanoseconds;

  /// Raises backend_error where the system does not give all of the threads; those that it gave have
  /// ended by then.
  thread_pool(int threads, duration spin) : spin_(spin) {
#if defined(__cpp_exceptions)
    try {
      start(threads);
    } catch (const std::exception& e) {
      const std::string found = std::to_string(workers_.size() + 1);
      stop();
      raise(backend_error("threads", "the system gives " + found + " of the " +
                                         std::to_string(threads) + " asked for: " + e.what()));
    }
#else
    start(threads);
#endif
  }
  thread_pool(const thread_pool&) = delete;
  thread_pool& operator=(const thread_pool&) = delete;
  /// Not in a child of the process that made it: its threads do not exist there, and what waits for
  /// them would wait for ever.
  ~thread_pool() { stop(); }

  /// The process that has the threads.
  [[nodiscard]] long process() const noexcept { return process_; }

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

  void start(int threads) {
    workers_.reserve(static_cast<std::size_t>(threads));
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
  }
  void stop() noexcept {
    announce(stopping);
    for (auto& worker : workers_) worker.join();
    workers_.clear();
  }

  // A worker either sees the new state before it sleeps, or is counted as sleeping here.
  void announce(unsigned state) noexcept {
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
      if (std::exception_ptr failure = attempt(*task_, i)) {
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
      for (int i = 0; i < 16; ++i, pause()) {
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
  const long process_ = this_process();
  std::exception_ptr failure_;
  std::atomic_flag busy_;  // a call is under way
  std::atomic<int> sleeping_ = 0;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable done_;
  std::vector<std::thread> workers_;  // last: started when everything above exists
};

}  // namespace idiolect::detail
