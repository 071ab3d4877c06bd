// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The row passes beside their definitions in long double: scores, a loss with every part of a
// gradient, and the gradient; rows of any length, stride, alignment and bit patterns. A row without
// a distribution is found, and nothing is written outside of a row.

#include <idiolect/backend/cpu/cpu.hpp>
#include <idiolect/backend/reference/reference.hpp>
#include <idiolect/cll/score.hpp>
#include <idiolect/loss/loss.hpp>

#include <cmath>
#include <string>
#include <vector>

#include "fuzz/input.hpp"
#include "support/gradient_check.hpp"
#include "support/oracle.hpp"
#include "support/tolerance.hpp"

namespace idiolect::fuzz {
namespace {

using test::exact, test::scaled_error, test::statistic_tolerance;

template <class T, class Accumulator, class Backend>
void run(const Backend& backend, input in) {
  const index_t rows = 1 + in.below(3);
  const index_t cols = 1 + in.one_of({in.below(40), in.below(700), in.below(5000)});
  const index_t stride = cols + in.below(20);
  const index_t shift = in.below(17);
  const index_t period = 1 + in.below(200);
  std::vector<token_id> targets;
  for (index_t i = 0; i < rows; ++i) targets.push_back(static_cast<token_id>(in.below(cols)));
  constexpr double guard = -7.25;
  const auto size = static_cast<std::size_t>(shift + rows * stride + 32);
  std::vector<T> logits(size, store<T>(guard));
  std::vector<T> gradient(size, store<T>(guard));
  for (index_t i = 0; i < rows; ++i) {
    T* const row = logits.data() + shift + i * stride;
    for (index_t j = 0; j < cols; ++j) row[j] = j < period ? in.number<T>() : row[j - period];
  }
  const matrix_view<const T> z(logits.data() + shift, rows, cols, stride);
  const auto scores = score(backend, z, targets);
  const auto report = loss_and_gradient(backend, z, targets, test::half_entropy_bonus{},
                                        matrix_view<T>(gradient.data() + shift, rows, cols, stride),
                                        {.reduce = reduction::none()});
  index_t broken = 0;
  for (index_t i = 0; i < rows; ++i) {
    const auto k = static_cast<std::size_t>(i);
    const std::string where = " of row " + std::to_string(i) + " of " + std::to_string(cols);
    bool finite = false;
    bool bad = false;
    bool extreme = false;
    for (index_t j = 0; j < cols; ++j) {
      const auto x = static_cast<double>(load(z.row(i)[j]));
      finite = finite || std::isfinite(x);
      bad = bad || std::isnan(x) || x == std::numeric_limits<double>::infinity();
      extreme = extreme || (std::isfinite(x) && std::abs(x) > 1e30);
    }
    const token_score& s = scores[k];
    if (bad || !finite) {
      ++broken;
      expect(s.status == token_status::non_finite, "a broken row is scored" + where);
      expect(std::isnan(report.token_loss[k]), "a broken row has a loss" + where);
      continue;
    }
    expect(s.status == token_status::scored, "a row is not scored" + where);
    expect(s.log_prob <= 0, "a log-probability above 0" + where);
    expect(s.entropy >= 0 && s.varentropy >= 0, "a negative spread" + where);
    if (extreme) continue;  // differences that a float cannot hold
    const auto want = exact(z.row(i), cols, targets[k]);
    const double allowed = 4 * statistic_tolerance<Accumulator>;
    expect(scaled_error(s.log_prob, want.log_prob) <= allowed, "log p" + where);
    expect(scaled_error(s.entropy, want.entropy()) <= allowed, "entropy" + where);
    expect(scaled_error(s.phi, want.phi) <= allowed, "phi" + where);
    expect(scaled_error(s.varentropy, want.varentropy) <= allowed, "varentropy" + where);
    const auto loss = -want.log_prob - want.entropy() / 2;
    expect(scaled_error(report.token_loss[k], loss) <= 2 * allowed, "loss" + where);
    if (std::isinf(want.log_prob)) continue;  // no target, no finite loss
    const auto e =
        test::gradient_error<Accumulator>(z.row(i), gradient.data() + shift + i * stride, cols,
                                          targets[k], test::half_entropy_bonus::partials);
    expect(e.value <= 2, "gradient" + where + ", " + e.where);
  }
  expect(report.non_finite == broken, "broken rows are not counted");
  for (std::size_t k = 0; k < size; ++k) {
    const index_t at = static_cast<index_t>(k) - shift;
    const bool inside = at >= 0 && at < rows * stride && at % stride < cols;
    expect(inside || static_cast<double>(load(gradient[k])) == guard, "written outside of a row");
  }
}

template <class T>
void on_each(input in) {
  if (in.bits(1) % 4 == 0) {
    run<T, double>(reference<>{}, in);
  } else {
    run<T, accumulator_t<T>>(cpu<>{}, in);
  }
}

}  // namespace
}  // namespace idiolect::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace idiolect::fuzz;
  input in(data, size);
  with_logit_type(in, [&]<class T>(std::type_identity<T>) { on_each<T>(in); });
  return 0;
}
