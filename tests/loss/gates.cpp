// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Every gate by direct evaluation: its published formula, a token without probability, options that
// make no sense.

#include <cmath>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include <idiolect/loss/gates.hpp>
#include <idiolect/loss/schedule.hpp>
#include <idiolect/stats/fold.hpp>

#include "support/catch.hpp"
#include "support/cells.hpp"
#include "support/gate_table.hpp"
#include "support/oracle.hpp"
#include "support/rows.hpp"

namespace idiolect::test {
namespace {

constexpr moments everything = moments::varentropy | moments::collision;

struct sample_row {
  std::vector<double> logits;
  token_id target;
  double external;
};

/// Tokens of every kind: certain, likely, foreign, in flat and in peaked rows.
std::vector<sample_row> samples() {
  std::vector<sample_row> rows;
  for (const double scale : {0.0, 0.3, 2.0, 6.0}) {
    for (token_id target = 0; target < 12; ++target) {
      rows.push_back({gaussian_row(30, scale, 17), target, target % 2 == 0 ? 1.0 : -0.5});
    }
  }
  std::vector<double> likely(200, 0.0);
  likely[0] = 3.5;
  rows.push_back({likely, 0, 1});
  likely[0] = 12;
  rows.push_back({likely, 0, 1});
  rows.push_back({likely, 7, -1});
  rows.push_back({{1.5}, 0, 1});
  return rows;
}

/// The row's statistics, rounded once to the type that the gate computes in.
template <class Real>
row_stats<Real, everything> stats_of(const sample_row& r) {
  const auto s = fold<everything>(r.logits.data(), static_cast<index_t>(r.logits.size()));
  const auto wide = finish(s, r.logits[static_cast<std::size_t>(r.target)], r.target);
  row_stats<Real, everything> stats;
  stats.max = static_cast<Real>(wide.max);
  stats.log_sum = static_cast<Real>(wide.log_sum);
  stats.mean_offset = static_cast<Real>(wide.mean_offset);
  stats.target_offset = static_cast<Real>(wide.target_offset);
  stats.varentropy_or_nan = static_cast<Real>(wide.varentropy_or_nan);
  stats.collision_or_nan = static_cast<Real>(wide.collision_or_nan);
  stats.target = wide.target;
  stats.external_weight = static_cast<Real>(r.external);
  return stats;
}

/// The statistics of a masked target: p = 0 in a row with entropy ln 2.
row_stats<double, everything> masked(double external = 1) {
  sample_row r{{0, 0, -infinity}, 2, external};
  return stats_of<double>(r);
}

template <class Gate>
double weight_of_masked(const Gate& gate, double external = 1) {
  return as_token_loss(gate).evaluate(masked(external)).a;
}

template <class Gate>
std::string complaint(const Gate& gate) {
  return raised<shape_error>([&] { as_token_loss(gate).validate(); }).argument();
}

}  // namespace

TEMPLATE_TEST_CASE("a gate gives the weight of its published formula", "", float, double) {
  const bool single = std::is_same_v<TestType, float>;
  worst_error worst;
  int gates = 0;
  for_each_gate(3, [&](const std::string& name, const auto& gate, const formula& weight) {
    ++gates;
    for (const auto& row : samples()) {
      exact_stats want =
          exact(row.logits.data(), static_cast<index_t>(row.logits.size()), row.target);
      want.external = row.external;
      const auto terms = as_token_loss(gate).evaluate(stats_of<TestType>(row));
      const auto where = [&] {
        return name + " at p = " + std::to_string(static_cast<double>(want.prob()));
      };
      worst.see(scaled_error(static_cast<double>(terms.a), weight(want)), where);
      worst.see(scaled_error(static_cast<double>(terms.value), -weight(want) * want.log_prob),
                where);
      worst.see(std::fabs(static_cast<double>(terms.b)) + std::fabs(static_cast<double>(terms.c)),
                where);  // stop-gradient
    }
  });
  INFO(worst.where);
  CHECK(worst.value < (single ? 2e-5 : 1e-12));  // float: powers, of log p down to -20
  CHECK(gates == 26);
}

TEST_CASE("IDFT by hand") {
  // Four equal tokens: p = 1/4, H = ln 4, phi = 0: gamma = 1, so DFT.
  const sample_row flat{{0, 0, 0, 0}, 1, 1};
  CHECK(std::abs(idft{}.weight(stats_of<double>(flat)) - 0.25) < 1e-15);
  // p = 1/2 beside two of 1/4: H = 1.5 ln 2, phi = 0.5 ln 2, gamma = 2^-0.5.
  const sample_row half_sure{{std::log(2.0), 0, 0}, 0, 1};
  CHECK(std::abs(idft{}.weight(stats_of<double>(half_sure)) - std::pow(0.5, std::sqrt(0.5))) <
        1e-15);
  // A foreign token: gamma = 2, so w = p^2; the paper's bound of 5 nats: w = p^(e^5).
  const sample_row foreign{{12, 0, 0, 0}, 1, 1};
  const double p = std::exp(-12.0) / (1 + 3 * std::exp(-12.0));
  CHECK(std::abs(idft{}.weight(stats_of<double>(foreign)) / (p * p) - 1) < 1e-12);
  CHECK(idft{.form = gamma_form::clamp_phi}.weight(stats_of<double>(foreign)) < 1e-300);

  CHECK(idft{}.gamma(-100.0) == 2);
  CHECK(std::abs(idft{}.gamma(100.0) - 0.1) < 1e-15);
  CHECK(idft{}.gamma(0.0) == 1);
  CHECK(idft{.strength = 0.5}.gamma(-100.0) == 1.5);
  CHECK(idft{.beta = 2}.gamma(1.0) == std::exp(-0.5));
  CHECK(std::abs(idft{.form = gamma_form::clamp_phi}.gamma(-100.0) - std::exp(5.0)) < 1e-12);
  CHECK(std::abs(idft{.form = gamma_form::clamp_phi}.gamma(100.0) - std::exp(-5.0)) < 1e-15);
}

TEST_CASE("IDFT without bounds stays a number") {
  const idft open{.gamma_min = 0, .gamma_max = infinity};
  const idft off{.gamma_min = 0, .gamma_max = infinity, .strength = 0};
  const sample_row far{{3000, 0}, 1, 1};  // gamma_raw = e^3000
  CHECK(open.weight(stats_of<double>(far)) == 0);
  CHECK(off.gamma(-3000.0) == 1);
  CHECK(as_token_loss(open).evaluate(stats_of<double>(far)).value == 0);
  CHECK(through_weight(open).evaluate(stats_of<double>(far)).a == 0);
  CHECK(through_weight(open).evaluate(masked()).a == 0);
  const idft steep{.beta = 1e-3, .form = gamma_form::clamp_phi};  // gamma = e^2000
  const sample_row foreign{{2, 0}, 1, 1};
  CHECK(through_weight(steep).evaluate(stats_of<double>(foreign)).a == 0);
}

TEST_CASE("a schedule goes from 0 to 1 by progress alone") {
  const linear_schedule s{.warmup = 0.2, .transition = 0.4};
  CHECK(s(0) == 0);
  CHECK(s(0.2) == 0);
  CHECK(std::abs(s(0.3) - 0.25) < 1e-15);
  CHECK(std::abs(s(0.5) - 0.75) < 1e-15);
  CHECK(std::abs(s(0.6) - 1) < 1e-15);
  CHECK(s(0.61) == 1);
  CHECK(s(1) == 1);
  CHECK(linear_schedule{}(0) == 1);
  CHECK(linear_schedule{.warmup = 0.5}(0.49) == 0);
  CHECK(linear_schedule{.warmup = 0.5}(0.5) == 1);
  double previous = 0;
  bool monotone = true;
  for (int i = 0; i <= 1000; ++i) {
    monotone = monotone && s(i / 1000.0) >= previous && s(i / 1000.0) <= 1;
    previous = s(i / 1000.0);
  }
  CHECK(monotone);
}

TEST_CASE("IDFT at strength 0 is DFT and not plain likelihood") {
  bool same = true;
  for (const auto& row : samples()) {
    const auto s = stats_of<double>(row);
    for (const auto form : {gamma_form::clamp_gamma, gamma_form::clamp_phi}) {
      const idft off{.strength = linear_schedule{.warmup = 0.1}(0.05), .form = form};
      same = same && off.weight(s) == dft{}.weight(s);
    }
  }
  CHECK(same);
}

TEST_CASE("a token without probability: what its gate does") {
  // Weights that vanish with p: exactly no loss and no gradient.
  const auto silent = [](const auto& gate) {
    const auto terms = as_token_loss(gate).evaluate(masked());
    return terms.a == 0 && terms.b == 0 && terms.c == 0 && terms.value == 0;
  };
  CHECK(silent(dft{}));
  CHECK(silent(power{.q = 0.5}));
  CHECK(silent(power{.q = 0, .theta = 0.01}));
  CHECK(silent(idft{}));
  CHECK(silent(idft{.strength = 0}));
  CHECK(silent(idft{.strength = 0.3, .form = gamma_form::clamp_phi}));
  CHECK(silent(deft{}));
  CHECK(silent(chord{}));
  CHECK(silent(endorsement{}));
  CHECK(silent(prob_threshold{}));
  CHECK(silent(phi_threshold{}));
  CHECK(silent(talr{.floor = 0}));
  CHECK(silent(through_weight(dft{})));
  CHECK(silent(through_weight(power{.q = 0.5})));
  CHECK(silent(through_weight(idft{})));
  CHECK(silent(through_weight(idft{.form = gamma_form::clamp_phi})));
  CHECK(silent(through_weight(chord{})));
  CHECK(silent(through_weight(endorsement{})));
  CHECK(silent(through_weight(talr{.floor = 0})));

  // Weights that do not: an infinite loss, as likelihood says.
  const auto infinite = [](const auto& gate) {
    const auto terms = as_token_loss(gate).evaluate(masked());
    return terms.value == infinity && std::isfinite(terms.a);
  };
  CHECK(infinite(nll{}));
  CHECK(infinite(power{.q = 0}));
  CHECK(infinite(eaft(1)));
  CHECK(infinite(reverse{}));
  CHECK(infinite(talr{}));
  CHECK(infinite(idft{.gamma_min = 0, .gamma_max = 0}));  // p^0
  CHECK(infinite(protect({2}, 1.0, idft{})));
  CHECK(weight_of_masked(endorsement{}, -1) == 1);
  CHECK(weight_of_masked(talr{.floor = 0.25}) == 0.25);
}

TEST_CASE("a certain token: what its gate does") {
  const auto certain = stats_of<double>({{0}, 0, 1});
  const auto value = [&](const auto& gate) { return as_token_loss(gate).evaluate(certain).value; };
  CHECK(value(nll{}) == 0);
  CHECK(value(dft{}) == 0);
  CHECK(value(idft{}) == 0);
  CHECK(value(eaft(1, 0)) == 0);
  CHECK(value(reverse{.gamma = 0}) == 0);
  CHECK(chord{}.weight(certain) == 0);
  CHECK(eaft(1).weight(certain) == 0);
  CHECK(eaft(1, 0).weight(certain) == 1);
  CHECK(reverse{.gamma = 0}.weight(certain) == 1);
  // One-sided slopes that are infinite there count as 0: the loss is 0 and at its minimum.
  CHECK(std::isfinite(through_weight(eaft(1, 0.5)).evaluate(certain).b));
  CHECK(std::isfinite(through_weight(reverse{.gamma = 0.5}).evaluate(certain).a));
  CHECK(std::isfinite(through_weight(reverse{.gamma = 0}).evaluate(certain).a));
}

TEST_CASE("options that make no sense are named") {
  CHECK(complaint(idft{}) == "nothing was raised");
  CHECK(complaint(idft{.beta = 0}) == "idft::beta");
  CHECK(complaint(idft{.beta = not_a_number}) == "idft::beta");
  CHECK(complaint(idft{.gamma_min = -0.1}) == "idft::gamma_min");
  CHECK(complaint(idft{.gamma_min = 3}) == "idft::gamma_min");
  CHECK(complaint(idft{.strength = 1.5}) == "idft::strength");
  CHECK(complaint(idft{.strength = -0.1}) == "idft::strength");
  CHECK(complaint(idft{.bound = -1}) == "idft::bound");
  CHECK(complaint(power{.q = -1}) == "power::q");
  CHECK(complaint(eaft(0)) == "eaft::h_norm");
  CHECK(complaint(eaft(not_a_number)) == "eaft::h_norm");
  CHECK(complaint(eaft(1, -1)) == "eaft::alpha");
  CHECK(complaint(talr{.t = 0}) == "talr::t");
  CHECK(complaint(talr{.floor = -1}) == "talr::floor");
  CHECK(complaint(reverse{.gamma = -1}) == "reverse::gamma");
  CHECK(complaint(protect({0}, 1, idft{.beta = -1})) == "idft::beta");
  CHECK(complaint(through_weight(idft{.beta = -1})) == "idft::beta");
  CHECK(complaint(nll{}) == "nothing was raised");
}

TEST_CASE("no option of a gate or a schedule is NaN or infinite") {
  for (const double bad : {not_a_number, infinity, -infinity}) {
    CHECK(complaint(idft{.beta = bad}) == "idft::beta");
    CHECK(complaint(idft{.gamma_min = bad}) == "idft::gamma_min");
    CHECK(complaint(idft{.gamma_max = bad}) == "idft::gamma_max");
    CHECK(complaint(idft{.strength = bad}) == "idft::strength");
    CHECK(complaint(idft{.bound = bad}) == "idft::bound");
    CHECK(complaint(power{.q = bad}) == "power::q");
    CHECK(complaint(power{.theta = bad}) == "power::theta");
    CHECK(complaint(eaft(bad)) == "eaft::h_norm");
    CHECK(complaint(eaft(1, bad)) == "eaft::alpha");
    CHECK(complaint(talr{.t = bad}) == "talr::t");
    CHECK(complaint(talr{.floor = bad}) == "talr::floor");
    CHECK(complaint(reverse{.gamma = bad}) == "reverse::gamma");
    CHECK(complaint(prob_threshold{bad}) == "prob_threshold::theta");
    CHECK(complaint(phi_threshold{bad}) == "phi_threshold::theta");
    CHECK(complaint(protect({0}, bad, nll{})) == "protect::weight");
    const auto named = [](auto&& f) { return raised<shape_error>(f).argument(); };
    CHECK(named([&] { (void)linear_schedule{.warmup = bad}(0.5); }) == "linear_schedule::warmup");
    CHECK(named([&] { (void)linear_schedule{.transition = bad}(0.5); }) ==
          "linear_schedule::transition");
    CHECK(named([&] { (void)linear_schedule{}(bad); }) == "progress");
  }
}

TEST_CASE("what is a gate and what is a loss") {
  struct not_a_gate {};
  struct text_gate {
    const char* weight(const row_stats<double>&) const { return ""; }
  };
  struct loss_type {
    loss_terms<double> evaluate(const row_stats<double>&) const { return {}; }
  };
  STATIC_REQUIRE(gate<idft>);
  STATIC_REQUIRE(gate<sharpness_gate>);
  STATIC_REQUIRE(gate<decltype(entropy_callable)>);
  STATIC_REQUIRE(gate<double (*)(const row_stats<double>&)>);
  STATIC_REQUIRE(gate<decltype(protect({1}, 0.5, deft{}))>);
  STATIC_REQUIRE_FALSE(gate<not_a_gate>);
  STATIC_REQUIRE_FALSE(gate<text_gate>);
  STATIC_REQUIRE_FALSE(gate<int>);
  STATIC_REQUIRE(token_loss<loss_type>);
  STATIC_REQUIRE(token_loss<gated<idft>>);
  STATIC_REQUIRE_FALSE(token_loss<idft>);
  STATIC_REQUIRE_FALSE(token_loss<not_a_gate>);

  STATIC_REQUIRE(differentiable_gate<idft>);
  STATIC_REQUIRE(differentiable_gate<decltype(protect({1}, 0.5, idft{}))>);
  STATIC_REQUIRE_FALSE(differentiable_gate<deft>);
  STATIC_REQUIRE_FALSE(differentiable_gate<decltype(protect({1}, 0.5, deft{}))>);
  STATIC_REQUIRE_FALSE(differentiable_gate<decltype(entropy_callable)>);

  STATIC_REQUIRE(required_moments<nll> == moments::basic);
  STATIC_REQUIRE(required_moments<deft> == moments::collision);
  STATIC_REQUIRE(required_moments<gated<sharpness_gate>> == everything);
  STATIC_REQUIRE(required_moments<decltype(protect({1}, 0.5, deft{}))> == moments::collision);
}

TEST_CASE("protected tokens have a fixed weight") {
  const auto gate = protect({4, 1}, 0.75, dft{});
  auto s = stats_of<double>({{0, 0, 0, 0, 0, 0, 0, 0}, 1, 1});
  CHECK(gate.weight(s) == 0.75);
  CHECK(gate.slope(s).log_prob == 0);
  s.target = 4;
  CHECK(gate.weight(s) == 0.75);
  s.target = 2;
  CHECK(std::abs(gate.weight(s) - 0.125) < 1e-15);
  CHECK(std::abs(gate.slope(s).log_prob - 0.125) < 1e-15);
}

}  // namespace idiolect::test
