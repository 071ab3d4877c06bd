// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// What a device's threads do to draw a token, run on the host: the cuts beside the sampler's plain
// definition, the draws beside its distribution, the same bits for every size of the group.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <idiolect/backend/cuda/row_draw.hpp>
#include <idiolect/backend/cuda/row_group.hpp>
#include <idiolect/backend/cuda/sum_table.hpp>
#include <idiolect/core/scalar.hpp>
#include <idiolect/stats/sampling.hpp>
#include <idiolect/stats/selection.hpp>

#include "support/catch.hpp"
#include "support/rows.hpp"
#include "support/sampler_cases.hpp"
#include "support/thread_group.hpp"

namespace idiolect::test {
namespace {

// A mass errs by half a unit of 2^-k, V 2^k <= 2^62, and by the rounding of its exponential.
constexpr double mass_error = 1.2e-7;



/// The kept ids in ascending order, and a token for each u.
struct drawn {
  std::vector<token_id> kept;
  std::vector<token_id> tokens;

  friend bool operator==(const drawn&, const drawn&) = default;
};

template <class Group, class T>
drawn draw_by(const Group& group, detail::sum_memory& memory, const std::vector<T>& row,
              const sampler_options& o, const std::vector<double>& draws) {
  const auto n = static_cast<index_t>(row.size());
  const auto max = static_cast<T>(maximum(row));
  drawn r;
  detail::row_draw selection(group, memory, row.data(), n, max, o);
  if (o.temperature > 0) {
    const auto cut = selection.select();
    for (index_t i = 0; i < n; ++i) {
      const T z = row[static_cast<std::size_t>(i)];
      // The definition drops what lies so deep that the distance is infinite.
      if (cut.keeps(z, i) && std::isfinite(static_cast<double>(z) - static_cast<double>(max))) {
        r.kept.push_back(static_cast<token_id>(i));
      }
    }
  } else {
    r.kept.push_back(selection.first_of_maximum());
  }
  for (const double u : draws) {
    r.tokens.push_back(detail::row_draw(group, memory, row.data(), n, max, o).draw(u));
  }
  return r;
}

template <class T>
drawn draw_alone(const std::vector<T>& row, const sampler_options& o,
                 const std::vector<double>& draws) {
  static detail::sum_memory memory;
  return draw_by(detail::lone_thread{}, memory, row, o, draws);
}

template <class T>
drawn draw_together(int threads, const std::vector<T>& row, const sampler_options& o,
                    const std::vector<double>& draws) {
  detail::sum_memory memory;
  std::vector<drawn> found(static_cast<std::size_t>(threads));
  run_group(threads, [&](const thread_group& group) {
    found[static_cast<std::size_t>(group.rank())] = draw_by(group, memory, row, o, draws);
  });
  for (const drawn& d : found) {
    if (!(d == found.front())) FAIL("the threads of a group differ");
  }
  return found.front();
}

/// The same tokens, but for what has no mass.
bool same_kept(const std::vector<token_id>& found, const sampler_distribution& expected) {
  std::size_t k = 0;
  for (std::size_t i = 0; i < expected.tokens.size(); ++i) {
    if (k < found.size() && found[k] == expected.tokens[i]) {
      ++k;
    } else if (expected.probs[i] > 1e-17) {
      return false;
    }
  }
  return k == found.size();
}

struct tally {
  index_t compared = 0;
  index_t near_ties = 0;
  index_t draws = 0;         // at random
  index_t other_tokens = 0;  // than the CPU's, all within the error of a border

  void print(const char* what) const {
    std::cout << "device draws, " << what << ": " << other_tokens << " of " << draws
              << " tokens differ from the CPU's, each within the error of a border; " << near_ties
              << " of " << compared << " cuts are near ties\n";
  }
};

/// Fails unless the cuts are the definition's, or its own a hair further; and unless each token is
/// the definition's, or u within the error of it. Counts those that select_token gives otherwise.
template <class T>
drawn check(const std::vector<T>& row, const sampler_options& o, random_source& random, tally& t) {
  const auto n = static_cast<index_t>(row.size());
  const std::vector<double> draws = {0.0, random.uniform(), random.uniform(),
                                     std::nextafter(1.0, 0.0)};
  const drawn found = draw_alone(row, o, draws);
  auto expected = sampled_distribution(row.data(), n, o);
  ++t.compared;
  if (!same_kept(found.kept, expected)) {
    ++t.near_ties;
    // The definition itself, with options a hair to either side, keeps fewer and keeps more.
    sampler_distribution least, most;
    for (const double hair : {-1e-6, 1e-6}) {
      sampler_options other = o;
      if (o.top_p < 1) other.top_p = std::clamp(o.top_p * (1 + hair), 1e-300, 1.0);
      if (o.min_p > 0) other.min_p = std::clamp(o.min_p * (1 - hair), 0.0, 1.0);
      (hair < 0 ? least : most) = sampled_distribution(row.data(), n, other);
    }
    if (!std::ranges::includes(found.kept, least.tokens) ||
        !std::ranges::includes(most.tokens, found.kept)) {
      FAIL("cut elsewhere: " << found.kept.size() << " kept, the definition "
                             << expected.tokens.size());
    }
    return found;
  }
  selection_scratch scratch;
  for (std::size_t k = 0; k < draws.size(); ++k) {
    const double distance = distance_of(draws[k], found.tokens[k], expected);
    if (distance > 2 * mass_error) FAIL("u is " << distance << " away from the token");
    if (k == 0 || k + 1 == draws.size()) continue;  // the ends of a row are where the CPU prunes
    ++t.draws;
    const token_id cpu = select_token(row.data(), n, maximum(row), o, draws[k], scratch);
    t.other_tokens += cpu != found.tokens[k] ? 1 : 0;
  }
  return found;
}

}  // namespace

TEST_CASE("keys order numbers as their values do") {
  const std::vector<float> ascending = {-3e38f, -2.5f,  -1e-40f, -1e-45f, 0.0f,
                                        1e-45f, 1e-40f, 2.5f,    3e38f};
  for (std::size_t i = 1; i < ascending.size(); ++i) {
    CHECK(detail::order_key(ascending[i - 1]) < detail::order_key(ascending[i]));
    CHECK(detail::order_key(static_cast<double>(ascending[i - 1])) <
          detail::order_key(static_cast<double>(ascending[i])));
  }
  for (const float z : ascending) {
    CHECK(detail::ordered_value<float>(detail::order_key(z)) == z);
    CHECK(detail::ordered_value<double>(detail::order_key(static_cast<double>(z))) ==
          static_cast<double>(z));
  }
  CHECK(detail::order_key(-0.0f) == detail::order_key(0.0f));
  CHECK(detail::order_key(-infinity) < detail::order_key(-1e308));
}

TEST_CASE("a table of sums finds its places and carries") {
  detail::sum_memory memory;
  for (const int threads : {1, 3, 4}) {
    run_group(threads, [&](const thread_group& group) {
      detail::sum_table sums(group, memory);
      sums.clear();
      // Entry e of the odd ones holds e 2^40 + 2^32 - 1, in two halves that carry.
      for (int e = group.rank(); e < detail::sum_memory::entries; e += group.size()) {
        if (e % 2 == 0) continue;
        sums.add(e, (static_cast<std::uint64_t>(e) << 40) + 0x80000000u);
        sums.add((e + 2) % detail::sum_memory::entries, 0x7fffffffu);
      }
      std::uint64_t expected = 0;
      for (std::uint64_t e = 1; e < 2048; e += 2) expected += (e << 40) + 0xffffffffu;
      const auto total = sums.total();
      std::uint64_t before = 0;
      int wrong = total == expected ? 0 : 1;
      for (int e = 1; e < detail::sum_memory::entries; e += 2) {
        const std::uint64_t at = (static_cast<std::uint64_t>(e) << 40) + 0xffffffffu;
        const auto first = sums.find(before);
        const auto last = sums.find(before + at - 1);
        wrong += first.entry == e && first.before == before && first.at == at ? 0 : 1;
        wrong += last.entry == e && last.before == before ? 0 : 1;
        before += at;
      }
      if (group.rank() == 0) CHECK(wrong == 0);
    });
  }
}

TEST_CASE("a device cuts and draws as the definition for every short row") {
  tally t;
  random_source random(19);
  for (index_t n = 1; n <= 300; ++n) {
    const auto options = all_options(n);
    std::size_t turn = static_cast<std::size_t>(n);
    for (const auto& [name, values] : adversarial_rows(n, 1e30)) {
      const auto exact = stored<float>(values);
      const auto coarse = stored<bfloat16>(values);  // ties
      std::vector<float> ties;
      for (const bfloat16 z : coarse) ties.push_back(load(z));
      for (int k = 0; k < 2; ++k) {
        const auto& o = options[(turn += 37) % options.size()];
        INFO(name << ", n " << n << ", " << name_of(o));
        check(exact, o, random, t);
        check(ties, o, random, t);
        check(values, o, random, t);
      }
    }
  }
  t.print("short rows");
  CHECK(t.compared > 30'000);
  CHECK(t.near_ties * 1000 < t.compared);
  CHECK(t.other_tokens * 10'000 < t.draws);
}

TEST_CASE("a device cuts and draws as the definition for long rows") {
  tally t;
  random_source random(23);
  for (const index_t n : {1000, 4097, 32'000, 151'936}) {
    for (int round = 0; round < (n < 5000 ? 120 : 12); ++round) {
      auto values = gaussian_row(n, random.uniform(0.3, 5), random.bits(), random.uniform(-9, 9));
      sampler_options o;
      o.temperature = std::exp(random.uniform(-3, 1.5));
      o.top_k = random.below(3) == 0 ? 1 + random.below(n) : 0;
      o.top_p = random.below(4) == 0 ? 1 : 1 - random.uniform() * random.uniform();
      o.min_p = random.below(3) == 0 ? random.uniform() * random.uniform() : 0;
      o.order =
          random.below(2) == 0 ? sampler_order::temperature_first : sampler_order::temperature_last;
      INFO("n " << n << ", " << name_of(o));
      check(stored<float>(values), o, random, t);
      for (double& z : values) z = std::round(z * 8) / 8;  // as a 16-bit type leaves it
      check(stored<float>(values), o, random, t);
      if (n < 5000) check(values, o, random, t);
    }
  }
  t.print("long rows");
  CHECK(t.near_ties * 200 < t.compared);
  CHECK(t.other_tokens * 1000 < t.draws);
}

TEST_CASE("ties at the edge are cut by id on a device") {
  const index_t n = 40'000;
  tally t;
  random_source random(3);
  std::vector<float> row(static_cast<std::size_t>(n), 0.0f);
  for (const std::size_t i : {std::size_t{7}, std::size_t{20'000}, std::size_t{39'999}}) row[i] = 2;
  for (std::size_t i = 1; i < row.size(); i += 3) row[i] *= -1;  // -0 ties with 0
  for (const auto order : {sampler_order::temperature_first, sampler_order::temperature_last}) {
    for (const double top_p : {0.1, 0.5, 0.9}) {
      check(row, {.temperature = 0.9, .top_p = top_p, .order = order}, random, t);
    }
    for (const index_t top_k : {index_t{2}, index_t{3}, index_t{4}, index_t{1000}, n - 1, n}) {
      check(row, {.temperature = 0.9, .top_k = top_k, .order = order}, random, t);
      // Two cuts within one tie.
      check(row, {.temperature = 0.9, .top_k = top_k, .top_p = 0.7, .order = order}, random, t);
      check(row, {.temperature = 0.9, .top_k = top_k, .top_p = 0.7, .min_p = 0.2, .order = order},
            random, t);
    }
    const std::vector<float> equal(static_cast<std::size_t>(n), -3.5f);
    for (const double top_p : {0.25, 0.5, 1.0}) {  // exact in binary
      check(equal, {.top_p = top_p, .order = order}, random, t);
    }
  }
  CHECK(t.near_ties == 0);
}

TEST_CASE("rows that crowd into one bin are still ranked on a device") {
  // Clusters within clusters: every level of bins holds nearly everything in one bin.
  const index_t n = 10'000;
  std::vector<double> row(static_cast<std::size_t>(n));
  random_source random(29);
  for (double& z : row) z = -std::exp2(-random.uniform(0, 45));
  row[5] = 0;
  row[6] = -20;
  tally t;
  for (const double top_p : {0.001, 0.3, 0.77, 0.9999}) {
    check(row, {.top_p = top_p}, random, t);
    check(stored<float>(row), {.top_p = top_p}, random, t);
  }
  for (const index_t top_k : {1, 2, 77, 5000, 9999}) check(row, {.top_k = top_k}, random, t);
  CHECK(t.near_ties == 0);
}

TEST_CASE("extreme temperatures and logits do not overflow on a device") {
  tally t;
  random_source random(31);
  // What differs by less than the rounding of a distance from the maximum ties in the definition
  // and not here: no such numbers.
  const std::vector<double> wide = {-1.7e308, 0, 1.7e308, 1.7e308, -infinity, 5e307};
  const std::vector<float> narrow = {-1e38f, -1e-42f, 2e38f, 2e38f, -1e38f, 5e37f};
  for (const double temperature : {1e-310, 1e-300, 1.0, 1e300, 1.7e308}) {
    for (const auto order : {sampler_order::temperature_first, sampler_order::temperature_last}) {
      for (const sampler_options& o :
           {sampler_options{.temperature = temperature, .order = order},
            sampler_options{.temperature = temperature, .top_k = 3, .order = order},
            sampler_options{.temperature = temperature, .top_p = 0.9, .order = order},
            sampler_options{.temperature = temperature, .min_p = 0.9, .order = order}}) {
        INFO(name_of(o));
        check(wide, o, random, t);
        check(narrow, o, random, t);
      }
    }
  }
  CHECK(t.near_ties == 0);
}

TEST_CASE("a draw does not depend on the size of the group") {
  random_source random(37);
  for (const index_t n : {1, 2, 5, 64, 257, 3000}) {
    const auto options = all_options(n);
    for (int round = 0; round < 6; ++round) {
      auto values = gaussian_row(n, 2, random.bits());
      if (round % 2 == 0) {
        for (double& z : values) z = std::round(z * 2) / 2;
      }
      const auto row = stored<float>(values);
      const auto& o =
          options[static_cast<std::size_t>(random.below(static_cast<index_t>(options.size())))];
      const std::vector<double> draws = {0.0, random.uniform(), std::nextafter(1.0, 0.0)};
      INFO("n " << n << ", " << name_of(o));
      const auto alone = draw_alone(row, o, draws);
      for (const int threads : {3, 4}) CHECK(draw_together(threads, row, o, draws) == alone);
    }
  }
}

}  // namespace idiolect::test
