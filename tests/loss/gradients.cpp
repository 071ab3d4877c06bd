// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Every loss and every partial by finite differences: the published formula of the loss is
// differentiated numerically in long double, and the library's gradient, from both backends, must
// be that. With the weight frozen (stop-gradient), through the weight, at temperatures.

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include <idiolect/loss/gates.hpp>
#include <idiolect/loss/loss.hpp>

#include "support/catch.hpp"
#include "support/cells.hpp"
#include "support/gate_table.hpp"
#include "support/oracle.hpp"
#include "support/rows.hpp"

namespace idiolect::test {
namespace {

struct sample_row {
  std::string name;
  std::vector<double> logits;
  token_id target;
  double external = 1;
};

/// Rows of an odd length beyond the SIMD steps, tokens in every clamp region, away from the kinks.
std::vector<sample_row> samples() {
  const auto row = gaussian_row(37, 2, 23);
  const auto largest = static_cast<token_id>(std::ranges::max_element(row) - row.begin());
  const auto smallest = static_cast<token_id>(std::ranges::min_element(row) - row.begin());
  std::vector<sample_row> rows;
  rows.push_back({"likely", row, largest});
  rows.push_back({"foreign", row, smallest});
  rows.push_back({"middling", row, 3});
  rows.push_back({"middling, negative advantage", row, 3, -0.5});
  rows.push_back({"shifted", gaussian_row(37, 1, 24, 1e4), 8});
  auto masked = gaussian_row(37, 1, 25);
  masked[0] = masked[5] = masked[36] = -infinity;
  rows.push_back({"masked in part", masked, 9, 2});
  std::vector<double> certain = gaussian_row(37, 1, 26);
  certain[2] = 15;
  rows.push_back({"certain", certain, 2});
  std::vector<double> flat = gaussian_row(203, 0.1, 27);
  flat[100] = 4;  // phi = 3.3: liked far more than the average token
  rows.push_back({"endorsed", flat, 100});
  flat[100] = 0.2;
  rows.push_back({"flat", flat, 100});
  return rows;
}

constexpr double temperatures[] = {1, 0.6, 1.7};

struct outcome {
  double loss = 0;
  std::vector<double> gradient;
};

template <class Backend>
outcome run(const Backend& backend, const sample_row& row, const any_loss& f, double temperature) {
  outcome result;
  result.gradient.assign(row.logits.size(), not_a_number);
  const auto weight = static_cast<float>(row.external);
  const std::vector<token_id> targets{row.target};
  const auto report = loss_and_gradient(
      backend, row.logits, targets, f, result.gradient,
      {.reduce = reduction::sum(), .temperature = temperature, .weights = {&weight, 1}});
  result.loss = report.loss;
  return result;
}

/// Compares both backends with a value and with its numerical derivative.
void compare(const std::string& name, const sample_row& row, double temperature, const any_loss& f,
             long double value, const std::vector<long double>& derivative, worst_error& worst) {
  const auto one = [&](const outcome& got, const char* backend) {
    const auto where = [&] {
      return name + ", " + row.name + ", temperature " + std::to_string(temperature) + ", " +
             backend;
    };
    worst.see(scaled_error(got.loss, value), [&] { return "value of " + where(); });
    for (std::size_t i = 0; i < derivative.size(); ++i) {
      // A difference quotient is as good as the function is large.
      const double unit = std::max(1.0, static_cast<double>(std::fabs(value)));
      worst.see(std::fabs(got.gradient[i] - static_cast<double>(derivative[i])) / unit,
                [&] { return "element " + std::to_string(i) + " of " + where(); });
    }
  };
  one(run(fast(), row, f, temperature), "the fast backend");
  one(run(plain(), row, f, temperature), "the plain backend");
}

exact_stats stats_at(const std::vector<long double>& logits, const sample_row& row,
                     double temperature) {
  std::vector<long double> z = logits;
  for (long double& x : z) x /= temperature;
  exact_stats s = exact(z, row.target);
  s.external = row.external;
  return s;
}

/// The numerical derivative of external * f(statistics) by the logits.
std::vector<long double> derivative_of(const sample_row& row, double temperature,
                                       const formula& f) {
  return finite_difference(widened_row(row.logits.data(), static_cast<index_t>(row.logits.size())),
                           [&](const std::vector<long double>& z) {
                             return row.external * f(stats_at(z, row, temperature));
                           });
}

// Logits at 1e4 in double: their differences are exact only to 2^-39.
constexpr double tolerance = 2e-11;

}  // namespace

TEST_CASE("the gradient of every gate with its weight frozen") {
  worst_error worst;
  for (const auto& row : samples()) {
    const auto logits = widened_row(row.logits.data(), static_cast<index_t>(row.logits.size()));
    for (const double temperature : temperatures) {
      const exact_stats here = stats_at(logits, row, temperature);
      const auto pull =
          derivative_of(row, temperature, [](const exact_stats& s) { return -s.log_prob; });
      for_each_gate(9, [&](const std::string& name, const auto& gate, const formula& weight) {
        const long double w = weight(here);
        auto derivative = pull;
        for (long double& x : derivative) x *= w;
        compare(name, row, temperature, erased(gate), -row.external * w * here.log_prob, derivative,
                worst);
      });
    }
  }
  INFO(worst.where << ": " << worst.value);
  CHECK(worst.value < tolerance);
}

TEST_CASE("the gradient of every differentiable gate through its weight") {
  worst_error worst;
  int gates = 0;
  for_each_gate(9, [&](const std::string& name, const auto& gate, const formula& weight) {
    if constexpr (differentiable_gate<std::remove_cvref_t<decltype(gate)>>) {
      ++gates;
      for (const auto& row : samples()) {
        const auto logits = widened_row(row.logits.data(), static_cast<index_t>(row.logits.size()));
        for (const double temperature : {1.0, 1.7}) {
          const formula value = [&](const exact_stats& s) { return -weight(s) * s.log_prob; };
          compare("through " + name, row, temperature, erased(through_weight(gate)),
                  row.external * value(stats_at(logits, row, temperature)),
                  derivative_of(row, temperature, value), worst);
        }
      }
    }
  });
  INFO(worst.where << ": " << worst.value);
  CHECK(worst.value < tolerance);
  CHECK(gates == 23);
}

TEST_CASE("the samples visit every region of the gates") {
  // Otherwise the two tests above would leave a branch unseen. At temperature 1.
  int low_gamma = 0, high_gamma = 0, free_gamma = 0, near_kink = 0;
  int low_phi = 0, high_phi = 0, free_phi = 0, floored = 0, above_floor = 0, below_theta = 0;
  for (const auto& row : samples()) {
    const exact_stats s =
        exact(row.logits.data(), static_cast<index_t>(row.logits.size()), row.target);
    const long double gamma = std::exp(-s.phi);
    low_gamma += gamma < 0.1L;
    high_gamma += gamma > 2;
    free_gamma += gamma > 0.1L && gamma < 2;
    low_phi += s.phi < -1;
    high_phi += s.phi > 1;
    free_phi += std::fabs(s.phi) < 1;
    floored += s.prob() < 0.01L;
    above_floor += s.prob() > 0.01L;
    below_theta += s.prob() < 0.05L;
    for (const long double kink : {2.0L, 0.1L, std::exp(1.0L), std::exp(-1.0L), std::exp(5.0L)}) {
      near_kink += std::fabs(gamma - kink) < 0.01L;
    }
  }
  CHECK(low_gamma > 0);
  CHECK(high_gamma > 0);
  CHECK(free_gamma > 0);
  CHECK(low_phi > 0);
  CHECK(high_phi > 0);
  CHECK(free_phi > 0);
  CHECK(floored > 0);
  CHECK(above_floor > 0);
  CHECK(below_theta > 0);
  CHECK(near_kink == 0);
}

namespace {

/// -l + k lse^2: the z-loss of large pretraining runs. c = 2 k lse.
struct z_loss {
  double k;
  template <std::floating_point Real, moments Set>
  loss_terms<Real> evaluate(const row_stats<Real, Set>& s) const {
    const auto factor = static_cast<Real>(k);
    return {.value = -s.log_prob() + factor * s.lse() * s.lse(), .a = 1, .c = 2 * factor * s.lse()};
  }
};

/// -l - k H: an entropy bonus. b = k.
struct entropy_bonus {
  double k;
  template <std::floating_point Real, moments Set>
  loss_terms<Real> evaluate(const row_stats<Real, Set>& s) const {
    const auto factor = static_cast<Real>(k);
    return {.value = -s.log_prob() - factor * s.entropy(), .a = 1, .b = factor};
  }
};

/// l^2 H + lse sin(H): every partial at once, none of them constant.
struct everything_at_once {
  template <std::floating_point Real, moments Set>
  loss_terms<Real> evaluate(const row_stats<Real, Set>& s) const {
    const Real l = s.log_prob(), h = s.entropy(), lse = s.lse();
    return {.value = l * l * h + lse * std::sin(h),
            .a = -2 * l * h,
            .b = -(l * l + lse * std::cos(h)),
            .c = std::sin(h)};
  }
};

void compare_everywhere(const std::string& name, const any_loss& f, const formula& value) {
  worst_error worst;
  for (const auto& row : samples()) {
    // lse^2 at 1e4 is 1e8, and its difference quotient good to no more than 1e-8 of a nat.
    if (row.name == "shifted" && name != "entropy bonus") continue;
    const auto logits = widened_row(row.logits.data(), static_cast<index_t>(row.logits.size()));
    for (const double temperature : temperatures) {
      compare(name, row, temperature, f, row.external * value(stats_at(logits, row, temperature)),
              derivative_of(row, temperature, value), worst);
    }
  }
  INFO(worst.where << ": " << worst.value);
  CHECK(worst.value < tolerance);
}

}  // namespace

TEST_CASE("the gradient of a user's own loss") {
  compare_everywhere("z-loss", erased(z_loss{0.1}),
                     [](const exact_stats& s) { return -s.log_prob + 0.1 * s.lse() * s.lse(); });
  compare_everywhere("entropy bonus", erased(entropy_bonus{0.3}),
                     [](const exact_stats& s) { return -s.log_prob - 0.3 * s.entropy(); });
  compare_everywhere("entropy penalty", erased(entropy_bonus{-2}),
                     [](const exact_stats& s) { return -s.log_prob + 2 * s.entropy(); });
  compare_everywhere("everything at once", erased(everything_at_once{}), [](const exact_stats& s) {
    return s.log_prob * s.log_prob * s.entropy() + s.lse() * std::sin(s.entropy());
  });
}

TEST_CASE("the gradient of a gate sums to zero and lse's part to c") {
  // Every direction of the span but c is a difference of distributions.
  worst_error worst;
  for (const auto& row : samples()) {
    if (row.name == "shifted") continue;
    const auto sum = [](const std::vector<double>& x) {
      long double total = 0;
      for (const double v : x) total += v;
      return static_cast<double>(total);
    };
    const auto where = [&] { return row.name; };
    worst.see(std::fabs(sum(run(fast(), row, erased(idft{}), 1).gradient)), where);
    worst.see(std::fabs(sum(run(fast(), row, erased(entropy_bonus{0.7}), 1).gradient)), where);
    const double lse = static_cast<double>(
        exact(row.logits.data(), static_cast<index_t>(row.logits.size()), row.target).lse());
    worst.see(
        scaled_error(sum(run(fast(), row, erased(z_loss{0.5}), 1).gradient), row.external * lse),
        where);
  }
  INFO(worst.where << ": " << worst.value);
  CHECK(worst.value < 1e-13);
}

TEST_CASE("through the weight the sign of the gradient can change") {
  // -p^g log p peaks at p = exp(-1/g): below it the target is pushed down. With g = 1: 1/e.
  const std::vector<double> row{0, 0, 0, 0, 0, 0, 0, 0};
  const sample_row unlikely{"p = 1/8", row, 0, 1};
  CHECK(run(fast(), unlikely, erased(dft{}), 1).gradient[0] < 0);
  CHECK(run(fast(), unlikely, erased(through_weight(dft{})), 1).gradient[0] > 0);
  const sample_row likely{"p = 1/2", {0, 0}, 0, 1};
  CHECK(run(fast(), likely, erased(through_weight(dft{})), 1).gradient[0] < 0);
}

}  // namespace idiolect::test
