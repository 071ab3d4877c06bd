// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "tool/gates.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include <idiolect/loss/gates.hpp>
#include <idiolect/loss/schedule.hpp>

#include "tool/errors.hpp"

namespace tool {

namespace {

using idiolect::index_t;
using idiolect::token_id;
using parameter = std::optional<double> gate_choice::*;

struct named_parameter {
  const char* option;
  parameter value;
};
constexpr named_parameter parameters[] = {{"--beta", &gate_choice::beta},
                                          {"--gamma-min", &gate_choice::gamma_min},
                                          {"--gamma-max", &gate_choice::gamma_max},
                                          {"--bound", &gate_choice::bound},
                                          {"--warmup", &gate_choice::warmup},
                                          {"--transition", &gate_choice::transition},
                                          {"--q", &gate_choice::q},
                                          {"--theta", &gate_choice::theta},
                                          {"--alpha", &gate_choice::alpha},
                                          {"--h-norm", &gate_choice::h_norm},
                                          {"--t", &gate_choice::t},
                                          {"--floor", &gate_choice::floor},
                                          {"--gamma", &gate_choice::gamma}};

/// A gate behind a function, once its parameters have been found to make sense.
template <idiolect::gate Gate>
any_gate hide(Gate gate) {
  try {
    idiolect::detail::validate_options(gate);
  } catch (const idiolect::error& e) {
    throw usage_error("--loss: " + message_of(e));
  }
  return {[gate](const any_gate::stats& s) {
    return static_cast<double>(idiolect::detail::weight_of(gate, s));
  }};
}

idiolect::idft make_idft(const gate_choice& c, double progress) {
  const std::string form = c.gamma_form.value_or("clamp_gamma");
  require_usage(form == "clamp_gamma" || form == "clamp_phi",
                "--gamma-form: expected clamp_gamma or clamp_phi, found " + form);
  const bool by_phi = form == "clamp_phi";
  require_usage(by_phi || !c.bound, "--bound belongs to --gamma-form clamp_phi");
  require_usage(!by_phi || (!c.gamma_min && !c.gamma_max),
                "--gamma-min and --gamma-max belong to --gamma-form clamp_gamma");
  const idiolect::linear_schedule schedule{c.warmup.value_or(0), c.transition.value_or(0)};
  for (const double fraction : {schedule.warmup, schedule.transition}) {
    require_usage(fraction >= 0 && fraction <= 1,
                  "--warmup and --transition: expected fractions of training from 0 to 1");
  }
  idiolect::idft gate;
  gate.beta = c.beta.value_or(gate.beta);
  gate.gamma_min = c.gamma_min.value_or(gate.gamma_min);
  gate.gamma_max = c.gamma_max.value_or(gate.gamma_max);
  gate.bound = c.bound.value_or(gate.bound);
  gate.form = by_phi ? idiolect::gamma_form::clamp_phi : idiolect::gamma_form::clamp_gamma;
  gate.strength = schedule(progress);
  return gate;
}

/// What a loss is called, the parameters it has, and how it is made.
struct known_loss {
  const char* name;
  const char* help;
  std::vector<parameter> has;
  any_gate (*make)(const gate_choice&, double progress, index_t vocab_size);
};

const std::vector<known_loss>& known_losses() {
  using c = gate_choice;
  static const std::vector<known_loss> all = {
      {"sft",
       "w = 1, plain likelihood",
       {},
       [](const c&, double, index_t) { return hide(idiolect::nll{}); }},
      {"dft", "w = p", {}, [](const c&, double, index_t) { return hide(idiolect::dft{}); }},
      {"idft",
       "w = p^gamma, gamma = exp(-phi / beta) clamped (--beta --gamma-min --gamma-max, or "
       "--gamma-form clamp_phi --bound; --warmup --transition)",
       {&c::beta, &c::gamma_min, &c::gamma_max, &c::bound, &c::warmup, &c::transition},
       [](const c& o, double progress, index_t) { return hide(make_idft(o, progress)); }},
      {"power",
       "w = p^q where p >= theta (--q --theta)",
       {&c::q, &c::theta},
       [](const c& o, double, index_t) {
         return hide(idiolect::power{o.q.value_or(1), o.theta.value_or(0)});
       }},
      {"deft",
       "w = p^alpha, alpha = sum of p^2",
       {},
       [](const c&, double, index_t) { return hide(idiolect::deft{}); }},
      {"eaft",
       "w = (H / h_norm)^alpha (--h-norm in nats, default ln of the vocabulary; --alpha)",
       {&c::h_norm, &c::alpha},
       [](const c& o, double, index_t vocab_size) {
         return hide(idiolect::eaft(o.h_norm.value_or(std::log(static_cast<double>(vocab_size))),
                                    o.alpha.value_or(1)));
       }},
      {"profit",
       "w = 1 where p >= theta (--theta, default 0.1)",
       {&c::theta},
       [](const c& o, double, index_t) {
         return hide(idiolect::prob_threshold{o.theta.value_or(0.1)});
       }},
      {"phi-mask",
       "w = 1 where phi >= theta (--theta, default -5)",
       {&c::theta},
       [](const c& o, double, index_t) {
         return hide(idiolect::phi_threshold{o.theta.value_or(-5)});
       }},
      {"talr",
       "w = max(p^(1/t), floor) (--t --floor)",
       {&c::t, &c::floor},
       [](const c& o, double, index_t) {
         return hide(idiolect::talr{o.t.value_or(1), o.floor.value_or(0.01)});
       }},
      {"chord",
       "w = p (1 - p)",
       {},
       [](const c&, double, index_t) { return hide(idiolect::chord{}); }},
      {"reverse",
       "w = (1 - p)^gamma (--gamma)",
       {&c::gamma},
       [](const c& o, double, index_t) { return hide(idiolect::reverse{o.gamma.value_or(1)}); }},
      {"endorsement",
       "w = exp(min(phi, 0)), or 1 - that where a record's \"weight\" is negative",
       {},
       [](const c&, double, index_t) { return hide(idiolect::endorsement{}); }}};
  return all;
}

}  // namespace

std::vector<std::pair<std::string, std::string>> loss_list() {
  std::vector<std::pair<std::string, std::string>> list;
  for (const auto& loss : known_losses()) list.emplace_back(loss.name, loss.help);
  return list;
}

any_gate make_gate(const gate_choice& choice, double progress, index_t vocab_size, token_id end) {
  const auto& losses = known_losses();
  const auto loss =
      std::ranges::find(losses, choice.loss, [](const auto& l) { return std::string(l.name); });
  if (loss == losses.end()) {
    std::string names;
    for (const auto& l : losses) names += std::string(names.empty() ? "" : ", ") + l.name;
    throw usage_error("--loss: expected one of " + names + "; found " + choice.loss);
  }
  for (const auto& [option, value] : parameters) {
    const bool given = (choice.*value).has_value();
    require_usage(!given || std::ranges::find(loss->has, value) != loss->has.end(),
                  std::string(option) + " has no meaning for --loss " + choice.loss + " (" +
                      loss->help + ")");
    require_usage(!given || std::isfinite(*(choice.*value)),
                  std::string(option) + ": expected a finite number");
  }
  require_usage(!choice.gamma_form || choice.loss == "idft",
                "--gamma-form has no meaning for --loss " + choice.loss);
  any_gate gate = loss->make(choice, progress, vocab_size);
  if (!choice.protect_end) return gate;
  require_usage(std::isfinite(*choice.protect_end), "--protect-end: expected a finite number");
  return hide(idiolect::protect({end}, *choice.protect_end, gate));
}

}  // namespace tool
