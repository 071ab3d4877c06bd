// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A table of 64-bit sums in shared memory that the threads of a group add to, and the place in it
// where the running sum passes a target: a histogram and its search. Integers, so that the order of
// additions does not matter.

#include <cstdint>

#include <idiolect/backend/cuda/row_group.hpp>
#include <idiolect/config.hpp>

namespace idiolect::detail {

/// The table's memory, 16.5 KiB.
struct sum_memory {
  static constexpr int parts = 64;
  static constexpr int entries_of_part = 32;
  static constexpr int entries = parts * entries_of_part;

  std::uint32_t low[entries];  // two words: shared memory adds those natively
  std::uint32_t high[entries];
  std::uint64_t part[parts];
};

/// Where the running sum passes a target.
struct sum_place {
  int entry = 0;
  std::uint64_t before = 0;  ///< the sum of what lies before the entry
  std::uint64_t at = 0;      ///< the entry's own
};

/// All threads of the group call the same, but for `add`: clear, add, total, then find.
template <row_group Group>
class sum_table {
 public:
  IDIOLECT_HD sum_table(const Group& group, sum_memory& memory) : group_(group), memory_(memory) {}

  IDIOLECT_HD void clear() {
    for (int e = group_.rank(); e < sum_memory::entries; e += group_.size()) {
      memory_.low[e] = memory_.high[e] = 0;
    }
    group_.sync();
  }

  IDIOLECT_HD void add(int entry, std::uint64_t x) {
    const auto low = static_cast<std::uint32_t>(x);
    const std::uint32_t before = atomic_add(memory_.low[entry], low);
    const std::uint32_t carry = before + low < low ? 1 : 0;
    const auto high = static_cast<std::uint32_t>(x >> 32) + carry;
    if (high != 0) atomic_add(memory_.high[entry], high);
  }

  /// The sum of all entries. Synchronises.
  [[nodiscard]] IDIOLECT_HD std::uint64_t total() {
    group_.sync();
    std::uint64_t all = 0;
    for (int p = group_.rank(); p < sum_memory::parts; p += group_.size()) {
      std::uint64_t sum = 0;
      for (int k = 0; k < sum_memory::entries_of_part; ++k) {
        // From a place of its own, or all threads would read the same bank.
        sum += entry(p * sum_memory::entries_of_part + (k + p) % sum_memory::entries_of_part);
      }
      memory_.part[p] = sum;
      all += sum;
    }
    return group_.all_reduce(all, plus{});
  }

  /// The part of the entries at which the running sum passes `target`, below the total.
  [[nodiscard]] IDIOLECT_HD sum_place find_part(std::uint64_t target) const {
    sum_place r;
    r.at = memory_.part[0];
    while (r.before + r.at <= target && r.entry < sum_memory::parts - 1) {
      r.before += r.at;
      r.at = memory_.part[++r.entry];
    }
    return r;
  }

  /// The entry. Synchronises: the table may be cleared after it.
  [[nodiscard]] IDIOLECT_HD sum_place find(std::uint64_t target) const {
    sum_place r = find_part(target);
    const int end = (r.entry + 1) * sum_memory::entries_of_part;
    r.entry *= sum_memory::entries_of_part;
    r.at = entry(r.entry);
    while (r.before + r.at <= target && r.entry < end - 1) {
      r.before += r.at;
      r.at = entry(++r.entry);
    }
    group_.sync();
    return r;
  }

 private:
  [[nodiscard]] IDIOLECT_HD std::uint64_t entry(int e) const {
    return memory_.low[e] | std::uint64_t{memory_.high[e]} << 32;
  }

  const Group& group_;
  sum_memory& memory_;
};

}  // namespace idiolect::detail
