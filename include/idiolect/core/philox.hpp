// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random
// numbers: as easy as 1, 2, 3", SC 2011). A draw is a pure function of (seed, record, position),
// so it does not depend on batching, threads or the order of calls.

#include <cstdint>

#include <idiolect/config.hpp>

namespace idiolect {

/// 128 random bits.
struct philox_words {
  std::uint32_t word[4];

  [[nodiscard]] IDIOLECT_HD std::uint32_t operator[](int i) const { return word[i]; }
  friend bool operator==(const philox_words&, const philox_words&) = default;
};

/// Ten rounds of Philox4x32 over a 128-bit counter and a 64-bit key.
[[nodiscard]] IDIOLECT_HD inline philox_words philox4x32(philox_words counter, std::uint32_t key_low,
                                                         std::uint32_t key_high) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53u} * counter[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57u} * counter[2];
    counter = {{static_cast<std::uint32_t>(b >> 32) ^ counter[1] ^ key_low,
                static_cast<std::uint32_t>(b),
                static_cast<std::uint32_t>(a >> 32) ^ counter[3] ^ key_high,
                static_cast<std::uint32_t>(a)}};
    key_low += 0x9E3779B9u;
    key_high += 0xBB67AE85u;
  }
  return counter;
}

/// The stream of random numbers that belongs to one record under one seed.
struct philox {
  std::uint64_t seed = 0;
  std::uint64_t record = 0;

  /// 128 random bits for one position.
  [[nodiscard]] IDIOLECT_HD philox_words bits(std::uint64_t position) const {
    return philox4x32(
        {{static_cast<std::uint32_t>(position), static_cast<std::uint32_t>(position >> 32),
          static_cast<std::uint32_t>(record), static_cast<std::uint32_t>(record >> 32)}},
        static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
  }

  /// Uniform in [0, 1) with 53 random bits.
  [[nodiscard]] IDIOLECT_HD double uniform(std::uint64_t position) const {
    const auto word = bits(position);
    const std::uint64_t mantissa = (static_cast<std::uint64_t>(word[0]) << 21) ^ (word[1] >> 11);
    return static_cast<double>(mantissa) * 0x1.0p-53;
  }

  /// Uniform in {0, ..., n - 1}, n >= 1 (bias below n * 2^-53).
  [[nodiscard]] IDIOLECT_HD std::uint64_t below(std::uint64_t n, std::uint64_t position) const {
    const auto k = static_cast<std::uint64_t>(uniform(position) * static_cast<double>(n));
    return k < n ? k : n - 1;
  }
};

}  // namespace idiolect
