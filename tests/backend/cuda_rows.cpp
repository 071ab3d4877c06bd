// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// What the CUDA kernels do with a row, run on the host: where a row's vectors lie, what each thread
// holds, statistics, losses and gradients, for one thread and for groups of several.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include <idiolect/backend/cuda/loss_row.hpp>
#include <idiolect/backend/cuda/prepare.hpp>
#include <idiolect/backend/cuda/score_row.hpp>
#include <idiolect/backend/cuda/tuning.hpp>
#include <idiolect/loss/gates.hpp>
#include <idiolect/loss/loss.hpp>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/oracle.hpp"
#include "support/rows.hpp"
#include "support/thread_group.hpp"
#include "support/tolerance.hpp"

namespace idiolect::test {
namespace {

using detail::lone_thread;
using detail::row_layout;
using detail::tile_shape;

/// A row of n logits that begins `offset` elements after a 16-byte boundary.
template <class T>
class placed_row {
 public:
  placed_row(index_t n, int offset) : memory_(static_cast<std::size_t>(n + offset) + 16) {
    const auto past = reinterpret_cast<std::uintptr_t>(memory_.data()) % 16 / sizeof(T);
    data_ = memory_.data() + (past == 0 ? 0 : 16 / sizeof(T) - past) + offset;
  }
  placed_row(const row_values& values, int offset)
      : placed_row(static_cast<index_t>(values.size()), offset) {
    for (std::size_t i = 0; i < values.size(); ++i) data_[i] = store<T>(values[i]);
  }
  placed_row(const placed_row&) = delete;
  placed_row& operator=(const placed_row&) = delete;
  T* data() const { return data_; }

 private:
  std::vector<T> memory_;
  T* data_;
};

/// What one thread holds of a row in these tests.
template <class T>
inline constexpr tile_shape lone_tile{.vectors = 4, .edges = detail::max_edges<T>};
template <class T, int Threads>
inline constexpr tile_shape shared_tile{.vectors = 2,
                                        .edges = (detail::max_edges<T> + Threads - 1) / Threads};

/// A float sum loses half a unit in the last place at each merge of a tile, beside what is promised
/// for one tile; a kernel's rows have few tiles, these tests' up to hundreds.
template <class T>
double allowed_statistic(index_t n, index_t held) {
  using accumulator = accumulator_t<T>;
  constexpr double rounding = std::is_same_v<accumulator, float> ? 1.2e-7 : 2.3e-16;
  return statistic_tolerance<accumulator> + rounding * static_cast<double>(n / held);
}

worst_error statistics_error(const exact_stats& want, const token_score& got) {
  worst_error worst;
  const auto see = [&](const char* name, long double w, double g) {
    const double error = static_cast<double>(std::fabs(g - w) / std::max(1.0L, std::fabs(w)));
    worst.see(error, [&] { return std::string(name) + " " + std::to_string(g); });
  };
  see("log_prob", want.log_prob, got.log_prob);
  see("entropy", want.entropy(), got.entropy);
  see("varentropy", want.varentropy, got.varentropy);
  see("phi", want.phi, got.phi);
  return worst;
}

template <class T>
token_score lone_score(const T* row, index_t n, token_id y, double temperature = 1) {
  token_score score;
  detail::score_row<lone_tile<T>>(lone_thread{}, row, static_cast<int>(n), y,
                                  static_cast<accumulator_t<T>>(1 / temperature),
                                  [&](const token_score& s) { score = s; });
  return score;
}

/// Runs a row's loss with `threads` threads; G at `gradient`, or null for the loss alone.
template <int Threads, class T, class G, class Loss>
detail::row_report run_loss(const T* row, index_t n, token_id y, const Loss& f, G* gradient,
                            const loss_options& o = {}) {
  detail::row_report result;
  const auto loss = as_token_loss(f);
  const detail::row_place place{0, y, 1.0};
  const auto options = detail::row_options_of(o);
  const auto body = [&](const auto& group, auto shape) {
    constexpr tile_shape held = decltype(shape)::value;
    detail::loss_row<held>(group, row, static_cast<int>(n), place, loss, options,
                           detail::gradient_row<G>{gradient, o.accumulate},
                           [&](const detail::row_report& r) { result = r; });
  };
  if constexpr (Threads == 1) {
    body(lone_thread{}, std::integral_constant<tile_shape, lone_tile<T>>{});
  } else {
    run_group(Threads, [&](const auto& group) {
      body(group, std::integral_constant<tile_shape, shared_tile<T, Threads>>{});
    });
  }
  return result;
}

/// A slope in doubles only.
struct one_slope {
  template <class Stats>
  typename Stats::real weight(const Stats& s) const {
    return s.prob();
  }
  weight_slope<double> slope(const row_stats<double>& s) const { return {.log_prob = s.prob()}; }
};

}  // namespace

TEMPLATE_TEST_CASE("a row's vectors are aligned and hold each element once with its edges", "",
                   float, double, half) {
  constexpr int width = detail::vector_width<TestType>;
  bool aligned = true, once = true, few = true;
  for (int offset = 0; offset < width; ++offset) {
    const placed_row<TestType> row(4096, offset);
    std::vector<int> seen;
    for (int n = 1; n <= 4096; ++n) {
      const row_layout<TestType> layout(row.data(), n);
      seen.assign(static_cast<std::size_t>(n), 0);
      for (int v = 0; v < layout.vectors; ++v) {
        aligned =
            aligned && reinterpret_cast<std::uintptr_t>(row.data() + layout.vector(v)) % 16 == 0;
        for (int i = 0; i < width; ++i) ++seen.at(static_cast<std::size_t>(layout.vector(v) + i));
      }
      few = few && layout.edges() <= detail::max_edges<TestType>;
      for (int e = 0; e < layout.edges(); ++e) ++seen.at(static_cast<std::size_t>(layout.edge(e)));
      once = once && std::ranges::all_of(seen, [](int count) { return count == 1; });
    }
  }
  CHECK(aligned);
  CHECK(once);
  CHECK(few);
}

TEMPLATE_TEST_CASE("the threads of a group hold each element once", "", float, bfloat16) {
  const auto check = [](auto shape_constant, int threads, index_t n, int offset) {
    constexpr tile_shape shape = decltype(shape_constant)::value;
    row_values values(static_cast<std::size_t>(n));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i % 251);
    const placed_row<TestType> row(values, offset);
    const row_layout<TestType> layout(row.data(), static_cast<int>(n));
    using tile = detail::row_tile<TestType, shape>;
    std::vector<int> seen(251), want(251);
    for (const double v : values) ++want[static_cast<std::size_t>(v)];
    for (int t = 0; t < tile::tiles(layout, threads); ++t) {
      for (int rank = 0; rank < threads; ++rank) {
        tile held;
        held.read(row.data(), layout, t, rank, threads);
        held.for_each([&](accumulator_t<TestType> z) {
          if (z >= 0) ++seen.at(static_cast<std::size_t>(z));
        });
      }
    }
    INFO(threads << " threads, " << n << " logits, offset " << offset);
    CHECK(seen == want);
  };
  using whole_warp = std::integral_constant<tile_shape, tile_shape{4, 1, true}>;
  using block = std::integral_constant<tile_shape, tile_shape{8, 1, false}>;
  for (const index_t n : {1, 5, 31, 255, 256, 257, 300, 511, 512}) {
    for (int offset = 0; offset < 8; ++offset) check(whole_warp{}, 32, n, offset);
  }
  for (const index_t n : {1, 4095, 20000, 70001, 151936}) {
    for (const int offset : {0, 1, 3}) {
      check(block{}, 128, n, offset);
      check(block{}, 512, n, offset);
      check(block{}, 3 * 512, n, offset);
    }
  }
}

TEST_CASE("a planned row is held whole where it can be") {
  for (const bool clusters : {false, true}) {
    for (index_t bytes = 1; bytes < 3'000'000; bytes += bytes < 70'000 ? 1 : 977) {
      const auto plan = detail::plan_rows(bytes, clusters);
      const index_t held = detail::row_shapes[plan.shape].bytes();
      if (plan.shape != detail::last_row_shape && bytes > held) {
        FAIL_CHECK(bytes << " bytes do not fit " << held);
      }
      if (plan.shape > 0 && bytes <= detail::row_shapes[plan.shape - 1].bytes()) {
        FAIL_CHECK(bytes << " bytes would fit a smaller group");
      }
      if (plan.blocks < 1 || plan.blocks > detail::max_cluster) FAIL_CHECK(plan.blocks);
      if (clusters && bytes <= held * detail::max_cluster && bytes > plan.blocks * held) {
        FAIL_CHECK(bytes << " bytes on " << plan.blocks << " blocks");
      }
      if (!clusters && plan.blocks != 1) FAIL_CHECK("a cluster where there are none");
    }
  }
  CHECK(detail::plan_rows(262144, true).blocks == 4);  // bf16, V = 131072
  CHECK(detail::plan_rows(303872, true).blocks == 5);  // bf16, V = 151936
}

TEMPLATE_TEST_CASE("a row whose first tiles are far below the rest", "", float, double, bfloat16) {
  constexpr index_t n = 700;
  for (const double mask : {-1e4, -1e9, -3e38}) {
    row_values values = gaussian_row(n, 2, 77);
    for (std::size_t i = 0; i < 300; ++i) values[i] = mask;
    const placed_row<TestType> row(values, 1);
    for (const double temperature : {1.0, 0.7}) {
      const auto error = statistics_error(exact(row.data(), n, 500, temperature),
                                          lone_score(row.data(), n, 500, temperature));
      INFO("mask " << mask << ", temperature " << temperature << ": " << error.where);
      CHECK(error.value <= allowed_statistic<TestType>(n, 16));
    }
  }
}

TEST_CASE("a gradient in double precision keeps its digits when float gradients are added to it") {
  const placed_row<float> row(gaussian_row(100, 2, 6), 1);
  std::vector<double> alone(100), sum(100, 1e9);
  (void)run_loss<1>(row.data(), 100, 50, idft{}, alone.data());
  (void)run_loss<1>(row.data(), 100, 50, idft{}, sum.data(), {.accumulate = true});
  for (std::size_t i = 0; i < 100; ++i) CHECK(sum[i] - 1e9 == Approx(alone[i]).margin(2e-7));
}

TEMPLATE_TEST_CASE("a kernel's statistics are the oracle's for every length and place", "", float,
                   double, half, bfloat16) {
  worst_error worst;
  constexpr int width = detail::vector_width<TestType>;
  for (index_t n = 1; n <= 4096; n += n < 600 ? 1 : 7) {
    const int offset = static_cast<int>(n % width);
    const placed_row<TestType> row(gaussian_row(n, 2, static_cast<std::uint64_t>(n)), offset);
    const auto y = static_cast<token_id>(n * 7 % n);
    const auto got = lone_score(row.data(), n, y);
    const double allowed = allowed_statistic<TestType>(n, 4 * width);
    const auto error = statistics_error(exact(row.data(), n, y), got);
    worst.see(error.value / allowed, [&] { return std::to_string(n) + ": " + error.where; });
  }
  INFO(worst.where);
  CHECK(worst.value <= 1);
}

TEMPLATE_TEST_CASE("a kernel's statistics hold on rows that are hard to sum", "", float, double,
                   half, bfloat16) {
  constexpr int width = detail::vector_width<TestType>;
  for (const index_t n : {1, 2, 40, 1000}) {
    for (const auto& [name, values] : adversarial_rows(n, storage<TestType>::largest)) {
      const placed_row<TestType> row(values, 1);
      index_t top = 0;
      for (index_t i = 0; i < n; ++i) {
        if (load(row.data()[i]) > load(row.data()[top])) top = i;
      }
      for (const double temperature : {1.0, 0.3, 2.0}) {
        const auto want = exact(row.data(), n, static_cast<token_id>(top), temperature);
        const auto got = lone_score(row.data(), n, static_cast<token_id>(top), temperature);
        const auto error = statistics_error(want, got);
        INFO(name << ", " << n << " logits, temperature " << temperature << ": " << error.where);
        CHECK(error.value <= allowed_statistic<TestType>(n, 4 * width));
      }
    }
  }
}

TEMPLATE_TEST_CASE("a shift of all logits leaves a kernel's numbers as they are", "", float,
                   double) {
  // 1e4 is a multiple of each logit's last place: the shifted row is exactly the row and 1e4.
  row_values values = gaussian_row(700, 2, 9);
  for (double& z : values) z = std::round(z * 64) / 64;
  row_values shifted = values;
  for (double& z : shifted) z += 8192;
  const placed_row<TestType> a(values, 1), b(shifted, 1);
  for (const double temperature : {1.0, 0.7}) {
    const auto x = lone_score(a.data(), 700, 5, temperature);
    const auto y = lone_score(b.data(), 700, 5, temperature);
    CHECK(x.log_prob == y.log_prob);
    CHECK(x.phi == y.phi);
    CHECK(x.varentropy == y.varentropy);
    std::vector<TestType> da(700), db(700);
    const loss_options o{.temperature = temperature};
    (void)run_loss<1>(a.data(), 700, 5, idft{}, da.data(), o);
    (void)run_loss<1>(b.data(), 700, 5, idft{}, db.data(), o);
    CHECK(same_bits(da, db));
  }
}

TEMPLATE_TEST_CASE("a row that is not finite is found wherever the number is", "", float, double,
                   half, bfloat16) {
  for (const index_t n : {1, 9, 300}) {
    for (const auto& [name, values] : non_finite_rows(n)) {
      const placed_row<TestType> row(values, 1);
      INFO(name << ", " << n << " logits");
      CHECK(lone_score(row.data(), n, 0).status == token_status::non_finite);
      placed_row<TestType> gradient(n, 0);
      for (const auto how : {non_finite::propagate, non_finite::skip}) {
        const auto r =
            run_loss<3>(row.data(), n, 0, idft{}, gradient.data(), {.on_non_finite = how});
        CHECK(r.status == detail::row_status::bad_logits);
        const bool skip = how == non_finite::skip;
        CHECK((skip ? r.loss == 0 : std::isnan(r.loss)));
        bool filled = true;
        for (index_t i = 0; i < n; ++i) {
          const double g = static_cast<double>(load(gradient.data()[i]));
          filled = filled && (skip ? g == 0 : std::isnan(g));
        }
        CHECK(filled);
      }
    }
  }
}

TEMPLATE_TEST_CASE("a kernel's gradient is the formula's for every length and place", "",
                   (std::pair<float, float>), (std::pair<double, double>), (std::pair<half, half>),
                   (std::pair<bfloat16, bfloat16>), (std::pair<float, bfloat16>),
                   (std::pair<bfloat16, float>), (std::pair<half, double>),
                   (std::pair<double, half>)) {
  using T = typename TestType::first_type;
  using G = typename TestType::second_type;
  worst_error worst;
  bool beyond = true;
  const auto f = through_weight(idft{.beta = 2});
  for (index_t n = 1; n <= 4096; n += n < 200 ? 1 : 101) {
    const placed_row<T> row(gaussian_row(n, 2, static_cast<std::uint64_t>(n) + 1),
                            static_cast<int>(n % detail::vector_width<T>));
    const auto y = static_cast<token_id>(n / 2);
    placed_row<G> gradient(n + 1, static_cast<int>(n / 3 % detail::vector_width<G>));
    gradient.data()[n] = store<G>(7.0);
    (void)run_loss<1>(row.data(), n, y, f, gradient.data(), {.temperature = 0.8});
    beyond = beyond && load(gradient.data()[n]) == 7;
    const auto z = exact(row.data(), n, y, 0.8L);
    row_stats<double> stats;
    stats.max = static_cast<double>(z.max);
    stats.log_sum = static_cast<double>(z.log_sum);
    stats.mean_offset = static_cast<double>(z.mean_offset);
    stats.target_offset = static_cast<double>(z.log_prob + z.log_sum);
    const auto error =
        gradient_error<accumulator_t<T>>(row.data(), gradient.data(), n, y, f.evaluate(stats), 0.8);
    worst.see(error.value, [&] { return std::to_string(n) + ", " + error.where; });
  }
  INFO(worst.where);
  // The coefficients come from the loss, here in the type of the sums: an error of log p counts up
  // to gamma_max + 1 = 3 times in p^gamma (1 + gamma log p ...).
  CHECK(worst.value <= (std::is_same_v<accumulator_t<T>, float> ? 3 : 1));
  CHECK(beyond);
}

TEMPLATE_TEST_CASE("groups of any size agree, and one group with itself to the bit", "", float,
                   bfloat16, double) {
  for (const index_t n : {1, 6, 77, 1000}) {
    const placed_row<TestType> row(gaussian_row(n, 2, 31), 1);
    const auto y = static_cast<token_id>(n - 1);
    std::vector<std::vector<TestType>> gradients(
        5, std::vector<TestType>(static_cast<std::size_t>(n)));
    std::vector<detail::row_report> reports(5);
    const auto run = [&](auto threads, std::size_t k) {
      reports[k] =
          run_loss<decltype(threads)::value>(row.data(), n, y, deft{}, gradients[k].data());
    };
    run(std::integral_constant<int, 1>{}, 0);
    run(std::integral_constant<int, 2>{}, 1);
    run(std::integral_constant<int, 3>{}, 2);
    run(std::integral_constant<int, 3>{}, 3);
    run(std::integral_constant<int, 7>{}, 4);
    CHECK(same_bits(gradients[2], gradients[3]));
    CHECK(reports[2].loss == reports[3].loss);
    for (const std::size_t k : {1u, 2u, 4u}) {
      CHECK(std::fabs(reports[k].phi - reports[0].phi) <= 2 * allowed_statistic<TestType>(n, 16));
      const auto want = exact(row.data(), n, y);
      row_stats<double, moments::collision> stats;
      stats.log_sum = static_cast<double>(want.log_sum);
      stats.target_offset = static_cast<double>(want.log_prob + want.log_sum);
      stats.collision_or_nan = static_cast<double>(want.collision);
      const auto error = gradient_error<accumulator_t<TestType>>(
          row.data(), gradients[k].data(), n, y, as_token_loss(deft{}).evaluate(stats));
      INFO(n << " logits, group " << k << ": " << error.where);
      CHECK(error.value <= 1);
    }
  }
}

TEMPLATE_TEST_CASE("a kernel's gradient in place and added", "", float, half) {
  for (const index_t n : {1, 50, 999}) {
    const auto values = gaussian_row(n, 2, 17);
    const placed_row<TestType> apart(values, 3), in_place(values, 3), added(n, 2);
    std::vector<TestType> want(static_cast<std::size_t>(n));
    const auto y = static_cast<token_id>(n / 4);
    (void)run_loss<3>(apart.data(), n, y, idft{}, want.data());
    (void)run_loss<3>(in_place.data(), n, y, idft{}, in_place.data());
    std::fill_n(added.data(), n, store<TestType>(0.25));
    (void)run_loss<3>(apart.data(), n, y, idft{}, added.data(), {.accumulate = true});
    bool same = true, sum = true;
    for (index_t i = 0; i < n; ++i) {
      const auto k = static_cast<std::size_t>(i);
      same = same && std::memcmp(&want[k], in_place.data() + i, sizeof(TestType)) == 0;
      const double total = static_cast<double>(load(want[k])) + 0.25;
      sum = sum && std::fabs(static_cast<double>(load(added.data()[i])) - total) <=
                       3 * storage<TestType>::rounding;
    }
    CHECK(same);
    CHECK(sum);
  }
}

TEST_CASE("a gate that takes only doubles runs in a kernel that sums in float") {
  struct only_double {
    double weight(const row_stats<double>& s) const { return s.prob() / 2; }
  };
  STATIC_REQUIRE(std::is_same_v<detail::evaluation_t<gated<only_double>, float>, double>);
  STATIC_REQUIRE(std::is_same_v<detail::evaluation_t<gated<idft>, float>, float>);
  STATIC_REQUIRE(std::is_same_v<detail::evaluation_t<half_entropy_bonus, float>, float>);
  const placed_row<float> row(gaussian_row(90, 2, 4), 0);
  std::vector<float> a(90), b(90);
  const auto x = run_loss<1>(row.data(), 90, 7, only_double{}, a.data());
  const auto y = run_loss<1>(row.data(), 90, 7, power{}, b.data());
  CHECK(x.loss == Approx(y.loss / 2).epsilon(1e-6));
  for (std::size_t i = 0; i < 90; ++i) CHECK(a[i] == Approx(b[i] / 2).epsilon(1e-5).margin(1e-9));
}

TEST_CASE("a gate with a slope in doubles only is evaluated in doubles") {
  using sloped = decltype(through_weight(one_slope{}));
  STATIC_REQUIRE(std::is_same_v<detail::evaluation_t<sloped, float>, double>);
  STATIC_REQUIRE(
      std::is_same_v<detail::evaluation_t<decltype(through_weight(idft{})), float>, float>);
}

TEST_CASE("targets are counted and scaled as the CPU does") {
  random_source random(3);
  for (const index_t rows : {1, 2, 17, 300}) {
    auto targets = random_targets(rows, 50, 5);
    for (index_t i = 0; i < rows; ++i) {
      if (random.uniform() < 0.3) targets[static_cast<std::size_t>(i)] = ignored_target;
    }
    std::vector<index_t> offsets{0};
    while (offsets.back() < rows) {
      offsets.push_back(std::min(rows, offsets.back() + random.below(6)));
    }
    for (const auto& reduce : {reduction::mean(), reduction::sum(), reduction::mean_over(12),
                               reduction::sequence_mean(), reduction::none()}) {
      const loss_options o{.reduce = reduce, .sequence_offsets = offsets};
      const detail::row_scales want(std::span<const token_id>(targets), o);
      const bool by_sequence = reduce.how == reduction::kind::sequence_mean;
      const auto sequences = by_sequence ? static_cast<index_t>(offsets.size()) - 1 : 0;
      for (const int threads : {1, 4}) {
        std::vector<double> scales(offsets.size());
        detail::prepared_targets prepared{};
        const detail::target_check<token_id> check{
            targets.data(), rows,          50,
            ignored_target, reduce,        by_sequence ? offsets.data() : nullptr,
            sequences,      scales.data(), &prepared};
        run_group(threads, [&](const auto& group) {  // each thread a team of its own
          detail::prepare_targets(check, group, lone_thread{}, group.rank(), group.size());
        });
        CHECK(prepared.valid == want.valid());
        CHECK(prepared.status.ok());
        for (index_t k = 0; k < sequences; ++k) {
          for (index_t i = offsets[static_cast<std::size_t>(k)];
               i < offsets[static_cast<std::size_t>(k + 1)]; ++i) {
            CHECK(scales[static_cast<std::size_t>(k)] == want[i]);
          }
        }
        if (!by_sequence) CHECK(prepared.scale == want[0]);
      }
    }
  }
}

TEST_CASE("wrong targets and offsets are found, the first of them") {
  std::vector<token_id> targets(40, 3);
  std::vector<index_t> offsets{0, 10, 40};
  std::vector<double> scales(3);
  const auto run = [&] {
    detail::prepared_targets prepared{};
    const detail::target_check<token_id> check{
        targets.data(), 40,       50, ignored_target, reduction::sequence_mean(), offsets.data(), 2,
        scales.data(),  &prepared};
    run_group(3, [&](const auto& group) {
      detail::prepare_targets(check, group, lone_thread{}, group.rank(), group.size());
    });
    return prepared;
  };
  CHECK(run().status.ok());
  targets[31] = 50;
  targets[8] = -1;
  CHECK(run().status.bad_target_row == 8);
  CHECK(run().valid == 38);
  CHECK(raised<target_error>([&] { check(run().status); }).row() == 8);
  targets[8] = targets[31] = 0;
  offsets = {0, 41, 40};
  CHECK(run().status.bad_offsets);
  offsets = {1, 10, 40};
  CHECK(run().status.bad_offsets);
  offsets = {0, 10, 39};
  CHECK(run().status.bad_offsets);
  CHECK(raised([&] { check(run().status); }).argument() == "sequence_offsets");
}

}  // namespace idiolect::test
