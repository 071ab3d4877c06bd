// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Sixteen numbers side by side, in as many registers as the machine needs, on Eigen's packets.
// Inference is written in whole blocks of them, padded, without scalar remainders: what an element
// goes through then does not depend on where it stands, nor does its rounding. Multiply-adds are
// asked for by name, so that the compiler has no choice of contracting one here and not there.

#include <array>
#include <cstddef>
#include <type_traits>
#include <utility>
#include <vector>

#include <Eigen/Core>

#include "tiny_llama/config.hpp"

namespace tiny_llama::inference {

/// Lanes of a block; row strides and panels are multiples of it.
inline constexpr index_t lane_count = 16;

[[nodiscard]] constexpr index_t padded(index_t n) {
  return (n + lane_count - 1) / lane_count * lane_count;
}

/// Memory that begins on a packet's alignment.
template <class Real>
using aligned_vector = std::vector<Real, Eigen::aligned_allocator<Real>>;

template <class Real>
class lanes {
  using packet = typename Eigen::internal::packet_traits<Real>::type;
  static constexpr index_t packet_size = Eigen::internal::unpacket_traits<packet>::size;
  static_assert(lane_count % packet_size == 0);

 public:
  static constexpr index_t registers = lane_count / packet_size;

  lanes() = default;

  /// All lanes x.
  explicit lanes(Real x) {
    const packet p = Eigen::internal::pset1<packet>(x);
    each([&](auto i) { parts_[i] = p; });
  }

  [[nodiscard]] static lanes load(const Real* from) {
    lanes r;
    r.each([&](auto i) { r.parts_[i] = Eigen::internal::ploadu<packet>(from + i * packet_size); });
    return r;
  }

  void store(Real* to) const {
    each([&](auto i) { Eigen::internal::pstoreu(to + i * packet_size, parts_[i]); });
  }

  /// this + a * b, fused where the machine can.
  void add_product(const lanes& a, const lanes& b) {
    each([&](auto i) { parts_[i] = Eigen::internal::pmadd(a.parts_[i], b.parts_[i], parts_[i]); });
  }

  friend lanes operator+(const lanes& a, const lanes& b) {
    return a.zip(b, [](auto x, auto y) { return Eigen::internal::padd(x, y); });
  }
  friend lanes operator-(const lanes& a, const lanes& b) {
    return a.zip(b, [](auto x, auto y) { return Eigen::internal::psub(x, y); });
  }
  friend lanes operator*(const lanes& a, const lanes& b) {
    return a.zip(b, [](auto x, auto y) { return Eigen::internal::pmul(x, y); });
  }
  friend lanes operator/(const lanes& a, const lanes& b) {
    return a.zip(b, [](auto x, auto y) { return Eigen::internal::pdiv(x, y); });
  }
  friend lanes max(const lanes& a, const lanes& b) {
    return a.zip(b, [](auto x, auto y) { return Eigen::internal::pmax(x, y); });
  }
  friend lanes exp(const lanes& a) {
    lanes r;
    r.each([&](auto i) { r.parts_[i] = Eigen::internal::pexp(a.parts_[i]); });
    return r;
  }

  /// The sum of the lanes, always in the same order.
  [[nodiscard]] Real sum() const {
    return fold([](Real a, Real b) { return a + b; });
  }
  [[nodiscard]] Real largest() const {
    return fold([](Real a, Real b) { return a < b ? b : a; });
  }

 private:
  // Calls f with every register's number as a constant: an unrolled loop at any level of
  // optimisation, so that blocks stay in registers.
  template <class F>
  static void each(F&& f) {
    [&]<std::size_t... i>(std::index_sequence<i...>) {
      (f(std::integral_constant<std::size_t, i>{}), ...);
    }
    (std::make_index_sequence<static_cast<std::size_t>(registers)>{});
  }

  template <class F>
  [[nodiscard]] lanes zip(const lanes& b, F&& f) const {
    lanes r;
    each([&](auto i) { r.parts_[i] = f(parts_[i], b.parts_[i]); });
    return r;
  }

  // Lane k with lane k + 8, then k + 4, and so on.
  template <class F>
  [[nodiscard]] Real fold(F&& f) const {
    std::array<Real, static_cast<std::size_t>(lane_count)> x;
    store(x.data());
    for (std::size_t half = x.size() / 2; half > 0; half /= 2) {
      for (std::size_t k = 0; k < half; ++k)
        x[k] = f(x[k], x[k + half]);
    }
    return x[0];
  }

  packet parts_[static_cast<std::size_t>(registers)];  // std::array drops attributes of its type
};

}  // namespace tiny_llama::inference
