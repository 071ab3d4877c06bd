// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The numerical contract's edge cases, for every backend and scalar type: shifts, masked logits,
// rows that are not finite, targets that are wrong, and calls with little or nothing to do.

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <idiolect/loss/gates.hpp>
#include <idiolect/loss/loss.hpp>

#include "support/catch.hpp"
#include "support/cells.hpp"
#include "support/gradient_check.hpp"
#include "support/oracle.hpp"
#include "support/rows.hpp"

namespace idiolect::test {
namespace {

/// A loss report and the gradient of a call, N rows of V, contiguous.
template <class T>
struct outcome {
  loss_report report;
  std::vector<T> gradient;
};

template <class Cell, class Loss = idft>
outcome<typename Cell::scalar> run(const std::vector<typename Cell::scalar>& logits,
                                   const std::vector<token_id>& targets, const Loss& f = {},
                                   const loss_options& options = {}, double before = not_a_number) {
  using T = typename Cell::scalar;
  const auto rows = static_cast<index_t>(targets.size());
  const index_t cols = rows > 0 ? static_cast<index_t>(logits.size()) / rows : 7;
  outcome<T> r;
  r.gradient.assign(logits.size(), store<T>(before));
  r.report = loss_and_gradient(Cell::backend(), matrix_view<const T>(logits.data(), rows, cols),
                               targets, f, matrix_view<T>(r.gradient.data(), rows, cols), options);
  return r;
}

template <class T>
bool all_equal(const T* x, index_t n, double value) {
  for (index_t i = 0; i < n; ++i) {
    const auto v = static_cast<double>(load(x[i]));
    if (std::isnan(value) ? !std::isnan(v) : v != value) return false;
  }
  return true;
}

template <class T>
std::vector<T> part(const std::vector<T>& x, index_t first, index_t count) {
  return {x.begin() + first, x.begin() + first + count};
}

/// Five rows of which the second and the fourth are `bad`; the second is ignored.
template <class T>
std::vector<T> with_bad_rows(const row_values& bad) {
  const auto cols = static_cast<index_t>(bad.size());
  row_values all;
  for (int i = 0; i < 5; ++i) {
    const auto row = i % 2 == 1 ? bad : gaussian_row(cols, 2, static_cast<std::uint64_t>(i) + 60);
    all.insert(all.end(), row.begin(), row.end());
  }
  return stored<T>(all);
}

const std::vector<token_id> bad_row_targets{0, -100, 2, 1, 3};

}  // namespace

TEMPLATE_TEST_CASE("a shift of all logits changes nothing", "", IDIOLECT_TEST_CELLS) {
  // Multiples of what the type resolves at 1e4, so that the shift itself is exact.
  using T = typename TestType::scalar;
  const double step = std::max(0x1.0p-10, 16384 * storage<T>::rounding);
  random_source random(51);
  row_values row(2500), up, down;
  for (double& z : row) z = -step * static_cast<double>(random.below(step < 1 ? 8192 : 5));
  for (const double z : row) up.push_back(z + 9984), down.push_back(z - 9984);
  const std::vector<token_id> targets{1};
  for (const double temperature : {1.0, 0.7}) {
    const loss_options options{.temperature = temperature};
    const auto plain = run<TestType>(stored<T>(row), targets, half_entropy_bonus{}, options);
    for (const auto& shifted : {up, down}) {
      const auto moved = run<TestType>(stored<T>(shifted), targets, half_entropy_bonus{}, options);
      // Divided by a temperature, a logit at 1e4 is rounded to double: 2^-40.
      CHECK(scaled_error(moved.report.loss, plain.report.loss) <= (temperature == 1 ? 0 : 1e-11));
      CHECK(scaled_error(moved.report.phi.mean, plain.report.phi.mean) <=
            (temperature == 1 ? 0 : 1e-11));
      if (temperature == 1) CHECK(same_bits(moved.gradient, plain.gradient));
    }
  }
}

TEMPLATE_TEST_CASE("a masked logit contributes nothing and has no gradient", "",
                   IDIOLECT_TEST_CELLS) {
  using T = typename TestType::scalar;
  using A = typename TestType::accumulator;
  // Masked: the first, one within, the last, all of the CPU backend's first block; all but one.
  for (const index_t prefix : {1, 3, 2048, 2600}) {
    const index_t cols = 2700;
    row_values with = gaussian_row(cols, 2, 52), without;
    for (index_t i = 0; i < prefix; ++i) with[static_cast<std::size_t>(i)] = -infinity;
    with[2650] = with[2699] = -infinity;
    for (const double z : with) {
      if (z > -infinity) without.push_back(z);
    }
    const auto logits = stored<T>(with);
    const auto masked = run<TestType>(logits, {2620}, half_entropy_bonus{});
    const auto plain = run<TestType>(stored<T>(without), {static_cast<token_id>(2620 - prefix)},
                                     half_entropy_bonus{});
    INFO(prefix << " leading masked logits");
    CHECK(scaled_error(masked.report.loss, plain.report.loss) <= 2 * statistic_tolerance<A>);
    CHECK(scaled_error(masked.report.phi.mean, plain.report.phi.mean) <=
          2 * statistic_tolerance<A>);
    CHECK(all_equal(masked.gradient.data(), prefix, 0));
    CHECK(all_equal(masked.gradient.data() + 2650, 1, 0));
    CHECK(all_equal(masked.gradient.data() + 2699, 1, 0));
    const auto e = gradient_error<A>(logits.data(), masked.gradient.data(), cols, 2620,
                                     half_entropy_bonus::partials);
    INFO(e.where);
    CHECK(e.value <= 1);
  }
  // Only the target is left: certain.
  auto logits = stored<T>(row_values(100, -infinity));
  logits[77] = store<T>(3.0);
  const auto certain = run<TestType>(logits, {77}, nll{});
  CHECK(certain.report.loss == 0);
  CHECK(certain.report.phi.mean == 0);
  CHECK(all_equal(certain.gradient.data(), 100, 0));
}

TEMPLATE_TEST_CASE("a masked target is infinitely unlikely", "", IDIOLECT_TEST_CELLS) {
  using T = typename TestType::scalar;
  const auto logits = stored<T>({0, 1, -infinity, 2});
  const auto plain = run<TestType>(logits, {2}, nll{});
  CHECK(plain.report.loss == infinity);
  CHECK(plain.report.mean_nll == infinity);
  CHECK(plain.report.non_finite == 1);  // an infinite loss is said
  // The likelihood's gradient p - e_y is finite and says where to go.
  CHECK(static_cast<double>(load(plain.gradient[2])) == -1);
  CHECK(static_cast<double>(load(plain.gradient[0])) > 0);

  const auto gated = run<TestType>(logits, {2}, idft{});
  CHECK(gated.report.loss == 0);
  CHECK(all_equal(gated.gradient.data(), 4, 0));
  const auto through = run<TestType>(logits, {2}, through_weight(idft{}));
  CHECK(through.report.loss == 0);
  CHECK(all_equal(through.gradient.data(), 4, 0));
}

TEMPLATE_TEST_CASE("rows that are not finite propagate", "", IDIOLECT_TEST_CELLS) {
  using T = typename TestType::scalar;
  for (const index_t cols : {5, 300}) {
    for (const auto& bad : non_finite_rows(cols)) {
      const auto logits = with_bad_rows<T>(bad.values);
      const auto r = run<TestType>(logits, bad_row_targets, idft{}, {.reduce = reduction::none()});
      bool good = std::isnan(r.report.loss) && r.report.valid == 4 && r.report.non_finite == 1 &&
                  std::isfinite(r.report.mean_nll) && r.report.phi.count == 3;
      for (index_t i = 0; i < 5; ++i) {
        const auto* const dz = r.gradient.data() + i * cols;
        const double value = r.report.token_loss[static_cast<std::size_t>(i)];
        if (i == 3) {
          good = good && std::isnan(value) && all_equal(dz, cols, not_a_number);
        } else if (i == 1) {  // ignored, whatever it holds
          good = good && value == 0 && all_equal(dz, cols, 0);
        } else {  // as if alone
          const auto alone = run<TestType>(part(logits, i * cols, cols),
                                           {bad_row_targets[static_cast<std::size_t>(i)]}, idft{},
                                           {.reduce = reduction::none()});
          good = good && value == alone.report.loss &&
                 same_bits(alone.gradient, part(r.gradient, i * cols, cols));
        }
      }
      INFO(bad.name << ", V = " << cols);
      CHECK(good);
    }
  }
}

TEMPLATE_TEST_CASE("rows that are not finite are skipped where asked for", "",
                   IDIOLECT_TEST_CELLS) {
  using T = typename TestType::scalar;
  for (const auto& bad : non_finite_rows(70)) {
    const auto logits = with_bad_rows<T>(bad.values);
    const auto r =
        run<TestType>(logits, bad_row_targets, idft{}, {.on_non_finite = non_finite::skip});
    const auto finite =
        run<TestType>(logits, bad_row_targets, idft{},
                      {.reduce = reduction::sum(), .on_non_finite = non_finite::skip});
    const auto added = run<TestType>(logits, bad_row_targets, idft{},
                                     {.accumulate = true, .on_non_finite = non_finite::skip}, 2.5);
    INFO(bad.name);
    CHECK(std::isfinite(r.report.loss));
    CHECK(scaled_error(r.report.loss * 4, finite.report.loss) < 1e-14);  // it stays in the mean
    CHECK(r.report.valid == 4);
    CHECK(r.report.non_finite == 1);
    CHECK(all_equal(r.gradient.data() + 3 * 70, 70, 0));
    CHECK(all_equal(added.gradient.data() + 3 * 70, 70, 2.5));
    CHECK(all_equal(added.gradient.data() + 1 * 70, 70, 2.5));
  }
}

TEMPLATE_TEST_CASE("rows that are not finite are errors where asked for", "", IDIOLECT_TEST_CELLS) {
  using T = typename TestType::scalar;
  for (const auto& bad : non_finite_rows(33)) {
    const auto logits = with_bad_rows<T>(bad.values);
    const loss_options options{.on_non_finite = non_finite::error};
    const auto e = raised<non_finite_error>(
        [&] { (void)run<TestType>(logits, bad_row_targets, idft{}, options); });
    INFO(bad.name);
    CHECK(e.argument() == "logits");
    CHECK(e.row() == 3);  // row 1 is ignored
    const auto first = raised<non_finite_error>([&] {
      (void)run<TestType>(logits, {0, 1, 2, 1, 3}, idft{}, options);
    });
    CHECK(first.row() == 1);
  }
  CHECK_NOTHROW((void)run<TestType>(gaussian_matrix<T>(3, 9, 1, 53), {0, 1, 2}, idft{},
                                    {.on_non_finite = non_finite::error}));
}

TEMPLATE_TEST_CASE("a target outside the vocabulary is found before anything is written", "",
                   IDIOLECT_TEST_CELLS) {
  using T = typename TestType::scalar;
  const auto logits = gaussian_matrix<T>(4, 10, 1, 54);
  for (const token_id bad : {10, -1, -99, std::numeric_limits<token_id>::min()}) {
    std::vector<T> gradient(40, store<T>(-7.25));
    const std::vector<token_id> targets{0, 1, bad, 10};
    const auto e = raised<target_error>([&] {
      (void)loss_and_gradient(TestType::backend(), matrix_view<const T>(logits.data(), 4, 10),
                              targets, idft{}, matrix_view<T>(gradient.data(), 4, 10));
    });
    CHECK(e.argument() == "targets");
    CHECK(e.row() == 2);
    CHECK(all_equal(gradient.data(), 40, -7.25));
    CHECK(raised<target_error>([&] {
            (void)loss(TestType::backend(), matrix_view<const T>(logits.data(), 4, 10), targets,
                       nll{});
          }).row() == 2);
  }
}

TEMPLATE_TEST_CASE("nothing to train is a loss of 0", "", IDIOLECT_TEST_CELLS) {
  using T = typename TestType::scalar;
  const auto zero = [](const loss_report& r) {
    return r.loss == 0 && std::isnan(r.mean_nll) && r.valid == 0 && r.non_finite == 0 &&
           r.phi.count == 0 && std::isnan(r.phi.mean) && std::isnan(r.weight.mean) &&
           std::isnan(r.end_prob.mean) && r.phi.bins.total() == 0;
  };
  const auto logits = stored<T>({1, not_a_number, 3, 4, infinity, 6});
  const std::vector<index_t> offsets{0, 1, 2};
  for (const auto& reduce : {reduction::sum(), reduction::mean(), reduction::mean_over(5),
                             reduction::sequence_mean(), reduction::none()}) {
    const auto ignored =
        run<TestType>(logits, {-100, -100}, nll{}, {.reduce = reduce, .sequence_offsets = offsets});
    CHECK(zero(ignored.report));
    CHECK(all_equal(ignored.gradient.data(), 6, 0));
    const auto added =
        run<TestType>(logits, {-100, -100}, nll{},
                      {.reduce = reduce, .accumulate = true, .sequence_offsets = offsets}, 1.5);
    CHECK(all_equal(added.gradient.data(), 6, 1.5));
    const std::vector<index_t> none{0};
    CHECK(zero(run<TestType>({}, {}, nll{}, {.reduce = reduce, .sequence_offsets = none}).report));
    CHECK(zero(run<TestType>({}, {}, nll{}, {.reduce = reduce}).report));
  }
}

TEMPLATE_TEST_CASE("a vocabulary of one token is certain", "", IDIOLECT_TEST_CELLS) {
  using T = typename TestType::scalar;
  for (const double z : {0.0, 9984.0, -9984.0, storage<T>::largest}) {
    const auto r = run<TestType>(stored<T>({z, z}), {0, 0}, half_entropy_bonus{});
    CHECK(r.report.loss == 0);
    CHECK(r.report.mean_nll == 0);
    CHECK(r.report.phi.mean == 0);
    CHECK(r.report.phi.min == 0);
    CHECK(all_equal(r.gradient.data(), 2, 0));
  }
  CHECK(std::isnan(run<TestType>(stored<T>({-infinity}), {0}, nll{}).report.loss));
}

TEMPLATE_TEST_CASE("a vocabulary of none is an error", "", IDIOLECT_TEST_CELLS) {
  using T = typename TestType::scalar;
  T memory[3] = {};
  const matrix_view<T> empty(memory, 3, 0);
  const std::vector<token_id> targets{-100, -100, -100};
  CHECK(raised<shape_error>([&] {
          (void)loss(TestType::backend(), empty, targets, nll{});
        }).argument() == "logits");
  CHECK(raised<shape_error>([&] {
          (void)loss_and_gradient(TestType::backend(), empty, targets, nll{}, empty);
        }).argument() == "logits");
  CHECK(raised<shape_error>([&] {
          (void)loss(TestType::backend(), matrix_view<T>(memory, 3, 1), std::vector<token_id>{0},
                     nll{});
        }).argument() == "targets");
}

TEMPLATE_TEST_CASE("unlikely targets are exact in every type", "", IDIOLECT_TEST_CELLS) {
  // log(p + 1e-10) says 23, and NaN in fp16; log p has no such floor.
  using T = typename TestType::scalar;
  for (const double depth : {30.0, 80.0, 600.0, 30720.0}) {
    const auto r = run<TestType>(stored<T>({0, -depth}), {1}, nll{});
    CHECK(scaled_error(r.report.loss, depth) < 1e-12);
    // Of 1 - exp(-30), float keeps 1.
    CHECK(std::fabs(static_cast<double>(load(r.gradient[1])) + 1) <= 1e-13);
    CHECK(std::fabs(static_cast<double>(load(r.gradient[0])) - 1) <= 2e-7);
  }
}

TEMPLATE_TEST_CASE("columns beyond the vocabulary do not count", "", IDIOLECT_TEST_CELLS) {
  // A table padded to a round size: whatever is in the padding, nothing changes, and it is not
  // written.
  using T = typename TestType::scalar;
  const index_t cols = 300, stride = 320, rows = 3;
  const std::vector<token_id> targets{0, 299, 100};
  const auto values = gaussian_matrix<T>(rows, cols, 2, 55);
  const auto clean = run<TestType>(values, targets);
  for (const double padding : {not_a_number, infinity, -infinity, 123.0}) {
    std::vector<T> padded(static_cast<std::size_t>(rows * stride), store<T>(padding));
    for (index_t i = 0; i < rows; ++i) {
      std::copy_n(values.begin() + i * cols, cols, padded.begin() + i * stride);
    }
    const matrix_view<T> z(padded.data(), rows, cols, stride);
    const auto report = loss_and_gradient(TestType::backend(), z, targets, idft{}, z);  // in place
    bool same = report.loss == clean.report.loss;
    for (index_t i = 0; i < rows; ++i) {
      same = same &&
             same_bits(part(padded, i * stride, cols), part(clean.gradient, i * cols, cols)) &&
             all_equal(padded.data() + i * stride + cols, stride - cols, padding);
    }
    INFO("padding " << padding);
    CHECK(same);
  }
}

TEMPLATE_TEST_CASE("the loss alone is the loss with its gradient", "", IDIOLECT_TEST_CELLS) {
  using T = typename TestType::scalar;
  const auto logits = gaussian_matrix<T>(6, 500, 2, 56);
  const auto targets = random_targets(6, 500, 57);
  const auto with = run<TestType>(logits, targets).report;
  const auto alone =
      loss(TestType::backend(), matrix_view<const T>(logits.data(), 6, 500), targets, idft{});
  CHECK(with.loss == alone.loss);
  CHECK(with.mean_nll == alone.mean_nll);
  CHECK(with.phi.mean == alone.phi.mean);
  CHECK((with.weight.bins == alone.weight.bins));
}

}  // namespace idiolect::test
