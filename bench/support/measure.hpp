// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// How the benchmarks of whole batches are written: what is timed, in which memory, and under which
// name. A name is operation/scalar/shape/threads, which bench/report reads:
//
//   measure("gradient_in_place", "fp32", s, threads, [](run& r) { ... r.time(prepare, work); });
//
// Benchmarks share their memory, so that a run of all of them in random order (Google Benchmark's
// interleaving) draws the logits once, and every operation meets the same pages.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <iomanip>
#include <map>
#include <set>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <idiolect/core/executor.hpp>
#include <idiolect/core/matrix_view.hpp>
#include <idiolect/core/scalar.hpp>

#include "rows.hpp"

namespace idiolect::bench {

/// Elements of the largest batch: no other may have more.
inline constexpr index_t most_logits = shapes[1].logits();

/// Threads for our own work, kept from benchmark to benchmark.
inline const thread_executor& workers(int threads) {
  static std::map<int, thread_executor> pools;
  return pools.try_emplace(threads, threads).first->second;
}

/// The first rows x V numbers of the Gaussian sequence, stored as T. Drawn when first asked for.
template <class T>
matrix_view<const T> logits(shape s) {
  static std::vector<T> all;
  all.reserve(static_cast<std::size_t>(most_logits));  // so that it never moves
  const auto had = static_cast<index_t>(all.size()), needs = s.logits();
  if (had < needs) {
    all.resize(static_cast<std::size_t>(needs));
    constexpr index_t piece = 1 << 16;
    workers(2).bulk((needs - had + piece - 1) / piece, [&](index_t k) {
      const index_t first = had + k * piece;
      for (index_t i = first; i < std::min(needs, first + piece); ++i) {
        all[static_cast<std::size_t>(i)] = store<T>(gaussian_logit(static_cast<std::uint64_t>(i)));
      }
    });
  }
  return {all.data(), s.rows, s.vocab};
}

/// Memory of that shape to write to, with whatever the last benchmark left there.
template <class T>
matrix_view<T> scratch(shape s) {
  static std::vector<T> memory(static_cast<std::size_t>(most_logits));
  return {memory.data(), s.rows, s.vocab};
}

/// Contiguous pieces of n elements, side by side: f(first, count).
template <class F>
void in_pieces(int threads, index_t n, F&& f) {
  constexpr index_t least = 1 << 16;  // elements: enough to pay for being handed to a thread
  const index_t pieces = std::max<index_t>(threads, n / least);
  workers(threads).bulk(pieces, [&](index_t k) {
    const index_t first = n * k / pieces;
    f(first, n * (k + 1) / pieces - first);
  });
}

/// A fresh copy of the logits, for work that overwrites them.
template <class T>
void refresh(int threads, matrix_view<T> to, matrix_view<const T> from) {
  in_pieces(threads, from.rows() * from.cols(), [&](index_t first, index_t count) {
    std::copy_n(from.data() + first, count, to.data() + first);
  });
}

/// Time that the threads of another library get to fall asleep before ours are timed: OpenMP's go
/// on spinning for some milliseconds after their work. Set where such a library is linked.
inline std::chrono::milliseconds rest_before_timing{0};

/// One benchmark at one shape.
class run {
 public:
  run(benchmark::State& state, std::string name, shape s, int threads)
      : state_(state), name_(std::move(name)), shape_(s), threads_(threads) {}

  [[nodiscard]] shape size() const { return shape_; }
  [[nodiscard]] int threads() const { return threads_; }
  [[nodiscard]] matrix_view<const float> input() const { return logits<float>(shape_); }
  [[nodiscard]] std::vector<token_id> targets() const { return uniform_targets(shape_); }

  /// Runs `test`, which throws at a wrong result, at the first repetition.
  template <class F>
  void check(F&& test) const {
    static std::set<std::string> done;
    if (done.insert(name_).second) test();
  }

  /// Times `work`, without `prepare`, which runs before each.
  template <class Prepare, class Work>
  void time(Prepare&& prepare, Work&& work) {
    using clock = std::chrono::steady_clock;
    std::this_thread::sleep_for(rest_before_timing);
    for (auto _ : state_) {
      prepare();
      const auto start = clock::now();
      work();
      benchmark::ClobberMemory();
      state_.SetIterationTime(std::chrono::duration<double>(clock::now() - start).count());
    }
    state_.counters["logits"] = static_cast<double>(shape_.logits());
  }
  template <class Work>
  void time(Work&& work) {
    time([] {}, std::forward<Work>(work));
  }

 private:
  benchmark::State& state_;
  std::string name_;
  shape shape_;
  int threads_;
};

/// Registers one benchmark.
template <class F>
void measure(const std::string& operation, const std::string& scalar, const std::string& shape_name,
             shape s, int threads, F f) {
  const std::string name =
      operation + '/' + scalar + '/' + shape_name + '/' + std::to_string(threads);
  benchmark::RegisterBenchmark(name.c_str(),
                               [=](benchmark::State& state) {
                                 run r(state, name, s, threads);
                                 f(r);
                               })
      ->UseManualTime()
      ->Unit(benchmark::kMillisecond);
}

/// The same at the four shapes, by one and by two threads.
template <class F>
void measure_shapes(const std::string& operation, const std::string& scalar, F f) {
  for (const auto& s : shapes) {
    for (const int threads : {1, 2}) measure(operation, scalar, s.name, s, threads, f);
  }
}

/// Throws unless |found - expected| <= tolerance * unit.
inline void agree(double found, double expected, double tolerance, double unit, const char* what) {
  if (std::abs(found - expected) <= tolerance * unit) return;
  std::ostringstream text;
  text << std::setprecision(9) << "wrong result: " << what << " is " << found << ", not "
       << expected << " to " << tolerance << " of " << unit;
  throw std::runtime_error(text.str());
}

}  // namespace idiolect::bench
