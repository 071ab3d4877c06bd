// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "study/methods.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <stdexcept>
#include <utility>

#include <idiolect/loss/gates.hpp>
#include <idiolect/loss/schedule.hpp>

#include "study/evaluation.hpp"
#include "study/preference.hpp"

namespace study {

namespace {

template <class Gate>
objective with(Gate gate) {
  return gated_objective([gate](double) { return gate; });
}

objective sft() {
  return with(idiolect::nll{});
}

/// p^gamma with gamma multiplied by progress: plain likelihood at first, IDFT at the end. (A
/// strength of 0 would be DFT.)
struct idft_from_sft {
  double progress = 1;

  template <class Stats>
  [[nodiscard]] auto weight(const Stats& s) const {
    return std::exp(progress * idiolect::idft{}.gamma(s.phi()) * s.log_prob());
  }
};

/// IDFT's weight, but never below `least`: a token that is written is never quite ignored.
struct idft_with_floor {
  double least;

  template <class Stats>
  [[nodiscard]] auto weight(const Stats& s) const {
    return std::max(idiolect::idft{}.weight(s), least);
  }
};

template <std::size_t Count>
objective protecting(const token_id (&ids)[Count]) {
  return with(idiolect::protect(ids, 1.0, idiolect::idft{}));
}

objective protecting_the_end() {
  return protecting({world::end_token, world::token_of('>')});
}

/// The closing words are "then" and "thus".
objective protecting_the_closing() {
  using world::token_of;
  return protecting({world::end_token, token_of('>'), token_of(' '), token_of('t'), token_of('h'),
                     token_of('e'), token_of('n'), token_of('u'), token_of('s')});
}

objective make_dpo(const lab& l) {
  std::vector<text> chosen;
  std::vector<text> rejected;
  for (auto& p : read_pairs(l.results.read(l.stage("data/pairs")))) {
    chosen.push_back(std::move(p.chosen));
    rejected.push_back(std::move(p.rejected));
  }
  const auto good = score_texts(l.base, chosen);
  const auto bad = score_texts(l.base, rejected);
  std::vector<reference_log_prob> reference;
  for (std::size_t k = 0; k < good.size(); ++k)
    reference.push_back({good[k].sum_log_prob, bad[k].sum_log_prob});
  return dpo(std::move(reference));
}

// The gates' options, where they are not the defaults.
const idiolect::idft paper_form{.form = idiolect::gamma_form::clamp_phi};
const idiolect::eaft entropy_gate(std::log(static_cast<double>(world::vocab_size)));

std::vector<method> make_table() {
  using idiolect::dft;
  using idiolect::idft;
  std::vector<method> table;
  // The losses side by side on both foreign data sets.
  for (const auto& [data, label] : {std::pair{"b", "B"}, std::pair{"bs", "Bs"}}) {
    const std::string on = std::string(" on ") + label;
    const std::string suffix = std::string("-") + data;
    const auto add = [&, data = data](const char* name, const char* title, objective loss,
                                      bool quick = false) {
      table.push_back({.name = name + suffix,
                       .title = title + on,
                       .kind = family::foreign,
                       .data = data,
                       .loss = std::move(loss),
                       .quick = quick});
    };
    add("sft", "SFT", sft(), true);
    add("dft", "DFT", with(dft{}), true);
    add("eaft", "EAFT", with(entropy_gate));
    add("idft", "IDFT", with(idft{}), true);
    add("idft-paper", "IDFT, paper's form,", with(paper_form));
  }

  const auto own = [&](const char* name, const char* title, const char* data, objective loss,
                       bool quick = false) {
    table.push_back({.name = name,
                     .title = title,
                     .kind = family::own,
                     .data = data,
                     .loss = std::move(loss),
                     .quick = quick});
  };
  own("rft", "RFT: rejection sampling + SFT", "rft", sft(), true);
  own("sft-hinted-0", "self-distillation + SFT", "hinted-0", sft(), true);
  own("sft-hinted-1", "hinted decoding, beta 1 + SFT", "hinted-1", sft(), true);
  own("idft-hinted-1", "hinted decoding, beta 1 + IDFT", "hinted-1", with(idft{}), true);
  own("dft-hinted-1", "hinted decoding, beta 1 + DFT", "hinted-1", with(dft{}));
  own("sft-hinted-3", "hinted decoding, beta 3 + SFT", "hinted-3", sft());
  own("sft-hinted-8", "hinted decoding, beta 8 + SFT", "hinted-8", sft());
  own("sft-hinted-piecewise", "hinted decoding, piecewise + SFT", "hinted-piecewise", sft());
  own("sft-hinted-sigmoid", "hinted decoding, sigmoid + SFT", "hinted-sigmoid", sft());
  own("sft-hinted-first", "student first, then hinted + SFT", "hinted-first", sft());
  own("sft-cot", "CoT completion + SFT", "cot", sft());

  table.push_back({.name = "dpo",
                   .title = "DPO on own pairs",
                   .kind = family::preference,
                   .data = "pairs",
                   .make_loss = make_dpo,
                   .rate_factor = 1.0 / 3});
  table.push_back({.name = "simpo",
                   .title = "SimPO on own pairs",
                   .kind = family::preference,
                   .data = "pairs",
                   .loss = simpo(),
                   .rate_factor = 1.0 / 3});

  const auto online = [&](const char* name, const char* title, idiolect::rewrite_recipe recipe,
                          objective loss, acceptance verified = acceptance::answer) {
    table.push_back({.name = name,
                     .title = title,
                     .kind = family::online,
                     .loss = std::move(loss),
                     .online = recipe,
                     .verified = verified});
  };
  online("online-sft", "online hinted + SFT", idiolect::hinted_decoding(1), sft());
  online("online-sft-steps", "online hinted + SFT, steps verified", idiolect::hinted_decoding(1),
         sft(), acceptance::steps);
  online("online-idft", "online hinted + IDFT", idiolect::hinted_decoding(1), with(idft{}));
  online("online-rft", "online rejection sampling + SFT", idiolect::rejection_sampling(4), sft());

  const auto cure = [&](const char* name, const char* title, objective loss,
                        const char* mixed_with = "") {
    table.push_back({.name = name,
                     .title = title,
                     .kind = family::cure,
                     .data = "bs",
                     .loss = std::move(loss),
                     .mixed_with = mixed_with});
  };
  cure("cure-gamma-1.5", "gamma_max 1.5", with(idft{.gamma_max = 1.5}));
  cure("cure-gamma-1", "gamma_max 1", with(idft{.gamma_max = 1}));
  cure("cure-from-dft", "strength 0 to 1 (DFT first)", gated_objective([](double progress) {
         return idft{.strength = idiolect::linear_schedule{0, 1}(progress)};
       }));
  cure("cure-to-dft", "strength 1 to 0 (DFT last)", gated_objective([](double progress) {
         return idft{.strength = 1 - idiolect::linear_schedule{0, 1}(progress)};
       }));
  cure("cure-from-sft", "gamma from 0 up (SFT first)",
       gated_objective([](double progress) { return idft_from_sft{progress}; }));
  cure("cure-protect-end", "protect > and $", protecting_the_end());
  cure("cure-protect-closing", "protect the closing word too", protecting_the_closing());
  cure("cure-floor", "weight at least 0.1", with(idft_with_floor{0.1}));
  cure("cure-mix", "half of each batch own samples (RFT's)", with(idft{}), "rft");
  return table;
}

// Questions in the order that training texts come in; answers with the weights as they are.
batch_source online_batches(const lab& l, const method& m, index_t& generated, index_t& forwarded) {
  const auto size = static_cast<std::uint64_t>(l.how.batch);
  return [&l, &m, &generated, &forwarded, size,
          order = endless_order(l.how.records, seed_for(l.seed, use::ordering))](
             index_t step, const weights& now, mini_batch& b) mutable {
    const auto at = static_cast<std::uint64_t>(step);
    std::vector<std::uint64_t> records;
    for (std::uint64_t k = 0; k < size; ++k) records.push_back(order(at * size + k));
    language_model model(now);
    const auto report = rewrite_records(
        l, model, m.online, records, seed_for(l.seed, use::sampling) + 1000 * (at + 1),
        {.accept = m.verified}, [&](idiolect::rewritten<world::example>&& r) {
          if (!r.accepted()) return;
          std::vector<token_id> completion;
          for (const auto& t : r.tokens) completion.push_back(t.token);
          const text answered = make_text(std::move(r.prompt.student), completion);
          b.rows.append(answered.tokens, answered.prompt);
        });
    generated += report.work.emitted_tokens;
    forwarded += report.work.teacher_tokens + report.work.student_tokens;
  };
}

}  // namespace

const std::vector<method>& methods() {
  static const std::vector<method> table = make_table();
  return table;
}

const method& method_named(const std::string& name) {
  const auto found = std::ranges::find(methods(), name, &method::name);
  if (found == methods().end()) throw std::out_of_range("there is no method " + name);
  return *found;
}

std::string method_stage(const method& m, double rate) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", rate);
  return "method/" + m.name + "@" + text;
}

json run_method(const lab& l, const method& m, double rate) {
  const std::uint64_t order = seed_for(l.seed, use::ordering);
  index_t generated = 0;
  index_t forwarded = 0;
  batch_source source;
  if (m.kind == family::online) {
    source = online_batches(l, m, generated, forwarded);
  } else if (m.kind == family::preference) {
    source = pair_batches(read_pairs(l.results.read(l.stage("data/" + m.data))), l.how, order);
  } else {
    auto mixed = m.mixed_with.empty() ? std::vector<text>{}
                                      : read_texts(l.results.read(l.stage("data/" + m.mixed_with)));
    source = text_batches(read_texts(l.results.read(l.stage("data/" + m.data))), l.how, order,
                          std::move(mixed), m.mixed_with.empty() ? 0 : 0.5);
  }
  const stopwatch training;
  const auto trained =
      train(l.base, l.how, rate * m.rate_factor, source, m.make_loss ? m.make_loss(l) : m.loss);
  const double seconds = training.seconds();
  json result = evaluate(l, trained.result);
  result["trained_tokens"] = trained.trained_tokens;
  result["generated_tokens"] = generated;
  result["forwarded_tokens"] = forwarded;
  result["training_seconds"] = seconds;
  result["curve"] = trained.curve;
  return result;
}

}  // namespace study
