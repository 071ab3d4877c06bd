// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Warps, blocks and clusters as the kernels use them, with a host's threads for a device's: what
// every thread gets, that it is the same, and that no slot is written before it was read.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include <idiolect/backend/cuda/loss_row.hpp>
#include <idiolect/backend/cuda/thread_teams.hpp>
#include <idiolect/loss/gates.hpp>
#include <idiolect/loss/loss.hpp>

#include "support/catch.hpp"
#include "support/host_machine.hpp"
#include "support/oracle.hpp"
#include "support/rows.hpp"
#include "support/tolerance.hpp"

namespace idiolect::test {
namespace {

template <int Threads, int Blocks>
using memory_of = detail::block_memory<Threads, Blocks>;

/// Calls f(team) in all threads of `blocks` blocks of `Threads`.
template <int Threads, int Blocks, class F>
void run_team(int blocks, F&& f) {
  using memory = memory_of<Threads, Blocks>;
  run_blocks<memory>(blocks, Threads, [&](const host_machine<memory>& machine) {
    const detail::block_team<Threads, Blocks, host_machine<memory>> team(machine.memory(), blocks,
                                                                         machine);
    f(team);
  });
}

/// Neither commutative nor associative: tells orders apart.
struct order_sensitive {
  float operator()(float a, float b) const { return 0.75f * a + b; }
};

struct pair_of_words {
  double sum;
  std::int64_t count;
  friend pair_of_words operator+(const pair_of_words& a, const pair_of_words& b) {
    return {a.sum + b.sum, a.count + b.count};
  }
};

/// A sanitizer takes minutes for a thousand threads.
#if defined(IDIOLECT_TEST_SANITIZED)
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif

/// Reductions in a row: with a third, slots are written again.
constexpr int rounds = sanitized ? 3 : 4;

/// Every thread's ranks, sizes and reductions, round after round.
template <int Threads, int Blocks>
void check_team(int blocks) {
  const int size = Threads * blocks;
  std::vector<int> ranks(static_cast<std::size_t>(size));
  std::vector<std::vector<float>> ordered(rounds, std::vector<float>(ranks.size()));
  std::vector<std::vector<pair_of_words>> sums(rounds, std::vector<pair_of_words>(ranks.size()));
  std::vector<std::vector<float>> told(rounds, std::vector<float>(ranks.size()));
  run_team<Threads, Blocks>(blocks, [&](const auto& team) {
    const auto k = static_cast<std::size_t>(team.rank());
    ranks[k] = team.size();
    for (int round = 0; round < rounds; ++round) {
      const auto r = static_cast<std::size_t>(round);
      const auto x = static_cast<float>((team.rank() * 37 + round * 11) % 101);
      ordered[r][k] = team.all_reduce(x, order_sensitive{});
      sums[r][k] = team.all_reduce(pair_of_words{x, 1}, detail::plus{});
      told[r][k] =
          team.broadcast([&] { return ordered[r][k] + x * 0 + static_cast<float>(round); });
    }
  });
  for (int round = 0; round < rounds; ++round) {
    const auto r = static_cast<std::size_t>(round);
    double want = 0;
    for (int k = 0; k < size; ++k) want += (k * 37 + round * 11) % 101;
    bool same = true, right = true;
    for (std::size_t k = 0; k < ranks.size(); ++k) {
      same = same && ordered[r][k] == ordered[r][0] &&
             told[r][k] == ordered[r][0] + static_cast<float>(round);
      right = right && sums[r][k].sum == want && sums[r][k].count == size && ranks[k] == size;
    }
    INFO(Threads << " threads, " << blocks << " blocks, round " << round);
    CHECK(same);
    CHECK(right);
  }
}

}  // namespace

TEST_CASE("a warp's lanes get the same reduction") {
  struct nothing {};
  std::vector<float> got(64), want(2);
  run_blocks<nothing>(1, 64, [&](const host_machine<nothing>& machine) {
    const detail::warp_team<host_machine<nothing>> warp(machine);
    const auto x = static_cast<float>(machine.thread());
    got[static_cast<std::size_t>(machine.thread())] = warp.all_reduce(x, detail::plus{});
  });
  for (std::size_t k = 0; k < 64; ++k) CHECK(got[k] == (k < 32 ? 496.0f : 1520.0f));
}

TEST_CASE("a block's and a cluster's threads get the same reductions, round after round") {
  check_team<32, 1>(1);
  check_team<64, 1>(1);
  check_team<128, 1>(1);
  if (!sanitized) check_team<512, 8>(1);  // blocks that could share, alone
}

TEST_CASE("clusters reduce over all of their blocks") {
  check_team<512, 8>(2);
  if (!sanitized) check_team<512, 8>(3);  // 48 warps: no power of two
}

TEMPLATE_TEST_CASE("a block's row has the oracle's loss and gradient", "", float, bfloat16) {
  using memory = memory_of<64, 1>;
  constexpr detail::tile_shape held{4, 1, true};
  for (const index_t n : {1, 9, 700, 1000}) {
    std::vector<TestType> row(static_cast<std::size_t>(n)), gradient(row.size());
    const auto values = gaussian_row(n, 2, 3);
    for (std::size_t i = 0; i < row.size(); ++i) row[i] = store<TestType>(values[i]);
    const auto loss = as_token_loss(idft{});
    const auto y = static_cast<token_id>(n / 2);
    detail::row_report report;
    run_blocks<memory>(1, 64, [&](const host_machine<memory>& machine) {
      const detail::block_team<64, 1, host_machine<memory>> team(machine.memory(), 1, machine);
      detail::loss_row<held>(team, row.data(), static_cast<int>(n), detail::row_place{0, y, 1.0},
                             loss, detail::row_options{},
                             detail::gradient_row<TestType>{gradient.data(), false},
                             [&](const detail::row_report& r) { report = r; });
    });
    const auto want = exact(row.data(), n, y);
    const auto near = [](double a, long double b) {
      return std::fabs(a - static_cast<double>(b)) <=
             2e-6 * std::fmax(1, std::fabs(static_cast<double>(b)));
    };
    CHECK(near(report.phi, want.phi));
    CHECK(near(report.nll, -want.log_prob));
    const auto z = widened_row(row.data(), n);
    bool right = true;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const auto p = std::exp(static_cast<double>(z[i] - want.lse()));
      const double dz = report.weight * (p - (i == static_cast<std::size_t>(y) ? 1 : 0));
      right = right && std::fabs(static_cast<double>(load(gradient[i])) - dz) <=
                           1e-6 + 1.01 * storage<TestType>::rounding * std::fabs(dz);
    }
    CHECK(right);
  }
}

}  // namespace idiolect::test
