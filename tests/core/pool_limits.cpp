// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Pools and the system around them: counts that make no sense, threads that cannot be started,
// forks, masks and quotas.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <thread>

#include <idiolect/core/executor.hpp>
#include <idiolect/core/processors.hpp>

#include "support/catch.hpp"
#include "support/tolerance.hpp"

#if defined(__linux__)
#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <csignal>
#endif

namespace idiolect::test {

TEST_CASE("a number of threads has bounds") {
  for (const int bad : {-1, std::numeric_limits<int>::min(), thread_executor::most + 1}) {
    CHECK(raised<shape_error>([&] { (void)thread_executor(bad); }).argument() ==
          "thread_executor::threads");
  }
  using std::chrono::seconds;
  for (const seconds bad : {seconds(-1), seconds(2)}) {
    CHECK(raised<shape_error>([&] { (void)thread_executor(2, bad); }).argument() ==
          "thread_executor::spin");
  }
#if defined(_OPENMP)
  CHECK(raised<shape_error>([] { openmp_executor{-2}.bulk(3, [](index_t) {}); }).argument() ==
        "openmp_executor::threads");
#endif
}

TEST_CASE("quotas of control groups, of both versions, cut the number of processors") {
  namespace fs = std::filesystem;
  const fs::path root =
      fs::temp_directory_path() / ("idiolect_groups_" + std::to_string(detail::this_process()));
  const auto write = [&](const std::string& name, const std::string& text) {
    fs::create_directories((root / name).parent_path());
    std::ofstream(root / name) << text;
  };
  const auto count = [&] { return detail::processors_of_groups(64, root.string()); };
  CHECK(count() == 64);  // no such files

  write("proc/self/cgroup", "0::/pod/job\n");
  write("sys/fs/cgroup/pod/job/cpu.max", "max 100000\n");
  CHECK(count() == 64);
  write("sys/fs/cgroup/pod/cpu.max", "250000 100000\n");  // of a group above
  CHECK(count() == 2);
  write("sys/fs/cgroup/pod/job/cpu.max", "50000 100000\n");
  CHECK(count() == 1);
  write("sys/fs/cgroup/pod/job/cpu.max", "99900000 100000\n");
  CHECK(count() == 2);

  // Version 1, whose group is shown by the host's name and mounted at the root, as in a container.
  write("proc/self/cgroup", "3:cpuset:/\n2:cpu,cpuacct:/docker/0123\n1:memory:/docker/0123\n");
  write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
  write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  CHECK(count() == 64);
  write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "400000\n");
  CHECK(count() == 4);
  write("proc/self/cgroup", "nonsense\n0::no slash\n:::\n");
  CHECK(count() == 64);
  fs::remove_all(root);
}

#if defined(__linux__)

namespace {

/// How a child that runs `f` ends: f's result, or -1 if it hangs for ten seconds or dies.
int exit_of_child(const std::function<int()>& f) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) ::_exit(f());
  for (int k = 0; k < 1000; ++k) {
    int status = 0;
    if (waitpid(child, &status, WNOHANG) == child) {
      return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  return -1;
}

}  // namespace

TEST_CASE("a mask of one processor gives a pool of one thread") {
  int allowed = 0;
  std::thread([&] {  // the mask is the thread's
    cpu_set_t mask;
    REQUIRE(sched_getaffinity(0, sizeof mask, &mask) == 0);
    std::size_t first = 0;
    while (!CPU_ISSET(first, &mask)) ++first;
    CPU_ZERO(&mask);
    CPU_SET(first, &mask);
    REQUIRE(sched_setaffinity(0, sizeof mask, &mask) == 0);
    allowed = detail::allowed_processors();
  })
      .join();
  CHECK(allowed == 1);
}

TEST_CASE("a child of a process with pools ends, and may use them") {
  for (const auto spin : {std::chrono::microseconds(0), std::chrono::microseconds(50)}) {
    std::optional<thread_executor> pool(std::in_place, 4, spin);
    pool->bulk(100, [](index_t) {});
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // asleep, most of them
    const auto end = [&] {
      pool.reset();
      return 7;
    };
    CHECK(exit_of_child(end) == 7);
    CHECK(pool->concurrency() == 4);
#if !defined(__SANITIZE_THREAD__)  // which ends a child that starts threads
    CHECK(exit_of_child([&] {
            std::atomic<int> arrived = 0;
            pool->bulk(3, [&](index_t) {  // returns only if three threads run it
              ++arrived;
              while (arrived < 3) std::this_thread::yield();
            });
            return end();
          }) == 7);
    // From within a call, while the others are at work.
    std::atomic<int> ended = -2;
    pool->bulk(4, [&](index_t i) {
      if (i == 2)
        ended = exit_of_child([&] {
          std::atomic<int> sum = 0;
          pool->bulk(100, [&](index_t) { ++sum; });
          return sum == 100 ? 7 : 1;
        });
    });
    CHECK(ended == 7);
#endif
    std::atomic<int> sum = 0;
    pool->bulk(100, [&](index_t) { ++sum; });  // here nothing has changed
    CHECK(sum == 100);
  }
}

#if !defined(IDIOLECT_TEST_SANITIZED)  // whose memory is larger than any limit
TEST_CASE("a thread that cannot be started is an error, and the others end") {
  const int ended = exit_of_child([] {
    long pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    const auto bytes = static_cast<rlim_t>(pages) * static_cast<rlim_t>(sysconf(_SC_PAGESIZE));
    const rlimit limit{bytes + (rlim_t{256} << 20), bytes + (rlim_t{256} << 20)};
    if (setrlimit(RLIMIT_AS, &limit) != 0) return 1;
    try {
      thread_executor(512).bulk(3, [](index_t) {});
      return 2;
    } catch (const backend_error& e) {
      if (e.argument() != "threads") return 3;
    }
    std::atomic<int> sum = 0;  // what was taken has been given back
    thread_executor(2).bulk(10, [&](index_t) { ++sum; });
    return sum == 10 ? 7 : 4;
  });
  CHECK(ended == 7);
}
#endif

#endif

}  // namespace idiolect::test
