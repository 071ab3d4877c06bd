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
#include <exception>
#include <memory>
#include <utility>

#if defined(_OPENMP)
#include <omp.h>
#endif

#include <idiolect/core/bounds.hpp>
#include <idiolect/core/error.hpp>
#include <idiolect/core/processors.hpp>
#include <idiolect/core/thread_pool.hpp>
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
/// How many calls of f may run at once; a guess where the executor does not say.
template <executor E>
[[nodiscard]] index_t concurrency_of(const E& e) {
  if constexpr (requires { { e.concurrency() } -> std::convertible_to<index_t>; }) {
    return (std::max<index_t>)(1, e.concurrency());
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

  [[nodiscard]] int concurrency() const {
    check();
    return threads > 0 ? threads : omp_get_max_threads();
  }

  template <class F>
  void bulk(index_t n, F&& f) const {
    check();
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

 private:
  void check() const { detail::require_count(0, 8192, threads, "openmp_executor::threads"); }
};
#endif

namespace detail {
/// Calls f(first, end) for pieces that cover [0, n): one piece alone, a few for each of many threads,
/// so that a thread which is held up does not hold up the rest.
template <executor E, class F>
void for_pieces(const E& e, index_t n, F&& f) {
  const index_t threads = concurrency_of(e);
  const index_t pieces = threads == 1 ? (std::min<index_t>)(n, 1) : (std::min)(n, 8 * threads);
  e.bulk(pieces, [&](index_t k) { f(n * k / pieces, n * (k + 1) / pieces); });
}
}  // namespace detail

namespace detail {
/// A thread that spins where it has no processor takes one from those that work.
[[nodiscard]] inline std::chrono::nanoseconds usual_spin(int threads) {
  return threads > allowed_processors() ? std::chrono::nanoseconds(0) : std::chrono::microseconds(50);
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
///
/// A process may fork while it has pools: the child may end at any time, and where it uses one it
/// gets threads of its own.
class thread_executor {
 public:
  using duration = std::chrono::nanoseconds;

  /// The most threads that a pool may have: as many as Linux runs on.
  static constexpr int most = 8192;

  /// `threads` in all, the caller's included; 0: as many as this process may run at once, by its
  /// affinity mask and its control groups' quota. Spins for 50 us, or not at all with more threads
  /// than those. Raises shape_error for a number that is negative or above `most`, and backend_error
  /// where the system gives fewer.
  explicit thread_executor(int threads = 0) : thread_executor(threads, detail::usual_spin(threads)) {}
  /// Spins for up to a second.
  thread_executor(int threads, duration spin);

  [[nodiscard]] int concurrency() const noexcept { return shared_->threads; }

  template <class F>
  void bulk(index_t n, F&& f) const {
    shared_->threads_here().bulk(n, [&f](index_t i) { f(i); });
  }

 private:
  // What copies share: the pool of this process. A child of the process that made it has none of its
  // threads: it makes a pool of its own when it first needs one, and leaves the other as it is.
  struct shared {
    const int threads;
    const duration spin;
    std::atomic<detail::thread_pool*> pool;

    shared(int n, duration time) : threads(n), spin(time), pool(new detail::thread_pool(n, time)) {}
    shared(const shared&) = delete;
    shared& operator=(const shared&) = delete;
    ~shared() {
      detail::thread_pool* const last = pool.load();
      if (last->process() == detail::this_process()) delete last;
    }
    detail::thread_pool& threads_here();
  };
  std::shared_ptr<shared> shared_;
};

inline thread_executor::thread_executor(int threads, duration spin) {
  detail::require_count(0, most, threads, "thread_executor::threads");
  require(spin >= duration::zero() && spin <= std::chrono::seconds(1), "thread_executor::spin",
          "must be from 0 to 1 s");
  shared_ = std::make_shared<shared>(threads > 0 ? threads : detail::allowed_processors(), spin);
}

inline detail::thread_pool& thread_executor::shared::threads_here() {
  detail::thread_pool* found = pool.load(std::memory_order_acquire);
  if (found->process() == detail::this_process()) [[likely]] return *found;
  auto own = std::make_unique<detail::thread_pool>(threads, spin);
  // Of several threads of the child that come here at once, one is the first.
  if (pool.compare_exchange_strong(found, own.get())) return *own.release();
  return *found;
}

}  // namespace idiolect
