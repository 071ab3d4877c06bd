// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Philox4x32-10 against its authors' known answers, and what the library makes of its bits.

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include <idiolect/core/philox.hpp>

#include "support/catch.hpp"

namespace idiolect::test {
namespace {

using word = std::uint32_t;

/// Pearson's statistic of observed counts against equal expectations.
double chi_squared(const std::vector<double>& counts, double expected) {
  double total = 0;
  for (const double c : counts) total += (c - expected) * (c - expected) / expected;
  return total;
}

}  // namespace

TEST_CASE("philox gives the published known answers") {  // Random123, kat_vectors
  CHECK(philox4x32({{0, 0, 0, 0}}, 0, 0) ==
        philox_words{{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}});
  CHECK(philox4x32({{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}}, 0xffffffff, 0xffffffff) ==
        philox_words{{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}});
  CHECK(philox4x32({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822, 0x299f31d0) ==
        philox_words{{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}});
}

TEST_CASE("seed and record and position all reach the counter or the key") {
  const philox stream{.seed = 0x299f31d0a4093822, .record = 0x0370734413198a2e};
  CHECK(stream.bits(0x85a308d3243f6a88) ==
        philox_words{{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}});

  // One bit of input changes about half of the 128 bits of output.
  int closest = 128;
  const philox base{.seed = 42, .record = 7};
  const auto distance = [&](const philox& other, std::uint64_t position) {
    const auto a = base.bits(3), b = other.bits(position);
    int bits = 0;
    for (int i = 0; i < 4; ++i) bits += std::popcount(a[i] ^ b[i]);
    return bits;
  };
  for (int bit = 0; bit < 64; ++bit) {
    const std::uint64_t flip = std::uint64_t{1} << bit;
    closest = std::min(closest, distance({42 ^ flip, 7}, 3));
    closest = std::min(closest, distance({42, 7 ^ flip}, 3));
    closest = std::min(closest, distance(base, 3 ^ flip));
  }
  CHECK(closest > 32);  // 5.6 standard deviations below 64
}

TEST_CASE("uniform numbers are uniform and within their interval") {
  constexpr int draws = 1 << 20, bins = 256;
  std::vector<double> counts(bins), low_bits(bins);
  double sum = 0, squares = 0, lagged = 0, previous = 0.5;
  bool inside = true;
  const philox stream{.seed = 1, .record = 2};
  for (std::uint64_t i = 0; i < draws; ++i) {
    const double u = stream.uniform(i);
    inside = inside && u >= 0 && u < 1;
    counts[static_cast<std::size_t>(u * bins)] += 1;
    low_bits[static_cast<std::uint64_t>(u * 0x1.0p53) % bins] += 1;
    sum += u - 0.5;
    squares += (u - 0.5) * (u - 0.5);
    lagged += (u - 0.5) * (previous - 0.5);
    previous = u;
  }
  CHECK(inside);
  // 255 degrees of freedom: mean 255, standard deviation 22.6; five of them.
  CHECK(chi_squared(counts, draws / bins) < 368);
  CHECK(chi_squared(low_bits, draws / bins) < 368);
  CHECK(std::abs(sum) < 5 * std::sqrt(draws / 12.0));
  CHECK(std::abs(squares - draws / 12.0) < 5 * std::sqrt(draws / 180.0));
  CHECK(std::abs(lagged) < 5 * std::sqrt(draws / 144.0));
}

TEST_CASE("records and seeds are independent streams") {
  constexpr int draws = 1 << 16;
  double by_record = 0, by_seed = 0;
  for (std::uint64_t i = 0; i < draws; ++i) {
    const double u = philox{1, i}.uniform(0) - 0.5;
    by_record += u * (philox{1, i + 1}.uniform(0) - 0.5);
    by_seed += u * (philox{2, i}.uniform(0) - 0.5);
  }
  CHECK(std::abs(by_record) < 5 * std::sqrt(draws / 144.0));
  CHECK(std::abs(by_seed) < 5 * std::sqrt(draws / 144.0));
}

TEST_CASE("integers below a bound are uniform") {
  constexpr int draws = 60000;
  std::vector<double> counts(6);
  const philox stream{.seed = 3, .record = 4};
  for (std::uint64_t i = 0; i < draws; ++i) {
    const auto k = stream.below(6, i);
    counts.at(k) += 1;
  }
  CHECK(chi_squared(counts, draws / 6.0) < 5 + 5 * 3.2);
  CHECK(stream.below(1, 0) == 0);
  CHECK(stream.below(~std::uint64_t{0}, 0) < ~std::uint64_t{0});
}

}  // namespace idiolect::test
