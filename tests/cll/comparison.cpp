// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// AUROC and SNR against the pairs and sums of their definitions, and what the bootstrap promises.

#include <idiolect/cll/comparison.hpp>
#include <idiolect/cll/separation.hpp>
#include <idiolect/core/executor.hpp>
#include <idiolect/core/philox.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "support/catch.hpp"

namespace idiolect {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
using numbers = std::vector<double>;

double normal(const philox& random, std::uint64_t position) {
  const double u = 1 - random.uniform(2 * position);
  return std::sqrt(-2 * std::log(u)) *
         std::cos(6.283185307179586 * random.uniform(2 * position + 1));
}

numbers normals(std::size_t n, double mean, double deviation, std::uint64_t record) {
  numbers x;
  for (std::size_t i = 0; i < n; ++i) x.push_back(mean + deviation * normal({31, record}, i));
  return x;
}

/// Every pair.
double auroc_by_pairs(const numbers& positive, const numbers& negative) {
  double wins = 0;
  for (const double a : positive) {
    for (const double b : negative) wins += a > b ? 1 : a == b ? 0.5 : 0;
  }
  return wins / static_cast<double>(positive.size()) / static_cast<double>(negative.size());
}

double snr_by_sums(const numbers& positive, const numbers& negative) {
  const auto mean = [](const numbers& x) {
    long double sum = 0;
    for (const double v : x) sum += v;
    return sum / static_cast<long double>(x.size());
  };
  const long double a = mean(positive), b = mean(negative);
  long double squares = 0;
  for (const double v : positive) squares += (v - a) * (v - a);
  for (const double v : negative) squares += (v - b) * (v - b);
  const auto freedom = static_cast<long double>(positive.size() + negative.size() - 2);
  return static_cast<double>((a - b) / std::sqrt(squares / freedom));
}

bool same_bits(const estimate& a, const estimate& b) {
  const auto same = [](double x, double y) {
    return std::bit_cast<std::uint64_t>(x) == std::bit_cast<std::uint64_t>(y);
  };
  return same(a.value, b.value) && same(a.low, b.low) && same(a.high, b.high);
}
bool same_bits(const separation& a, const separation& b) {
  return same_bits(a.auroc, b.auroc) && same_bits(a.snr, b.snr);
}

sequence_score sequence(index_t tokens, double mean_log_prob, double mean_phi, double varentropy) {
  sequence_score s;
  const auto n = static_cast<double>(tokens);
  s.tokens = tokens;
  s.sum_log_prob = n * mean_log_prob;
  s.sum_phi = n * mean_phi;
  s.sum_varentropy = n * varentropy;
  return s;
}

template <class F>
std::string argument_of_error(F&& f) {
  try {
    f();
  } catch (const shape_error& e) {
    return e.argument();
  } catch (const non_finite_error& e) {
    return e.argument() + " " + std::to_string(e.row());
  }
  return "nothing";
}

TEST_CASE("AUROC counts the pairs") {
  for (std::uint64_t record = 0; record < 60; ++record) {
    const philox random{8, record};
    numbers a, b;
    const std::size_t n = 1 + random.below(40, 1000), m = 1 + random.below(40, 1001);
    const double levels = record % 3 == 0 ? 3 : record % 3 == 1 ? 12 : 1e9;  // many ties to none
    for (std::size_t i = 0; i < n; ++i) a.push_back(std::floor(levels * random.uniform(i)));
    for (std::size_t i = 0; i < m; ++i) b.push_back(std::floor(levels * random.uniform(100 + i)));
    if (record % 5 == 0) a[0] = infinity, b[0] = infinity;
    if (record % 5 == 1) a[0] = -infinity;
    INFO("record " << record);
    CHECK(auroc(a, b) == Approx(auroc_by_pairs(a, b)).epsilon(1e-14));
    CHECK(auroc(a, b) + auroc(b, a) == Approx(1));
  }
  CHECK(auroc(numbers{2, 3}, numbers{0, 1}) == 1);
  CHECK(auroc(numbers{0, 1}, numbers{2, 3}) == 0);
  CHECK(auroc(numbers{1, 1}, numbers{1}) == 0.5);
  CHECK(auroc(numbers{0.0}, numbers{-0.0}) == 0.5);
  CHECK(auroc(numbers{1, 2}, numbers{1, 0}) == 0.875);
}

TEST_CASE("SNR is the difference of means over the pooled standard deviation") {
  for (std::uint64_t record = 0; record < 20; ++record) {
    const auto a = normals(2 + record, 1, 2, record);
    const auto b = normals(40 - record, -0.5, 0.5, 100 + record);
    CHECK(signal_to_noise(a, b) == Approx(snr_by_sums(a, b)).epsilon(1e-12));
    CHECK(signal_to_noise(b, a) == Approx(-snr_by_sums(a, b)).epsilon(1e-12));
  }
  // Far from zero, where sums of squares would cancel.
  auto a = normals(50, 0, 1, 7), b = normals(50, 1, 1, 8);
  const double near = signal_to_noise(a, b);
  for (double& x : a) x += 1e8;
  for (double& x : b) x += 1e8;
  CHECK(signal_to_noise(a, b) == Approx(near).epsilon(1e-6));
}

TEST_CASE("samples that leave something undefined") {
  const auto snr = [](const numbers& a, const numbers& b) { return signal_to_noise(a, b); };
  CHECK(std::isnan(snr({1}, {2})));  // one value in each
  CHECK(snr({1}, {2, 4}) == Approx(-std::sqrt(2)));
  CHECK(snr({1, 1}, {1, 1}) == 0);  // no variance
  CHECK(snr({2, 2}, {1, 1}) == infinity);
  CHECK(snr({0.1, 0.1, 0.1}, {0.3, 0.3}) == -infinity);
  CHECK(std::isnan(snr({1, infinity}, {1, 2})));
  CHECK(std::isnan(snr({1, 2}, {-infinity, 2})));
  CHECK(std::isnan(snr({-infinity, 1}, {-infinity, 1})));

  // Their intervals: of one value each, the only value; none for an estimate that is NaN.
  const auto one = separate(serial_executor{}, numbers{3}, numbers{2});
  CHECK(one.auroc.value == 1);
  CHECK(one.auroc.low == 1);
  CHECK(one.auroc.high == 1);
  CHECK(std::isnan(one.snr.low));
  const auto constant = separate(serial_executor{}, numbers{2, 2}, numbers{1, 1});
  CHECK(constant.snr.low == infinity);
  CHECK(constant.snr.high == infinity);
  for (std::uint64_t seed = 0; seed < 20; ++seed) {  // one replicate, with the infinite or without
    const auto infinite = separate(serial_executor{}, numbers{infinity, 1}, numbers{0, 2},
                                   {.replicates = 1, .seed = seed});
    CHECK(infinite.auroc.value == 0.75);
    CHECK_FALSE(std::isnan(infinite.auroc.low));
    CHECK(std::isnan(infinite.snr.low));
    CHECK(std::isnan(infinite.snr.high));
  }
  // Some replicates have no variance, so their SNR is infinite: still an interval.
  const auto pairs = separate(serial_executor{}, numbers{1, 2}, numbers{0, 1});
  CHECK(std::isfinite(pairs.snr.value));
  CHECK(pairs.snr.high == infinity);
}

TEST_CASE("wrong samples and options are named") {
  const auto fails = [](const numbers& a, const numbers& b, const bootstrap_options& o = {}) {
    return argument_of_error([&] { static_cast<void>(separate(serial_executor{}, a, b, o)); });
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(fails({1}, {2}) == "nothing");
  CHECK(fails({}, {2}) == "positive");
  CHECK(fails({1}, {}) == "negative");
  CHECK(fails({1, nan}, {2}) == "positive 1");
  CHECK(fails({1}, {nan, 2}) == "negative 0");
  CHECK(fails({1}, {2}, {.replicates = -1}) == "replicates");
  CHECK(fails({1}, {2}, {.confidence = 0}) == "confidence");
  CHECK(fails({1}, {2}, {.confidence = 1}) == "confidence");
  CHECK(fails({1}, {2}, {.confidence = nan}) == "confidence");
  CHECK(fails({1}, {2}, {.confidence = 1e-12}) == "confidence");
  CHECK(fails({1}, {2}, {.confidence = 1 - 1e-12}) == "confidence");
  CHECK(fails({1}, {2}, {.replicates = std::numeric_limits<index_t>::max()}) == "replicates");
}

TEST_CASE("no bound of an interval passes the other") {
  for (const index_t replicates : {1, 2, 3, 10, 2000}) {
    const auto s = separate(serial_executor{}, numbers{1, 2, 3}, numbers{0, 1, 2.5},
                            {.replicates = replicates, .confidence = 0.01});
    CHECK(s.auroc.low <= s.auroc.high);
  }
}

TEST_CASE("no replicates give no interval") {
  const auto s = separate(serial_executor{}, numbers{1, 2, 3}, numbers{0, 1}, {.replicates = 0});
  CHECK(s.auroc.value == Approx(auroc_by_pairs({1, 2, 3}, {0, 1})));
  CHECK(std::isnan(s.auroc.low));
  CHECK(std::isnan(s.auroc.high));
  CHECK(std::isnan(s.snr.low));
}

TEST_CASE("the interval is the percentiles of replicates drawn one by one") {
  const auto a = normals(23, 0.5, 1, 1), b = normals(31, 0, 1.5, 2);
  const bootstrap_options o{.replicates = 200, .confidence = 0.9, .seed = 99};
  numbers aurocs, snrs;
  for (std::uint64_t r = 0; r < 200; ++r) {
    const philox random{99, r};
    numbers x, y;
    for (std::uint64_t i = 0; i < 23; ++i) x.push_back(a[random.below(23, i)]);
    for (std::uint64_t i = 0; i < 31; ++i) y.push_back(b[random.below(31, 23 + i)]);
    aurocs.push_back(auroc_by_pairs(x, y));
    snrs.push_back(snr_by_sums(x, y));
  }
  std::ranges::sort(aurocs);
  std::ranges::sort(snrs);
  const auto s = separate(serial_executor{}, a, b, o);
  CHECK(s.auroc.low == Approx(aurocs[10]).epsilon(1e-12));    // 5% of 200 lie below it,
  CHECK(s.auroc.high == Approx(aurocs[189]).epsilon(1e-12));  // and as many above this
  CHECK(s.snr.low == Approx(snrs[10]).epsilon(1e-12));
  CHECK(s.snr.high == Approx(snrs[189]).epsilon(1e-12));
  CHECK(s.auroc.low < s.auroc.value);
  CHECK(s.auroc.value < s.auroc.high);
}

TEST_CASE("95 percent intervals hold the truth about that often") {
  // Two normal populations d apart: AUROC = Phi(d / sqrt 2), SNR = d.
  const double d = 0.8;
  const double true_auroc = 0.5 * std::erfc(-d / 2);
  int auroc_held = 0, snr_held = 0;
  const int trials = 400;
  for (int t = 0; t < trials; ++t) {
    const auto k = static_cast<std::uint64_t>(t);
    const auto s = separate(serial_executor{}, normals(60, d, 1, 5000 + 2 * k),
                            normals(60, 0, 1, 5001 + 2 * k), {.replicates = 400, .seed = k});
    auroc_held += s.auroc.low <= true_auroc && true_auroc <= s.auroc.high;
    snr_held += s.snr.low <= d && d <= s.snr.high;
  }
  // 0.95 +- 0.011 (one standard deviation of a binomial share); percentile intervals run narrow.
  CHECK(auroc_held > 0.90 * trials);
  CHECK(auroc_held < 0.985 * trials);
  CHECK(snr_held > 0.90 * trials);
  CHECK(snr_held < 0.985 * trials);
}

TEST_CASE("intervals have the same bits for any executor and follow the seed") {
  const auto a = normals(57, 0.3, 1, 11), b = normals(40, 0, 1, 12);
  const bootstrap_options o{.replicates = 333, .seed = 4};
  const auto serial = separate(serial_executor{}, a, b, o);
  CHECK(same_bits(serial, separate(serial_executor{}, a, b, o)));
  CHECK(same_bits(serial, separate(thread_executor(2), a, b, o)));
  CHECK(same_bits(serial, separate(thread_executor(5), a, b, o)));
  const executor_from backwards{[](index_t n, auto&& f) {
    for (index_t i = n; i-- > 0;) f(i);
  }};
  CHECK(same_bits(serial, separate(backwards, a, b, o)));
  const auto other = separate(serial_executor{}, a, b, {.replicates = 333, .seed = 5});
  CHECK(other.auroc.value == serial.auroc.value);
  CHECK(other.snr.low != serial.snr.low);
}

TEST_CASE("a comparison has every statistic turned towards the own text") {
  // `own` is drawn around phi 0; `foreign` is too unlikely; `greedy` too likely.
  std::vector<sequence_score> own, foreign, greedy;
  for (std::uint64_t i = 0; i < 30; ++i) {
    const double noise = 0.1 * normal({3, 0}, i);
    const auto tokens = static_cast<index_t>(20 + i);
    own.push_back(sequence(tokens, -2 + noise, noise, 1));
    foreign.push_back(sequence(tokens, -3 + noise, -1 + noise, 1.5));
    greedy.push_back(sequence(tokens, -1 + noise, 1 + noise, 0.5));
  }
  const auto far = compare(serial_executor{}, own, foreign);
  for (const separation* s : {&far.mean_phi, &far.z, &far.abs_mean_phi, &far.abs_z,
                              &far.mean_log_prob, &far.perplexity}) {
    CHECK(s->auroc.value == 1);
    CHECK(s->snr.value > 3);
    CHECK(s->snr.low <= s->snr.value);
    CHECK(s->snr.value <= s->snr.high);
  }
  const auto high = compare(serial_executor{}, own, greedy);
  CHECK(high.mean_phi.auroc.value == 0);  // the one-sided scores are fooled
  CHECK(high.z.auroc.value == 0);
  CHECK(high.perplexity.auroc.value == 0);
  CHECK(high.mean_log_prob.auroc.value == 0);
  CHECK(high.abs_mean_phi.auroc.value == 1);  // the two-sided ones are not
  CHECK(high.abs_z.auroc.value == 1);
  CHECK(high.positive_sequences == 30);
  CHECK(high.negative_sequences == 30);
  CHECK(high.positive_empty == 0);

  // Each statistic by itself.
  const auto check = [&](const separation& s, auto of) {
    numbers a, b;
    for (const auto& x : own) a.push_back(of(x));
    for (const auto& x : foreign) b.push_back(of(x));
    CHECK(s.auroc.value == Approx(auroc_by_pairs(a, b)));
    CHECK(s.snr.value == Approx(snr_by_sums(a, b)));
    CHECK(same_bits(s, separate(serial_executor{}, a, b)));  // the same draws
  };
  using S = sequence_score;
  check(far.mean_phi, [](const S& s) { return s.mean_phi(); });
  check(far.z, [](const S& s) { return s.z(); });
  check(far.abs_mean_phi, [](const S& s) { return -std::abs(s.mean_phi()); });
  check(far.abs_z, [](const S& s) { return -std::abs(s.z()); });
  check(far.mean_log_prob, [](const S& s) { return s.mean_log_prob(); });
  check(far.perplexity, [](const S& s) { return -s.perplexity(); });
  check(far.sum_log_prob, [](const S& s) { return s.sum_log_prob; });

  const auto threads = compare(thread_executor(3), own, foreign);
  CHECK(same_bits(far.z, threads.z));
  CHECK(same_bits(far.sum_log_prob, threads.sum_log_prob));
}

TEST_CASE("sequences without scored tokens are left out of a comparison") {
  const std::vector<sequence_score> own = {sequence(5, -1, 0.1, 1), {}, sequence(5, -1, 0.3, 1)};
  const std::vector<sequence_score> other = {{}, {}, sequence(5, -2, 0.2, 1)};
  const auto c = compare(serial_executor{}, own, other);
  CHECK(c.positive_sequences == 2);
  CHECK(c.positive_empty == 1);
  CHECK(c.negative_sequences == 1);
  CHECK(c.negative_empty == 2);
  CHECK(c.mean_phi.auroc.value == 0.5);

  const auto fails = [](const std::vector<sequence_score>& a, const std::vector<sequence_score>& b,
                        const bootstrap_options& o = {}) {
    return argument_of_error([&] { static_cast<void>(compare(serial_executor{}, a, b, o)); });
  };
  CHECK(fails({}, own) == "positive");
  CHECK(fails({{}, {}}, own) == "positive");
  CHECK(fails(own, {}) == "negative");
  CHECK(fails(own, {{}}) == "negative");
  CHECK(fails(own, other, {.replicates = -3}) == "replicates");
}

TEST_CASE("a comparison with an impossible sequence ranks it and has no SNR") {
  std::vector<sequence_score> own = {sequence(5, -1, 0.1, 1), sequence(5, -1.5, 0.3, 1)};
  std::vector<sequence_score> other = {sequence(5, -infinity, -infinity, 1),
                                       sequence(5, -2, 0.2, 1)};
  const auto c = compare(serial_executor{}, own, other);
  CHECK(c.mean_phi.auroc.value == 0.75);
  CHECK(c.abs_z.auroc.value == 0.75);  // -inf, -0.447; -0.224, -0.671
  CHECK(c.perplexity.auroc.value == 1);
  for (const separation* s : {&c.mean_phi, &c.z, &c.abs_mean_phi, &c.abs_z, &c.mean_log_prob,
                              &c.perplexity, &c.sum_log_prob}) {
    CHECK(std::isnan(s->snr.value));
    CHECK(std::isnan(s->snr.low));
    CHECK_FALSE(std::isnan(s->auroc.low));
  }
}

}  // namespace
}  // namespace idiolect
