// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The threads that work on one row together: a warp, a block or a cluster of blocks on a device,
// one thread in a host's test. What a kernel does with a row is written once over this concept, for
// host and device; a kernel only makes the group. No CUDA header is needed here.

#include <concepts>
#include <cstdint>
#include <type_traits>
#include <utility>

#include <idiolect/config.hpp>

#if !defined(__CUDA_ARCH__)
#include <atomic>
#endif

namespace idiolect::detail {

/// Requirements, for a group `g` that all of its threads call alike:
///  (1) `g.rank()` in [0, `g.size()`).
///  (2) `g.sync()` waits for all threads; what they wrote to shared or global memory before it is
///      seen after it.
///  (3) `g.all_reduce(x, op)` gives every thread the same bits: the threads' `x`, a trivially
///      copyable value, joined by an associative `op(x, y)` in an order that depends on the size
///      alone. It synchronises.
///  (4) `g.broadcast(f)` gives every thread f(), which one thread calls, or several with the same
///      result. It synchronises.
template <class G>
concept row_group = requires(const G& g, float x, float (*op)(const float&, const float&),
                             float (*f)()) {
  { g.rank() } -> std::convertible_to<int>;
  { g.size() } -> std::convertible_to<int>;
  g.sync();
  { g.all_reduce(x, op) } -> std::same_as<float>;
  { g.broadcast(f) } -> std::same_as<float>;
};

/// One thread.
struct lone_thread {
  [[nodiscard]] IDIOLECT_HD static constexpr int rank() { return 0; }
  [[nodiscard]] IDIOLECT_HD static constexpr int size() { return 1; }
  IDIOLECT_HD static void sync() {}
  template <class T, class Op>
  [[nodiscard]] IDIOLECT_HD static T all_reduce(T x, Op&&) {
    return x;
  }
  template <class F>
  [[nodiscard]] IDIOLECT_HD static decltype(std::declval<F&>()()) broadcast(F&& f) {
    return f();
  }
};

/// The larger of two, of a number and NaN the number.
struct larger {
  template <class T>
  [[nodiscard]] IDIOLECT_HD T operator()(const T& a, const T& b) const {
#if defined(__CUDA_ARCH__)  // one instruction, where the comparison takes two
    if constexpr (std::is_same_v<T, float>) return fmaxf(a, b);
#endif
    return a < b || a != a ? b : a;
  }
};
struct plus {
  template <class T>
  [[nodiscard]] IDIOLECT_HD T operator()(const T& a, const T& b) const {
    return a + b;
  }
};

/// Adds to a word that several threads of a group add to; returns what it was. Integers only, so
/// that the sum does not depend on the order.
IDIOLECT_HD inline std::uint32_t atomic_add(std::uint32_t& word, std::uint32_t x) {
#if defined(__CUDA_ARCH__)
  return atomicAdd(&word, x);
#else
  return std::atomic_ref(word).fetch_add(x, std::memory_order_relaxed);
#endif
}

}  // namespace idiolect::detail
