// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The library's gates by name. A program that knows its loss when it is compiled passes the gate
// itself to `loss_and_gradient`; one that learns it from a command line hides it behind a function.

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <idiolect/core/types.hpp>
#include <idiolect/loss/token_loss.hpp>

namespace tool {

/// Any gate: idiolect::gate itself. Reads every moment that some gate needs.
struct any_gate {
  static constexpr idiolect::moments required = idiolect::moments::collision;
  using stats = idiolect::row_stats<double, required>;

  std::function<double(const stats&)> function;

  [[nodiscard]] double weight(const stats& s) const { return function(s); }
};
static_assert(idiolect::gate<any_gate>);

/// A gate and its parameters, as typed. A parameter that the gate does not have is an error.
struct gate_choice {
  std::string loss = "sft";
  std::optional<double> beta;             ///< idft
  std::optional<double> gamma_min;        ///< idft
  std::optional<double> gamma_max;        ///< idft
  std::optional<std::string> gamma_form;  ///< idft: clamp_gamma or clamp_phi
  std::optional<double> bound;            ///< idft with clamp_phi
  std::optional<double> warmup;           ///< idft: fraction of the steps trained as DFT
  std::optional<double> transition;       ///< idft: fraction over which IDFT comes in
  std::optional<double> q;                ///< power: the exponent
  std::optional<double> theta;            ///< power, profit, phi-mask
  std::optional<double> alpha;            ///< eaft: the exponent
  std::optional<double> h_norm;           ///< eaft, nats
  std::optional<double> t;                ///< talr
  std::optional<double> floor;            ///< talr
  std::optional<double> gamma;            ///< reverse
  std::optional<double> protect_end;      ///< any: weight of the end token
};

/// Names of the losses and what each does, a line for each.
[[nodiscard]] std::vector<std::pair<std::string, std::string>> loss_list();

/// The gate at `progress` in [0, 1] of training. Raises usage_error for a name, a parameter or a
/// value that makes no sense. `vocab_size` and `end` are the model's.
[[nodiscard]] any_gate make_gate(const gate_choice& choice, double progress,
                                 idiolect::index_t vocab_size, idiolect::token_id end);

}  // namespace tool
