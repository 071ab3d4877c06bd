// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// How many threads of this process may run at once: not the machine's processors, but those that
// the process is allowed. On Linux its affinity mask (taskset, cpusets) and the quotas of its
// control groups (containers, batch systems) say so; a quota of less than a processor counts as
// one.

#include <algorithm>
#include <cstddef>
#include <fstream>
#include <string>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace idiolect::detail {

/// The processors of a quota, `period` microseconds of `period`; `most` where there is none.
[[nodiscard]] inline int processors_of(double quota, double period, int most) {
  if (!(quota > 0 && period > 0)) return most;
  const double n = quota / period;
  return n >= most ? most : n < 1 ? 1 : static_cast<int>(n);
}

/// The smallest quota of a control group and those above it, at most `most`. `path` is the group's,
/// "/a/b"; where it is not there, as it is not in a container that is shown the host's name of its
/// group, the groups above it are asked alone.
template <class Quota>
[[nodiscard]] int smallest_quota(const std::string& root, std::string path, int most,
                                 Quota&& quota) {
  if (!path.starts_with('/')) path = "/";
  for (;;) {
    most = (std::min)(most, quota(root + path + (path.ends_with('/') ? "" : "/"), most));
    if (path.empty() || path == "/") return most;
    path.erase(path.find_last_of('/'));
  }
}

/// By the control groups of this process (both versions), at most `most`. `root` is for tests.
[[nodiscard]] inline int processors_of_groups(int most, const std::string& root = "") {
  const auto second = [](const std::string& folder, int n) {  // "max 100000" or "150000 100000"
    std::ifstream file(folder + "cpu.max");
    double quota = 0, period = 0;
    return file >> quota >> period ? processors_of(quota, period, n) : n;
  };
  const auto first = [](const std::string& folder, int n) {  // -1: none
    std::ifstream quota_file(folder + "cpu.cfs_quota_us"),
        period_file(folder + "cpu.cfs_period_us");
    double quota = 0, period = 0;
    return quota_file >> quota && period_file >> period ? processors_of(quota, period, n) : n;
  };
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // number:controllers:path
    const auto one = line.find(':');
    const auto two = line.find(':', one + 1);
    if (one == std::string::npos || two == std::string::npos) continue;
    const std::string controllers = "," + line.substr(one + 1, two - one - 1) + ",";
    const std::string path = line.substr(two + 1);
    if (controllers == ",,") most = smallest_quota(root + "/sys/fs/cgroup", path, most, second);
    if (controllers.find(",cpu,") == std::string::npos) continue;
    most = smallest_quota(root + "/sys/fs/cgroup/cpu", path, most, first);
  }
  return most;
}

/// By the affinity mask; 0 where the system has none.
[[nodiscard]] inline int processors_of_mask() {
#if defined(__linux__)
  for (int processors = 1024; processors <= 1 << 18; processors *= 2) {  // until the mask has room
    cpu_set_t* const mask = CPU_ALLOC(static_cast<std::size_t>(processors));
    if (mask == nullptr) return 0;
    const std::size_t bytes = CPU_ALLOC_SIZE(static_cast<std::size_t>(processors));
    const bool known = sched_getaffinity(0, bytes, mask) == 0;
    const int count = known ? CPU_COUNT_S(bytes, mask) : 0;
    CPU_FREE(mask);
    if (known) return count;
  }
#endif
  return 0;
}

/// How many threads of this process may run at once, >= 1. Reads a few small files.
[[nodiscard]] inline int allowed_processors() {
  int n = processors_of_mask();
  if (n == 0) n = static_cast<int>(std::thread::hardware_concurrency());
#if defined(__linux__)
  n = processors_of_groups(n);
#endif
  return (std::max)(1, n);
}

}  // namespace idiolect::detail
