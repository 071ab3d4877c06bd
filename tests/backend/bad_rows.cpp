// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The non-finite policy judges the finished row, in every backend: bad weights, a loss that comes
// out infinite or NaN, coefficients that do.

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

constexpr index_t cols = 70;
const std::vector<token_id> targets{3, 0, -100, 1, 2};

/// A weight of its own for rows whose target is 1.
struct odd_gate {
  double odd;
  template <class Stats>
  IDIOLECT_HD double weight(const Stats& s) const {
    return s.target == 1 ? odd : 0.5;
  }
};
/// A finite loss whose partial is not, where the target is 1.
struct odd_partial {
  double odd;
  template <std::floating_point Real, moments Set>
  IDIOLECT_HD loss_terms<Real> evaluate(const row_stats<Real, Set>& s) const {
    const Real bad = s.target == 1 ? static_cast<Real>(odd) : Real{0};
    return {.value = -s.log_prob(), .a = 1, .b = bad};
  }
};

template <class Cell>
struct call {
  using T = typename Cell::scalar;
  std::vector<T> logits = gaussian_matrix<T>(5, cols, 2, 81);
  std::vector<float> weights = {1, 1, 1, 1, 1};
  std::vector<T> gradient = std::vector<T>(5 * cols, store<T>(0.25));

  template <class Loss>
  loss_report run(const Loss& f, non_finite how, bool accumulate = false) {
    return loss_and_gradient(Cell::backend(), matrix_view<const T>(logits.data(), 5, cols), targets,
                             f, matrix_view<T>(gradient.data(), 5, cols),
                             {.reduce = reduction::none(),
                              .accumulate = accumulate,
                              .on_non_finite = how,
                              .weights = weights});
  }
  template <class Loss>
  non_finite_error error_of(const Loss& f) {
    return raised<non_finite_error>([&] { (void)run(f, non_finite::error); });
  }
  [[nodiscard]] bool row_is(index_t i, double value) const {
    for (index_t j = 0; j < cols; ++j) {
      const auto g = static_cast<double>(load(gradient[static_cast<std::size_t>(i * cols + j)]));
      if (std::isnan(value) ? !std::isnan(g) : g != value) return false;
    }
    return true;
  }
};

/// Row 3 is bad and nothing else: what the policies make of it.
template <class Cell, class Loss>
bool only_row_3_is_bad(call<Cell>& c, const Loss& f) {
  auto other = c;  // without the bad row
  other.weights[3] = 1;
  const auto good = other.run(nll{}, non_finite::propagate);
  const auto propagated = c.run(f, non_finite::propagate);
  bool right = propagated.non_finite == 1 && propagated.valid == 4 &&
               std::isnan(propagated.token_loss[3]) && std::isnan(propagated.loss) &&
               c.row_is(3, not_a_number);
  // Its logits are fine, so the statistics count.
  right = right && propagated.phi.count == 4 && propagated.mean_nll == good.mean_nll;
  for (const std::size_t i : {0u, 1u, 4u}) right = right && std::isfinite(propagated.token_loss[i]);

  const auto skipped = c.run(f, non_finite::skip);
  right = right && skipped.non_finite == 1 && skipped.token_loss[3] == 0 &&
          std::isfinite(skipped.loss) && c.row_is(3, 0);
  c.gradient.assign(c.gradient.size(), store<typename Cell::scalar>(0.25));
  (void)c.run(f, non_finite::skip, true);
  return right && c.row_is(3, 0.25);
}

}  // namespace

TEMPLATE_TEST_CASE("a weight that is no number is found, in its row", "", IDIOLECT_TEST_CELLS) {
  for (const double bad : {not_a_number, infinity, -infinity}) {
    call<TestType> c;
    c.weights[2] = static_cast<float>(bad);  // of an ignored row: nobody looks
    CHECK(c.run(nll{}, non_finite::error).non_finite == 0);
    c.weights[3] = static_cast<float>(bad);
    INFO("weight " << bad);
    CHECK(only_row_3_is_bad(c, nll{}));
    CHECK(c.error_of(nll{}).row() == 3);
    CHECK(c.error_of(nll{}).argument() == "weights");
  }
}

TEMPLATE_TEST_CASE("a gate's or a loss's own NaN is found, in its row", "", IDIOLECT_TEST_CELLS) {
  for (const double bad : {not_a_number, infinity}) {
    call<TestType> c;
    INFO("from " << bad);
    CHECK(only_row_3_is_bad(c, odd_gate{bad}));
    CHECK(c.error_of(odd_gate{bad}).row() == 3);
    CHECK(c.error_of(odd_gate{bad}).argument() == "loss");
    CHECK(only_row_3_is_bad(c, odd_partial{bad}));
    CHECK(c.error_of(odd_partial{bad}).row() == 3);
  }
}

TEMPLATE_TEST_CASE("a masked target is a row that is not finite under plain likelihood", "",
                   IDIOLECT_TEST_CELLS) {
  using T = typename TestType::scalar;
  call<TestType> c;
  c.logits[3 * cols + 1] = store<T>(-infinity);
  CHECK(c.error_of(nll{}).row() == 3);
  CHECK(c.error_of(nll{}).argument() == "loss");
  const auto skipped = c.run(nll{}, non_finite::skip);
  CHECK(skipped.non_finite == 1);
  CHECK(std::isfinite(skipped.loss));
  CHECK(skipped.mean_nll == infinity);  // what the model makes of the targets, whatever is trained
  CHECK(c.row_is(3, 0));
  // A gate that goes to 0 with the probability has nothing to object to.
  CHECK(c.run(dft{}, non_finite::error).non_finite == 0);
  // Nor is there where the row's weight is 0.
  c.weights[3] = 0;
  CHECK(c.run(nll{}, non_finite::error).non_finite == 0);
}

TEMPLATE_TEST_CASE("the bad row that is named is the first, whatever it suffers from", "",
                   IDIOLECT_TEST_CELLS) {
  using T = typename TestType::scalar;
  call<TestType> c;
  c.weights[1] = std::numeric_limits<float>::quiet_NaN();
  c.logits[3 * cols + 9] = store<T>(not_a_number);
  CHECK(c.error_of(nll{}).row() == 1);
  CHECK(c.run(nll{}, non_finite::propagate).non_finite == 2);
  c.logits[9] = store<T>(not_a_number);
  CHECK(c.error_of(nll{}).row() == 0);
  CHECK(c.error_of(nll{}).argument() == "logits");
}

}  // namespace idiolect::test
