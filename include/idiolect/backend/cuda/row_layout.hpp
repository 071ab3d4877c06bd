// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Where the 16-byte vectors of a row lie. A row may begin anywhere and have any length: the
// elements before the first aligned vector and after the last are its edges, taken one by one.
//
//   | head | vector 0 | vector 1 | ... | vector (vectors - 1) | tail |      edges = head + tail
//
// Positions in a row have 32 bits, as token ids do: half the registers of a pointer.
//
// Threads take vectors in turn, so that neighbours read neighbouring memory: a thread of rank r
// among s has the vectors r, r + s, r + 2s, ...

#include <cstdint>

#include <idiolect/config.hpp>

namespace idiolect::detail {

/// Bytes that a thread reads or writes at once.
inline constexpr int vector_bytes = 16;

/// Elements of T in a vector.
template <class T>
inline constexpr int vector_width = vector_bytes / static_cast<int>(sizeof(T));

/// Edges of a row, at most.
template <class T>
inline constexpr int max_edges = 2 * (vector_width<T> - 1);

/// The parts of a row of `n` elements of T that begins at `row`, which is aligned for T.
template <class T>
struct row_layout {
  static constexpr int width = vector_width<T>;

  int head = 0;
  int vectors = 0;
  int tail = 0;

  IDIOLECT_HD row_layout(const T* row, int n) {
    const auto past = static_cast<int>(reinterpret_cast<std::uintptr_t>(row) % vector_bytes);
    head = past == 0 ? 0 : (vector_bytes - past) / static_cast<int>(sizeof(T));
    if (head > n) head = n;
    vectors = (n - head) / width;
    tail = n - head - vectors * width;
  }

  [[nodiscard]] IDIOLECT_HD int edges() const { return head + tail; }
  /// The element that edge e is.
  [[nodiscard]] IDIOLECT_HD int edge(int e) const { return e < head ? e : vectors * width + e; }
  /// The first element of vector v.
  [[nodiscard]] IDIOLECT_HD int vector(int v) const { return head + v * width; }
};

}  // namespace idiolect::detail
