// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Where a gradient may lie and what is left alone: in place and out of place, strides and padding,
// other scalar types than the logits', and overlaps that are errors.

#include <cmath>
#include <string>
#include <vector>

#include <Eigen/Core>

#include <idiolect/loss/gates.hpp>
#include <idiolect/loss/loss.hpp>

#include "support/catch.hpp"
#include "support/cells.hpp"
#include "support/gradient_check.hpp"
#include "support/rows.hpp"

namespace idiolect::test {
namespace {

constexpr index_t rows = 5;
constexpr index_t cols = 2100;  // more than one block of the CPU backend, and a tail

const std::vector<token_id>& targets() {
  static const std::vector<token_id> y{3, 2099, -100, 2047, 2048};
  return y;
}

/// N rows of V at a stride, canaries between them.
template <class T>
struct padded {
  index_t stride;
  std::vector<T> memory;
  T canary = store<T>(-7.25);

  padded(index_t rows_, index_t stride_) : stride(stride_) {
    memory.assign(static_cast<std::size_t>(rows_ * stride_ + 8), canary);
  }
  [[nodiscard]] matrix_view<T> view(index_t n = rows, index_t v = cols) {
    return {memory.data() + 4, n, v, stride};
  }
  void fill(const std::vector<T>& values) {
    for (index_t i = 0; i < rows; ++i) {
      std::copy_n(values.begin() + i * cols, cols, view().row(i));
    }
  }
  [[nodiscard]] std::vector<T> values() {
    std::vector<T> result;
    for (index_t i = 0; i < rows; ++i) {
      result.insert(result.end(), view().row(i), view().row(i) + cols);
    }
    return result;
  }
  /// Whether everything outside of the rows is untouched.
  [[nodiscard]] bool clean() {
    const auto at = static_cast<index_t>(memory.size());
    for (index_t k = 0; k < at; ++k) {
      const index_t column = (k - 4) % stride;
      if (k >= 4 && (k - 4) / stride < rows && column < cols) continue;
      if (static_cast<double>(load(memory[static_cast<std::size_t>(k)])) !=
          static_cast<double>(load(canary))) {
        return false;
      }
    }
    return true;
  }
};

}  // namespace

TEMPLATE_TEST_CASE("a gradient in place has the bits of one out of place", "",
                   IDIOLECT_TEST_CELLS) {
  using T = typename TestType::scalar;
  auto logits = gaussian_matrix<T>(rows, cols, 3, 41);
  logits[7] = store<T>(-infinity);
  const auto original = logits;
  const auto backend = TestType::backend();
  std::vector<T> apart(logits.size(), store<T>(not_a_number));
  const auto check = [&](const auto& f, const char* name) {
    logits = original;
    const auto out = loss_and_gradient(backend, matrix_view<const T>(logits.data(), rows, cols),
                                       targets(), f, matrix_view<T>(apart.data(), rows, cols));
    const bool untouched = same_bits(logits, original);
    const matrix_view<T> same(logits.data(), rows, cols);
    const auto in = loss_and_gradient(backend, same, targets(), f, same);
    INFO(name);
    CHECK(untouched);
    CHECK(same_bits(logits, apart));
    CHECK(in.loss == out.loss);
  };
  check(idft{}, "idft");
  check(half_entropy_bonus{}, "entropy bonus");
}

TEMPLATE_TEST_CASE("gradients at every element are those of the oracle", "", IDIOLECT_TEST_CELLS) {
  // Strides for logits and gradient that differ, canaries in the padding, and accumulation; for a
  // loss that depends on the entropy and for a gate, which backends may take faster.
  using T = typename TestType::scalar;
  using A = typename TestType::accumulator;
  padded<T> logits(rows, cols + 13);
  logits.fill(gaussian_matrix<T>(rows, cols, 3, 42));
  logits.view()(0, 0) = store<T>(-infinity);
  const auto check = [&](const auto& f, const loss_terms<double>& partials, double temperature,
                         bool accumulate) {
    padded<T> gradient(rows, cols + 3);
    gradient.fill(std::vector<T>(static_cast<std::size_t>(rows * cols),
                                 store<T>(accumulate ? 0.5 : not_a_number)));
    const auto before = logits.memory;
    (void)loss_and_gradient(
        TestType::backend(), logits.view(), targets(), f, gradient.view(),
        {.reduce = reduction::sum(), .temperature = temperature, .accumulate = accumulate});
    CHECK(same_bits(before, logits.memory));
    CHECK(gradient.clean());
    worst_error worst;  // in units of what is allowed at that element
    for (index_t i = 0; i < rows; ++i) {
      const auto target = targets()[static_cast<std::size_t>(i)];
      const double start = accumulate ? 0.5 : 0;
      if (target == -100) {
        for (index_t j = 0; j < cols; ++j) {
          worst.see(static_cast<double>(load(gradient.view()(i, j))) == start ? 0 : 2,
                    [&] { return "the ignored row " + std::to_string(i); });
        }
        continue;
      }
      const auto row = gradient_error<A>(logits.view().row(i), gradient.view().row(i), cols, target,
                                         partials, temperature, start);
      worst.see(row.value, [&] { return "row " + std::to_string(i) + ", " + row.where; });
    }
    INFO(worst.where << ", temperature " << temperature << ", accumulate " << accumulate);
    CHECK(worst.value <= 1);
  };
  for (const double temperature : {1.0, 0.7}) {
    for (const bool accumulate : {false, true}) {
      check(half_entropy_bonus{}, half_entropy_bonus::partials, temperature, accumulate);
      check(nll{}, {.a = 1}, temperature, accumulate);
    }
  }
}

TEMPLATE_TEST_CASE("the gradient may be of another scalar type", "", IDIOLECT_TEST_FEW_CELLS) {
  using T = typename TestType::scalar;
  const auto logits = gaussian_matrix<T>(rows, cols, 2, 43);
  const matrix_view<const T> z(logits.data(), rows, cols);
  const auto backend = TestType::backend();
  std::vector<double> wide(logits.size());
  (void)loss_and_gradient(backend, z, targets(), idft{},
                          matrix_view<double>(wide.data(), rows, cols));
  const auto check = [&](auto scalar) {
    using G = decltype(scalar);
    std::vector<G> gradient(logits.size());
    (void)loss_and_gradient(backend, z, targets(), idft{},
                            matrix_view<G>(gradient.data(), rows, cols));
    double worst = 0;
    for (std::size_t i = 0; i < wide.size(); ++i) {
      const double error = std::fabs(static_cast<double>(load(gradient[i])) - wide[i]);
      worst = std::max(worst, error / (1.001 * storage<G>::rounding * std::fabs(wide[i]) +
                                       storage<G>::smallest));
    }
    CHECK(worst <= 1);
  };
  check(float{});
  check(half{});
  check(bfloat16{});
}

TEMPLATE_TEST_CASE("a wider gradient keeps its digits in accumulation", "",
                   IDIOLECT_TEST_FEW_CELLS) {
  using T = typename TestType::scalar;
  const auto logits = gaussian_matrix<T>(rows, cols, 2, 44);
  const double start = 1 + 0x1.0p-40;  // not a float
  std::vector<double> gradient(logits.size(), start), fresh(logits.size());
  const matrix_view<const T> z(logits.data(), rows, cols);
  (void)loss_and_gradient(TestType::backend(), z, targets(), idft{},
                          matrix_view<double>(fresh.data(), rows, cols));
  (void)loss_and_gradient(TestType::backend(), z, targets(), idft{},
                          matrix_view<double>(gradient.data(), rows, cols), {.accumulate = true});
  bool same = true;
  for (std::size_t i = 0; i < fresh.size(); ++i) {
    same = same && std::fabs(gradient[i] - (start + fresh[i])) <= 0x1.0p-51;
  }
  CHECK(same);
}

TEST_CASE("Eigen and vectors go in and come out") {
  using row_major = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const row_major logits = row_major::Random(4, 9);
  row_major gradient(4, 9);
  const Eigen::VectorXi y = Eigen::VectorXi::Constant(4, 3);
  const auto report = loss_and_gradient(fast(), logits, y, idft{}, gradient);
  CHECK(report.valid == 4);
  CHECK(std::abs(gradient.sum()) < 1e-6f);
  // A block of a wider matrix, and the transpose in Eigen's own order.
  row_major wide = row_major::Zero(4, 20);
  auto block = wide.block(0, 5, 4, 9);
  (void)loss_and_gradient(fast(), logits, y, idft{}, block);
  CHECK(wide.block(0, 5, 4, 9) == gradient);
  CHECK(wide.leftCols(5).isZero(0));
  CHECK(wide.rightCols(6).isZero(0));
  const Eigen::MatrixXf columns = logits.transpose();
  Eigen::MatrixXf column_gradient(9, 4);
  (void)loss_and_gradient(fast(), columns_as_rows(columns), y, idft{},
                          columns_as_rows(column_gradient));
  CHECK(column_gradient == gradient.transpose());
  // One row.
  std::vector<float> row(logits.data(), logits.data() + 9), dz(9);
  (void)loss_and_gradient(fast(), row, std::vector<int>{3}, idft{}, dz);
  CHECK(std::abs(dz[0] - 4 * gradient(0, 0)) < 1e-6f);
}

TEST_CASE("a gradient that overlaps the logits in part is an error") {
  std::vector<float> memory(200, 0.5f);
  const std::vector<token_id> y{0, 0, 0, 0};
  const matrix_view<const float> logits(memory.data() + 40, 4, 10, 20);
  const auto complaint = [&](auto view, const loss_options& o = {}) {
    const auto before = memory;
    const auto e =
        raised<shape_error>([&] { (void)loss_and_gradient(fast(), logits, y, nll{}, view, o); });
    if (e.argument() != "nothing was raised") CHECK(same_bits(before, memory));
    memory.assign(200, 0.5f);
    return e.argument();
  };
  const auto at = [&](std::ptrdiff_t offset, index_t stride = 20, index_t n = 4, index_t v = 10) {
    return matrix_view<float>(memory.data() + 40 + offset, n, v, stride);
  };
  // Apart: before, behind, itself, or in the gaps between the rows.
  CHECK(complaint(at(0)) == "nothing was raised");
  CHECK(complaint(at(10)) == "nothing was raised");
  CHECK(complaint(at(-10)) == "nothing was raised");
  CHECK(complaint(at(30)) == "nothing was raised");
  CHECK(complaint(at(-40, 10)) == "nothing was raised");
  CHECK(complaint(at(70, 10)) == "nothing was raised");
  // In part.
  CHECK(complaint(at(1)) == "gradient");
  CHECK(complaint(at(-1)) == "gradient");
  CHECK(complaint(at(9)) == "gradient");
  CHECK(complaint(at(11)) == "gradient");
  CHECK(complaint(at(20)) == "gradient");
  CHECK(complaint(at(-20)) == "gradient");
  CHECK(complaint(at(0, 10)) == "gradient");
  CHECK(complaint(at(0, 21)) == "gradient");
  CHECK(complaint(at(69, 10)) == "gradient");
  CHECK(complaint(at(-39, 10)) == "gradient");
  // The logits' own memory as another type, or added to: each reads what the other wrote.
  CHECK(complaint(matrix_view<half>(reinterpret_cast<half*>(memory.data() + 40), 4, 10, 40)) ==
        "gradient");
  CHECK(complaint(at(0), {.accumulate = true}) == "gradient");
  // In the gaps, but wider than they are.
  std::vector<double> wide(100);
  const matrix_view<const float> narrow(reinterpret_cast<const float*>(wide.data()), 4, 10, 20);
  CHECK(raised<shape_error>([&] {
          (void)loss_and_gradient(fast(), narrow, y, nll{},
                                  matrix_view<double>(wide.data() + 5, 4, 10, 10));
        }).argument() == "gradient");
}

TEST_CASE("rows of logits and gradient may interleave") {
  const auto values = gaussian_matrix<float>(4, 10, 2, 46);
  const std::vector<token_id> y{0, 3, 9, -100};
  std::vector<float> apart(40), memory(80, -7.25f);
  for (index_t i = 0; i < 4; ++i) std::copy_n(values.begin() + i * 10, 10, memory.begin() + i * 20);
  const auto before = memory;
  (void)loss_and_gradient(fast(), matrix_view<const float>(values.data(), 4, 10), y, idft{},
                          matrix_view<float>(apart.data(), 4, 10));
  (void)loss_and_gradient(fast(), matrix_view<const float>(memory.data(), 4, 10, 20), y, idft{},
                          matrix_view<float>(memory.data() + 10, 4, 10, 20));
  bool same = true;
  for (index_t i = 0; i < 4; ++i) {
    const auto k = static_cast<std::size_t>(i);
    for (std::size_t j = 0; j < 10; ++j) {
      same = same && memory[k * 20 + j] == before[k * 20 + j] &&
             memory[k * 20 + 10 + j] == apart[k * 10 + j];
    }
  }
  CHECK(same);
}

TEST_CASE("one row in place and beside itself") {
  std::vector<float> memory(20, 0.5f);
  const std::vector<token_id> y{0};
  const matrix_view<float> row(memory.data(), 1, 10);
  CHECK_NOTHROW((void)loss_and_gradient(fast(), row, y, nll{}, row));
  CHECK_NOTHROW((void)loss_and_gradient(fast(), row, y, nll{},
                                        matrix_view<float>(memory.data() + 10, 1, 10)));
  CHECK_THROWS_AS(
      (void)loss_and_gradient(fast(), row, y, nll{}, matrix_view<float>(memory.data() + 9, 1, 10)),
      shape_error);
}

TEST_CASE("a gradient of another shape is an error and nothing is written") {
  const auto logits = gaussian_matrix<float>(3, 10, 1, 45);
  std::vector<float> gradient(40, -7.25f);
  const auto before = gradient;
  const matrix_view<const float> z(logits.data(), 3, 10);
  const std::vector<token_id> y{0, 1, 2};
  for (const auto& view : {matrix_view<float>(gradient.data(), 2, 10),
                           matrix_view<float>(gradient.data(), 3, 9), matrix_view<float>{}}) {
    const auto e = raised<shape_error>([&] { (void)loss_and_gradient(fast(), z, y, nll{}, view); });
    CHECK(e.argument() == "gradient");
    CHECK_THAT(e.what(), Catch::Matchers::ContainsSubstring("the logits are 3 x 10"));
  }
  CHECK(same_bits(before, gradient));
}

}  // namespace idiolect::test
