// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Executors: every index exactly once, whoever runs it; failures reach the caller; one pool serves
// nested calls and many callers.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <idiolect/core/executor.hpp>

#include "support/catch.hpp"

namespace idiolect::test {
namespace {

/// Whether `bulk` calls each of 0 ... n - 1 exactly once, for several n.
template <executor E>
bool visits_each_once(const E& e) {
  for (const index_t n : {0, 1, 2, 3, 7, 64, 1000}) {
    std::vector<std::atomic<int>> visits(static_cast<std::size_t>(n));
    std::vector<index_t> plain(static_cast<std::size_t>(n), -1);  // requirement (2): visible after
    std::atomic<bool> outside = false;
    e.bulk(n, [&](index_t i) {
      if (i < 0 || i >= n) {
        outside = true;
        return;
      }
      ++visits[static_cast<std::size_t>(i)];
      plain[static_cast<std::size_t>(i)] = i;
    });
    if (outside) return false;
    for (index_t i = 0; i < n; ++i) {
      const auto k = static_cast<std::size_t>(i);
      if (visits[k] != 1 || plain[k] != i) return false;
    }
  }
  return true;
}

struct not_copyable {
  not_copyable() = default;
  not_copyable(const not_copyable&) = delete;
  void bulk(index_t, void (*)(index_t)) const {}
};
struct not_const {
  void bulk(index_t, void (*)(index_t)) {}
};

}  // namespace

TEST_CASE("what is an executor and what is not") {
  STATIC_REQUIRE(executor<serial_executor>);
  STATIC_REQUIRE(executor<thread_executor>);
  const auto run = [](index_t n, auto&& f) {
    for (index_t i = 0; i < n; ++i) f(i);
  };
  STATIC_REQUIRE(executor<executor_from<decltype(run)>>);
  STATIC_REQUIRE_FALSE(executor<int>);
  STATIC_REQUIRE_FALSE(executor<not_const>);     // requirement (1)
  STATIC_REQUIRE_FALSE(executor<not_copyable>);  // requirement (4)
}

TEST_CASE("each index is visited exactly once") {
  CHECK(visits_each_once(serial_executor{}));
  for (const int threads : {0, 1, 2, 3, 8}) {
    INFO(threads << " threads");
    CHECK(visits_each_once(thread_executor(threads)));
  }
  CHECK(visits_each_once(executor_from{[](index_t n, auto&& f) {
    for (index_t i = n; i-- > 0;) f(i);
  }}));
  CHECK(visits_each_once(executor_from{[](index_t n, const auto& f) {
    std::vector<std::thread> threads;
    for (int k = 0; k < 3; ++k) {
      threads.emplace_back([&f, n, k] {
        for (index_t i = k; i < n; i += 3) f(i);
      });
    }
    for (auto& t : threads) t.join();
  }}));
}

#if defined(_OPENMP)
TEST_CASE("OpenMP visits each index exactly once") {
  STATIC_REQUIRE(executor<openmp_executor>);
  CHECK(visits_each_once(openmp_executor{}));
  CHECK(visits_each_once(openmp_executor{.threads = 3}));
}

TEST_CASE("OpenMP hands an exception to the caller") {
  CHECK_THROWS_AS(openmp_executor{.threads = 3}.bulk(
                      100, [](index_t i) { if (i == 37) throw std::out_of_range("37"); }),
                  std::out_of_range);
}
#endif

TEST_CASE("the serial executor goes in order") {
  std::vector<index_t> order;
  serial_executor{}.bulk(5, [&](index_t i) { order.push_back(i); });
  CHECK(order == std::vector<index_t>{0, 1, 2, 3, 4});
}

TEST_CASE("threads that wait awake, asleep or on the point of falling asleep miss no call") {
  using std::chrono::microseconds;
  constexpr microseconds spin(50);
  for (const auto waits : {microseconds(0), spin, microseconds(1'000'000)}) {
    for (const int threads : {2, 3, 8}) {
      const thread_executor pool(threads, waits);
      std::atomic<int> calls = 0;
      for (int round = 0; round < 300; ++round) {
        // Items that need two threads at once: a call that nobody hears never returns.
        std::atomic<int> arrived = 0;
        pool.bulk(2, [&](index_t) {
          ++arrived;
          while (arrived < 2) std::this_thread::yield();
          ++calls;
        });
        if (round % 3 == 0) std::this_thread::sleep_for(spin);
        if (round % 3 == 1) {
          const auto end = std::chrono::steady_clock::now() + microseconds(round);
          while (std::chrono::steady_clock::now() < end) continue;
        }
      }
      CHECK(calls == 600);
      CHECK(visits_each_once(pool));
    }
  }
}

TEST_CASE("a pool counts the caller and always has one thread") {
  CHECK(thread_executor(1).concurrency() == 1);
  CHECK(thread_executor(5).concurrency() == 5);
  CHECK(thread_executor(0).concurrency() >= 1);
  CHECK(thread_executor(0).concurrency() == detail::allowed_processors());
}

TEST_CASE("a pool really uses its threads") {
  // Three items that wait for each other: they return only if three threads run them.
  const thread_executor pool(3);
  std::atomic<int> arrived = 0;
  pool.bulk(3, [&](index_t) {
    ++arrived;
    while (arrived < 3) std::this_thread::yield();
  });
  CHECK(arrived == 3);
}

TEST_CASE("a failure reaches the caller and the pool lives on") {
  for (const int threads : {1, 2, 8}) {
    const thread_executor pool(threads);
    for (int round = 0; round < 50; ++round) {
      std::string caught;
      try {
        pool.bulk(100, [&](index_t i) {
          if (i == 37) throw std::runtime_error("item 37");
        });
      } catch (const std::runtime_error& e) {
        caught = e.what();
      }
      if (caught != "item 37") FAIL("caught '" << caught << "'");
    }
    CHECK(visits_each_once(pool));
  }
  CHECK_THROWS_AS(thread_executor(4).bulk(64, [](index_t) { throw std::logic_error("all"); }),
                  std::logic_error);
  CHECK_THROWS_AS(serial_executor{}.bulk(1, [](index_t) { throw 1; }), int);
}

TEST_CASE("a nested call runs in its caller") {
  const thread_executor pool(4);
  std::vector<std::atomic<int>> visits(20 * 30);
  std::atomic<int> moved = 0;
  pool.bulk(20, [&](index_t i) {
    const auto self = std::this_thread::get_id();
    pool.bulk(30, [&, i](index_t j) {
      moved += std::this_thread::get_id() != self;
      ++visits[static_cast<std::size_t>(i * 30 + j)];
    });
  });
  CHECK(moved == 0);
  CHECK(std::ranges::all_of(visits, [](const auto& v) { return v == 1; }));

  std::atomic<int> others = 0;  // another pool inside: its own threads
  const thread_executor other(3);
  pool.bulk(8, [&](index_t) { other.bulk(16, [&](index_t) { ++others; }); });
  CHECK(others == 8 * 16);
  // Crosswise, from two sides at once: nobody waits for the other.
  std::thread reverse([&] {
    for (int round = 0; round < 50; ++round) {
      other.bulk(
          4, [&](index_t) { pool.bulk(4, [&](index_t) { other.bulk(2, [&](index_t) { ++others; }); }); });
    }
  });
  for (int round = 0; round < 50; ++round) {
    pool.bulk(
        4, [&](index_t) { other.bulk(4, [&](index_t) { pool.bulk(2, [&](index_t) { ++others; }); }); });
  }
  reverse.join();
  CHECK(others == 8 * 16 + 2 * 50 * 4 * 4 * 2);
  // The failure of a nested call passes through both.
  CHECK_THROWS_AS(
      pool.bulk(4, [&](index_t) { pool.bulk(4, [](index_t) { throw std::runtime_error("inner"); }); }),
      std::runtime_error);
}

TEST_CASE("many threads call one pool") {
  const thread_executor pool(3);
  constexpr int callers = 6, rounds = 100, items = 17;
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int c = 0; c < callers; ++c) {
    threads.emplace_back([&, copy = pool, c] {  // a copy means the same workers
      for (int round = 0; round < rounds; ++round) {
        std::vector<int> mine(items, 0);
        copy.bulk(items, [&](index_t i) {
          std::this_thread::yield();  // let the others in between
          mine[static_cast<std::size_t>(i)] += c + 1;
        });
        wrong += std::accumulate(mine.begin(), mine.end(), 0) != items * (c + 1);
      }
    });
  }
  for (auto& t : threads) t.join();
  CHECK(wrong == 0);
}

TEST_CASE("pools start and stop") {
  std::atomic<int> sum = 0;
  for (int i = 0; i < 200; ++i) {
    thread_executor pool(1 + i % 4);
    if (i % 3 != 0) pool.bulk(i % 5, [&](index_t) { ++sum; });
  }
  int expected = 0;
  for (int i = 0; i < 200; ++i) expected += i % 3 != 0 ? i % 5 : 0;
  CHECK(sum == expected);
}

}  // namespace idiolect::test
