// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Statistics, gradients and selections of random rows beside an oracle of 200 bits. Where nothing
// cancels an error is relative, however small the number is: log p and H next to certainty too.
//
// About a million evaluations of a row; IDIOLECT_ORACLE_EVALUATIONS=1e9 in the environment makes
// as many as it says, and the worst errors are printed either way.

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "support/catch.hpp"

#if !defined(IDIOLECT_TEST_MPFR)

namespace idiolect::test {
TEST_CASE("random rows beside an oracle of 200 bits") {
  skip("MPFR was not found (Debian: libmpfr-dev)");
}
}  // namespace idiolect::test

#else

#include <idiolect/backend/cpu/cpu.hpp>
#include <idiolect/backend/reference/reference.hpp>
#include <idiolect/stats/selection.hpp>

#include "numerics/big_number.hpp"
#include "numerics/device_runner.hpp"
#include "numerics/promises.hpp"
#include "support/cells.hpp"

namespace idiolect::test {
namespace {

/// What a number should be, and the unit that its error is measured by. (64 bits are enough to
/// compare with; 200 were to compute with.)
struct expected {
  long double value = 0;
  long double unit = 0;
};
expected expect(const big& value, const big& unit) {
  return {static_cast<long double>(value), static_cast<long double>(unit)};
}

/// A row's numbers.
struct big_row {
  std::vector<big> t;  ///< (z - max) / temperature
  std::vector<big> p;
  expected log_prob, entropy, phi, varentropy;
  std::vector<expected> nll, chord, bonus;  ///< gradients, times the temperature

  big_row(const std::vector<double>& z, std::size_t y, double temperature) {
    double max = -infinity;
    for (const double x : z) max = std::max(max, x);
    big sum, first, spread;
    for (const double x : z) {
      const bool masked = x == -infinity;
      t.push_back(masked ? big(-1e9) : (big(x) - big(max)) / big(temperature));
      p.push_back(masked ? big(0) : exp(t.back()));
      sum += p.back();
      first += p.back() * t.back();
    }
    const big log_sum = log(sum), mean = first / sum;
    for (std::size_t i = 0; i < z.size(); ++i) {
      p[i] = p[i] / sum;
      const big distance = t[i] - mean;
      spread += p[i] * distance * distance;
    }
    const big log_p = t[y] - log_sum;
    log_prob = expect(log_p, abs(log_p));
    entropy = expect(log_sum - mean, log_sum - mean);
    phi = expect(t[y] - mean, abs(t[y]) + abs(mean));
    // Distances from the mean are as good as the logits' from the maximum.
    varentropy = expect(spread, spread + abs(mean) * sqrt(spread));

    const big weight = p[y] * (big(1) - p[y]);
    const auto weight_doubt = static_cast<long double>(big(1) + abs(log_p) / big(16));
    const auto w = static_cast<long double>(weight);
    for (std::size_t i = 0; i < z.size(); ++i) {
      const big one_hot = i == y ? p[i] - big(1) : p[i];
      // A rounded distance from the maximum counts as often as there are nats in it.
      const auto nats = std::fabs(static_cast<long double>(t[i]));
      const long double doubt = 1 + std::min(nats, 1e4L) / 16;
      const auto dz = static_cast<long double>(one_hot);
      nll.push_back({dz, std::fabs(dz) * doubt});
      chord.push_back({w * dz, std::fabs(w * dz) * doubt * weight_doubt});
      const auto mass = static_cast<long double>(p[i]);
      const long double parts = mass * (nats + std::fabs(static_cast<long double>(mean))) / 2;
      bonus.push_back({static_cast<long double>(one_hot + p[i] * (t[i] - mean) / big(2)),
                       (std::fabs(dz) + parts) * doubt});
    }
  }
};

/// The worst error of each number, in its units.
class error_table {
 public:
  /// Of an element of what `name` names. `least` is the smallest unit: below it a type has no
  /// numbers of its full precision.
  static void see(double& worst, double got, const expected& want, double least) {
    const long double unit = std::max(want.unit, static_cast<long double>(least));
    const auto error = static_cast<double>(std::fabs(got - want.value) / unit);
    worst = error <= worst ? worst : error;  // NaN is worst
  }
  double& operator[](const std::string& name) { return worst_[name]; }
  [[nodiscard]] const std::map<std::string, double>& worst() const { return worst_; }

 private:
  std::map<std::string, double> worst_;
};

struct drawn_row {
  std::vector<double> values;
  token_id target;
  double temperature;
};

/// Rows of mostly few logits: flat, peaked, tied, masked in part, far from 0, nearly certain.
drawn_row draw_row(random_source& random, double most) {
  drawn_row r;
  const double length = random.uniform() < 0.02 ? random.uniform(5, 11) : random.uniform(0, 5.5);
  const auto n = std::max<index_t>(1, static_cast<index_t>(std::exp2(length)));
  const double temperatures[] = {1, 1, 0.7, 0.3, 2, std::pow(10, random.uniform(-6, 6))};
  r.temperature = temperatures[random.below(6)];
  if (r.temperature * 100 > most) r.temperature = 1;
  const double spread = std::pow(10, random.uniform(-2, 1)) * r.temperature;
  const double shifts[] = {0, 0, 100, -1000};
  const double shift = shifts[random.below(4)] * std::min(1.0, most / 2000);
  for (index_t i = 0; i < n; ++i) {
    double z = shift + spread * random.normal();
    if (random.uniform() < 0.05) z = -infinity;
    if (random.uniform() < 0.05 && i > 0) z = r.values.back();
    r.values.push_back(z);
  }
  const auto top = static_cast<std::size_t>(random.below(n));
  if (random.uniform() < 0.3) r.values[top] = shift + random.uniform(0, 60) * r.temperature;
  if (r.values[top] == -infinity) r.values[top] = shift;
  r.target =
      static_cast<token_id>(random.uniform() < 0.5 ? static_cast<index_t>(top) : random.below(n));
  if (r.values[static_cast<std::size_t>(r.target)] == -infinity)
    r.target = static_cast<token_id>(top);
  return r;
}

template <class T>
constexpr double least_unit = std::is_same_v<accumulator_t<T>, float> ? 1e-33 : 1e-290;

/// One runner's numbers for a row. Returns how often the row was evaluated.
template <class Runner>
int compare(const std::vector<typename Runner::scalar>& row, const drawn_row& drawn,
            const big_row& want, error_table& errors) {
  constexpr double least = least_unit<typename Runner::scalar>;
  const auto s = Runner::score(row, drawn.target, drawn.temperature);
  errors.see(errors["log p"], s.log_prob, want.log_prob, least);
  errors.see(errors["H"], s.entropy, want.entropy, least);
  errors.see(errors["phi"], s.phi, want.phi, least);
  errors.see(errors["varentropy"], s.varentropy, want.varentropy, least);

  const auto gradient = [&](const char* name, const auto& loss, const std::vector<expected>& dz) {
    const auto got = Runner::gradient(row, drawn.target, drawn.temperature, loss);
    double& worst = errors[name];
    for (std::size_t i = 0; i < row.size(); ++i) {
      errors.see(worst, static_cast<double>(got[i]) * drawn.temperature, dz[i],
                 least * std::max(1.0, drawn.temperature));
    }
  };
  gradient("gradient of nll", nll{}, want.nll);
  gradient("gradient of chord", chord{}, want.chord);
  gradient("gradient with an entropy bonus", half_entropy_bonus{}, want.bonus);
  return 4;
}

/// What a sampler at a temperature draws from, whole and cut to half of the row.
template <class T>
int compare_selection(const std::vector<T>& row, const drawn_row& drawn, const big_row& want,
                      error_table& errors) {
  const auto n = static_cast<index_t>(row.size());
  std::vector<std::size_t> order(row.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](auto a, auto b) { return load(row[b]) < load(row[a]); });
  const auto max = static_cast<double>(load(row[order[0]]));
  int evaluations = 0;
  for (const index_t top_k : {index_t{0}, std::max<index_t>(1, n / 2)}) {
    const sampler_options o{.temperature = drawn.temperature, .top_k = top_k};
    const auto kept = top_k == 0 ? order.size() : static_cast<std::size_t>(top_k);
    big total;
    for (std::size_t k = 0; k < kept; ++k) total += want.p[order[k]];
    const auto see = [&](const char* name, const sampler_distribution& r, bool whole) {
      double& worst = errors[name];
      std::vector<double> got(row.size());
      for (std::size_t k = 0; k < r.tokens.size(); ++k) {
        got[static_cast<std::size_t>(r.tokens[k])] = r.probs[k];
      }
      for (std::size_t k = 0; k < row.size(); ++k) {
        const std::size_t i = order[k];
        const auto p = k < kept ? static_cast<long double>(want.p[i] / total) : 0.0L;
        errors.see(worst, got[i], {p, whole ? want.nll[i].unit + p : 1.0L}, 1e-300);
      }
      ++evaluations;
    };
    see("sampled masses", sampled_distribution(row.data(), n, o), true);
    selection_scratch scratch;
    sampler_distribution fast;
    select_distribution(row.data(), n, max, o, scratch, fast);
    see("selected masses, of 1", fast, false);
  }
  return evaluations;
}

double evaluations_asked_for() {
#if defined(IDIOLECT_TEST_SANITIZED)
  constexpr double usual = 3e4;  // an instrumented build looks for other faults, a tenth as fast
#else
  constexpr double usual = 1e6;
#endif
  const char* const asked = std::getenv("IDIOLECT_ORACLE_EVALUATIONS");
  return asked == nullptr ? usual : std::strtod(asked, nullptr);
}

}  // namespace

TEMPLATE_TEST_CASE("random rows beside an oracle of 200 bits", "", float, double, half, bfloat16) {
  constexpr bool single = std::is_same_v<accumulator_t<TestType>, float>;
  random_source random(sizeof(TestType) * 1000 + (std::is_same_v<TestType, half> ? 1 : 0));
  const double enough = evaluations_asked_for() / 4;  // four types
  error_table cpu_errors, reference_errors, device_errors, selection_errors;
  double evaluations = 0;
  while (evaluations < enough) {
    const auto drawn = draw_row(random, storage<TestType>::largest);
    const auto row = stored<TestType>(drawn.values);
    std::vector<double> z;
    for (const TestType x : row) z.push_back(static_cast<double>(load(x)));
    const big_row want(z, static_cast<std::size_t>(drawn.target), drawn.temperature);
    evaluations += compare<cell_runner<on_cpu<TestType>>>(row, drawn, want, cpu_errors);
    evaluations += compare<cell_runner<on_reference<TestType>>>(row, drawn, want, reference_errors);
    evaluations += compare<device_runner<TestType>>(row, drawn, want, device_errors);
    evaluations += compare_selection(row, drawn, want, selection_errors);
  }
  const auto check = [&](const char* who, const error_table& errors, double tolerance) {
    for (const auto& [name, worst] : errors.worst()) {
      std::printf("  %-8s %zu bytes %-10s %-32s %.2g\n", single ? "single" : "double",
                  sizeof(TestType), who, name.c_str(), worst);
      INFO(who << ": " << name << ", " << worst);
      CHECK(worst <= tolerance);
    }
  };
  // Single precision: the others of a nearly certain token have exp t, t down to -85 and rounded
  // twice, to 85 * 2^-23 at worst; a dozen sums and a polynomial are 1e-6. The plain backend sums
  // in double, to hundreds of 2^-53, and stores gradients in single precision.
  check("cpu", cpu_errors, single ? 1e-5 : 5e-14);
  check("device", device_errors, single ? 1e-5 : 5e-14);
  check("reference", reference_errors, single ? 1e-7 : 5e-14);
  // What is dropped unseen has 1.2e-7 of the mass.
  check("selection", selection_errors, 4e-7);
}

}  // namespace idiolect::test

#endif
