// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A gate that is known at run time: its number, as in gates.py, and its parameters in that order.
// One branch a row is all it costs, since rows are long.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <idiolect/loss/gates.hpp>

namespace idiolect_torch {

using idiolect::index_t;
using idiolect::token_id;

/// The gates on log_prob, entropy and phi. (deft also asks for the collision probability, which
/// costs arithmetic for every logit: it is compiled by itself.)
using basic_gate =
    std::variant<idiolect::nll, idiolect::dft, idiolect::idft, idiolect::power, idiolect::eaft,
                 idiolect::prob_threshold, idiolect::phi_threshold, idiolect::talr, idiolect::chord,
                 idiolect::reverse, idiolect::endorsement>;

/// Tokens that get a fixed weight instead of the gate's.
struct protection {
  std::vector<token_id> tokens;
  double weight = 1;

  [[nodiscard]] bool covers(token_id target) const {
    return std::ranges::find(tokens, target) != tokens.end();
  }
};

/// Any of basic_gate, with protected tokens.
struct any_gate {
  basic_gate gate;
  protection fixed;

  template <class Stats>
  [[nodiscard]] typename Stats::real weight(const Stats& s) const {
    using real = typename Stats::real;
    if (fixed.covers(s.target)) return static_cast<real>(fixed.weight);
    return std::visit([&](const auto& g) { return static_cast<real>(g.weight(s)); }, gate);
  }
  template <class Stats>
  [[nodiscard]] idiolect::weight_slope<typename Stats::real> slope(const Stats& s) const {
    if (fixed.covers(s.target)) return {};
    return std::visit([&](const auto& g) { return g.slope(s); }, gate);
  }
  void validate() const {
    std::visit([](const auto& g) { idiolect::detail::validate_options(g); }, gate);
  }
};

/// deft, with protected tokens.
struct deft_gate {
  static constexpr idiolect::moments required = idiolect::deft::required;

  protection fixed;

  template <class Stats>
  [[nodiscard]] typename Stats::real weight(const Stats& s) const {
    if (fixed.covers(s.target)) return static_cast<typename Stats::real>(fixed.weight);
    return idiolect::deft{}.weight(s);
  }
};

/// The numbers of the gates, the same as in gates.py.
enum class gate_number : std::int64_t {
  nll,
  dft,
  idft,
  power,
  deft,
  eaft,
  prob_threshold,
  phi_threshold,
  talr,
  chord,
  reverse,
  endorsement
};

/// The gate `number`, not deft, with its parameters. Raises shape_error for a number or a count of
/// parameters that is not known.
[[nodiscard]] inline basic_gate make_gate(std::int64_t number, const std::vector<double>& p) {
  const auto take = [&](std::size_t count) {
    idiolect::require(p.size() == count, "parameters", [&] {
      return "gate " + std::to_string(number) + " has " + std::to_string(count) +
             " parameters; found " + std::to_string(p.size());
    });
  };
  switch (static_cast<gate_number>(number)) {
    case gate_number::nll:
      return take(0), idiolect::nll{};
    case gate_number::dft:
      return take(0), idiolect::dft{};
    case gate_number::idft: {
      take(6);
      const auto form =
          p[4] != 0 ? idiolect::gamma_form::clamp_phi : idiolect::gamma_form::clamp_gamma;
      return idiolect::idft{p[0], p[1], p[2], p[3], form, p[5]};
    }
    case gate_number::power:
      return take(2), idiolect::power{p[0], p[1]};
    case gate_number::eaft:
      return take(2), idiolect::eaft(p[0], p[1]);
    case gate_number::prob_threshold:
      return take(1), idiolect::prob_threshold{p[0]};
    case gate_number::phi_threshold:
      return take(1), idiolect::phi_threshold{p[0]};
    case gate_number::talr:
      return take(2), idiolect::talr{p[0], p[1]};
    case gate_number::chord:
      return take(0), idiolect::chord{};
    case gate_number::reverse:
      return take(1), idiolect::reverse{p[0]};
    case gate_number::endorsement:
      return take(0), idiolect::endorsement{};
    case gate_number::deft:
      break;
  }
  idiolect::raise(idiolect::shape_error("gate", "there is no gate " + std::to_string(number)));
}

/// Calls f with the token loss that gate `number` with `parameters` means.
template <class F>
auto with_loss(std::int64_t number, const std::vector<double>& parameters, bool through_weight,
               protection fixed, F&& f) {
  if (number == static_cast<std::int64_t>(gate_number::deft)) {
    idiolect::require(!through_weight, "through_weight", "deft is for stop-gradient only");
    return f(idiolect::as_token_loss(deft_gate{std::move(fixed)}));
  }
  any_gate gate{make_gate(number, parameters), std::move(fixed)};
  if (through_weight) return f(idiolect::through_weight(std::move(gate)));
  return f(idiolect::as_token_loss(gate));
}

}  // namespace idiolect_torch
