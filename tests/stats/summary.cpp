// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Summaries merge: shards summarised apart say what the whole would.

#include <cmath>
#include <vector>

#include <idiolect/stats/summary.hpp>

#include "support/catch.hpp"
#include "support/oracle.hpp"
#include "support/rows.hpp"

namespace idiolect::test {
namespace {

template <class Summary>
Summary summarised(const std::vector<double>& values, std::size_t first, std::size_t last,
                   Summary summary = {}) {
  for (std::size_t i = first; i < last; ++i) summary.add(values[i]);
  return summary;
}

}  // namespace

TEST_CASE("moments are those of the values") {
  const std::vector<double> values{1, 2, 4, 9};
  const auto s = summarised<moment_summary>(values, 0, 4);
  CHECK(s.count == 4);
  CHECK(s.mean == 4);
  CHECK(s.sum() == 16);
  CHECK(std::abs(s.variance() - 38.0 / 3) < 1e-14);
  CHECK(std::abs(s.standard_deviation() - std::sqrt(38.0 / 3)) < 1e-14);
  CHECK(s.min == 1);
  CHECK(s.max == 9);
  CHECK(s.nan_count == 0);
}

TEST_CASE("moments of a large offset do not cancel") {
  const auto s = summarised<moment_summary>(gaussian_row(10000, 1e-3, 1, 1e9), 0, 10000);
  long double mean = 0, squares = 0;
  const auto values = gaussian_row(10000, 1e-3, 1, 1e9);
  for (const double x : values) mean += x;
  mean /= 10000;
  for (const double x : values) squares += (x - mean) * (x - mean);
  CHECK(std::abs(s.mean - static_cast<double>(mean)) < 1e-5);  // 100 roundings of a number at 1e9
  CHECK(std::abs(s.variance() / static_cast<double>(squares / 9999) - 1) < 1e-3);
}

TEST_CASE("moments of few values") {
  const moment_summary none;
  CHECK(none.sum() == 0);
  CHECK(std::isnan(none.variance()));
  const auto one = summarised<moment_summary>({5}, 0, 1);
  CHECK(one.mean == 5);
  CHECK(std::isnan(one.variance()));
  CHECK(one.min == 5);
  CHECK(one.max == 5);
}

TEST_CASE("moments of shards merge to the moments of all") {
  auto values = gaussian_row(1000, 3, 2, 1);
  values[10] = values[500] = not_a_number;
  const auto all = summarised<moment_summary>(values, 0, 1000);
  CHECK(all.nan_count == 2);
  CHECK(all.count == 998);
  for (const std::size_t cut : {0u, 1u, 10u, 11u, 500u, 999u, 1000u}) {
    for (const bool swapped : {false, true}) {
      auto a = summarised<moment_summary>(values, 0, cut);
      auto b = summarised<moment_summary>(values, cut, 1000);
      if (swapped) std::swap(a, b);
      a.merge(b);
      INFO("cut at " << cut);
      CHECK(a.count == all.count);
      CHECK(a.nan_count == all.nan_count);
      CHECK(a.min == all.min);
      CHECK(a.max == all.max);
      CHECK(std::max(scaled_error(a.mean, all.mean), scaled_error(a.variance(), all.variance())) <
            1e-13);
    }
  }
}

TEST_CASE("NaN is counted apart and infinities are said") {
  auto s = summarised<moment_summary>({not_a_number, not_a_number}, 0, 2);
  CHECK(s.count == 0);
  CHECK(s.nan_count == 2);
  s.add(3);
  CHECK(s.mean == 3);
  CHECK(s.nan_count == 2);

  for (const auto& values :
       {std::vector<double>{1, -infinity, 2}, std::vector<double>{-infinity, 1, 2},
        std::vector<double>{1, 2, -infinity}}) {
    const auto masked = summarised<moment_summary>(values, 0, 3);
    CHECK(masked.count == 3);
    CHECK(masked.mean == -infinity);
    CHECK(std::isnan(masked.variance()));
    CHECK(masked.min == -infinity);
    CHECK(masked.max == 2);
  }
  const auto both = summarised<moment_summary>({infinity, -infinity, 0}, 0, 3);
  CHECK(std::isnan(both.mean));
}

TEST_CASE("a histogram counts each value once") {
  histogram<8> h;
  h.low = -1;
  h.high = 1;
  for (const double x : {-1.0, -0.76, -0.75, 0.0, 0.9999999, 1.0, 5.0, -1.1, infinity, -infinity}) {
    h.add(x);
  }
  h.add(not_a_number);
  CHECK(std::ranges::equal(h.counts, std::array{2, 1, 0, 0, 1, 0, 0, 1}));
  CHECK(h.below == 2);
  CHECK(h.above == 3);
  CHECK(h.nan_count == 1);
  CHECK(h.total() == 10);
  CHECK(h.bin_low(0) == -1);
  CHECK(h.bin_low(4) == 0);

  histogram<3> thirds;  // just below `high` the bin's number may round up to 3
  thirds.add(std::nextafter(1.0, 0.0));
  CHECK(thirds.counts[2] == 1);
}

TEST_CASE("histograms of shards merge to the histogram of all") {
  auto values = gaussian_row(1000, 1, 3);
  values[5] = not_a_number;
  histogram<16> empty;
  empty.low = -2;
  empty.high = 2;
  const auto all = summarised(values, 0, 1000, empty);
  auto merged = summarised(values, 0, 300, empty);
  merged.merge(summarised(values, 300, 1000, empty));
  merged.merge(empty);
  CHECK((merged == all));
  CHECK(merged.nan_count == 1);
  CHECK(merged.total() == 999);
}

}  // namespace idiolect::test
