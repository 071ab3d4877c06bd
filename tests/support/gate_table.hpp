// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Every gate beside its published formula, written out a second time in long double.

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>

#include <idiolect/loss/gates.hpp>

#include "support/oracle.hpp"

namespace idiolect::test {

/// The weight that a paper gives a token.
using formula = std::function<long double(const exact_stats&)>;

/// A user's gate: any callable.
inline constexpr auto entropy_callable = [](const auto& s) { return 0.25 + 0.5 * s.entropy(); };

/// A user's gate on a moment that has to be asked for.
struct sharpness_gate {
  static constexpr moments required = moments::varentropy | moments::collision;
  template <class Stats>
  typename Stats::real weight(const Stats& s) const {
    return s.collision() / (1 + s.varentropy());
  }
};

/// Any loss behind one type, so that the passes over logits are compiled once for all of them.
struct any_loss {
  static constexpr moments required = moments::varentropy | moments::collision;
  using statistics = row_stats<double, required>;

  std::function<loss_terms<double>(const statistics&)> terms;

  [[nodiscard]] loss_terms<double> evaluate(const statistics& s) const { return terms(s); }
};

template <class Loss>
any_loss erased(const Loss& loss) {
  return {[f = as_token_loss(loss)](const any_loss::statistics& s) { return f.evaluate(s); }};
}

/// Calls f(name, gate, formula) for every gate, at its defaults and elsewhere. `protected_token` is
/// what `protect` protects.
template <class F>
void for_each_gate(token_id protected_token, F&& f) {
  using std::exp, std::log, std::pow;
  using S = const exact_stats&;
  const auto clamp = [](long double x, long double low, long double high) {
    return std::min(std::max(x, low), high);
  };
  const auto idft_weight = [clamp](S s, long double beta, long double low, long double high,
                                   long double strength) {
    const long double gamma = clamp(exp(-s.phi / beta), low, high);
    return pow(s.prob(), 1 + strength * (gamma - 1));
  };
  const auto paper_weight = [clamp](S s, long double bound, long double strength) {
    return pow(s.prob(), 1 + strength * (exp(-clamp(s.phi, -bound, bound)) - 1));
  };

  f("nll", nll{}, [](S) { return 1.0L; });
  f("dft", dft{}, [](S s) { return s.prob(); });
  f("power 1/2", power{.q = 0.5}, [](S s) { return pow(s.prob(), 0.5L); });
  f("power 0", power{.q = 0}, [](S) { return 1.0L; });
  f("power 2 from 0.05", power{.q = 2, .theta = 0.05},
    [](S s) { return s.prob() >= 0.05L ? s.prob() * s.prob() : 0; });
  f("idft", idft{}, [=](S s) { return idft_weight(s, 1, 0.1L, 2, 1); });
  f("idft at strength 0.4", idft{.strength = 0.4},
    [=](S s) { return idft_weight(s, 1, 0.1L, 2, 0.4L); });
  f("idft with its own bounds", idft{.beta = 2, .gamma_min = 0.3, .gamma_max = 3},
    [=](S s) { return idft_weight(s, 2, 0.3L, 3, 1); });
  f("idft of the paper", idft{.form = gamma_form::clamp_phi},
    [=](S s) { return paper_weight(s, 5, 1); });
  f("idft of the paper within 1 nat",
    idft{.strength = 0.7, .form = gamma_form::clamp_phi, .bound = 1},
    [=](S s) { return paper_weight(s, 1, 0.7L); });
  f("deft", deft{}, [](S s) { return pow(s.prob(), s.collision); });
  f("eaft by ln 20", eaft(log(20.0)), [](S s) { return s.entropy() / log(20.0L); });
  f("eaft squared by 3 nats", eaft(3, 2), [](S s) { return pow(s.entropy() / 3, 2); });
  f("eaft to the 1/2", eaft(2, 0.5), [](S s) { return pow(s.entropy() / 2, 0.5L); });
  f("p >= 0.1", prob_threshold{}, [](S s) { return s.prob() >= 0.1L ? 1.0L : 0; });
  f("phi >= -1", phi_threshold{.theta = -1}, [](S s) { return s.phi >= -1 ? 1.0L : 0; });
  f("talr", talr{.t = 2, .floor = 0.1}, [](S s) { return std::max(pow(s.prob(), 0.5L), 0.1L); });
  f("talr at 1/2", talr{.t = 0.5}, [](S s) { return std::max(pow(s.prob(), 2.0L), 0.01L); });
  f("chord", chord{}, [](S s) { return s.prob() * (1 - s.prob()); });
  f("reverse", reverse{}, [](S s) { return 1 - s.prob(); });
  f("reverse squared", reverse{.gamma = 2}, [](S s) { return pow(1 - s.prob(), 2); });
  f("reverse to the 1/2", reverse{.gamma = 0.5}, [](S s) { return pow(1 - s.prob(), 0.5L); });
  f("endorsement", endorsement{}, [](S s) {
    const long double e = exp(std::min(s.phi, 0.0L));
    return s.external >= 0 ? e : 1 - e;
  });
  f("protected idft", protect({protected_token, -7}, 0.8, idft{}),
    [=](S s) { return s.target == protected_token ? 0.8L : idft_weight(s, 1, 0.1L, 2, 1); });
  f("a callable", entropy_callable, [](S s) { return 0.25L + 0.5L * s.entropy(); });
  f("a gate on varentropy and collision", sharpness_gate{},
    [](S s) { return s.collision / (1 + s.varentropy); });
}

}  // namespace idiolect::test
