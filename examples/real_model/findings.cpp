// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "real_model/findings.hpp"

#include <cmath>
#include <map>
#include <optional>

#include <idiolect/core/executor.hpp>

#include "study/svg.hpp"
#include "tool/text.hpp"

namespace real_model {

using study::decimal;

namespace {

/// What is claimed of numbers on this side of 0.
verdict above_zero(const measured& m) {
  return m.low > 0 ? verdict::holds : m.high < 0 ? verdict::fails : verdict::open;
}

std::string phi_of(const corpus& c) {
  return "mean phi " + decimal(c.all.mean_phi(), 3, true) + " over " +
         std::to_string(c.all.tokens) + " tokens, z " + decimal(c.all.z(), 1, true) + ", p " +
         tool::probability(c.all.p_value());
}

/// Below this a deviation is not taken for chance.
constexpr double chance = 0.01;

void of_own_text(const results& r, std::vector<finding>& out) {
  if (const corpus* own = r.find("own")) {
    const bool centred = own->all.p_value() >= chance;
    out.push_back({"The model\u2019s own samples at temperature 1 have a CLL of 0, within chance",
                   centred ? verdict::holds : verdict::fails,
                   "Their NLL is " + decimal(own->all.mean_nll(), 3) + ", their entropy " +
                       decimal(own->all.mean_entropy(), 3) + " nats a token: " + phi_of(*own) +
                       "."});
  }
  const corpus* cool = r.find("cool");
  const corpus* centred = r.find("cool-centred");
  if (cool != nullptr && centred != nullptr) {
    const bool above = cool->all.mean_phi() > 0 && cool->all.p_value() < chance;
    const bool back = std::fabs(centred->all.mean_phi()) < std::fabs(cool->all.mean_phi()) / 2;
    out.push_back(
        {"Samples at temperature 0.3 lie above 0, and come back when the score is centred by "
         "that sampler",
         above && back ? verdict::holds : verdict::fails,
         "Plain: " + phi_of(*cool) + ". Centred by the sampler: " + phi_of(*centred) + "."});
  }
}

void of_foreign_text(const results& r, std::vector<finding>& out) {
  const corpus* own = r.find("own");
  const corpus* reference = r.find("reference");
  const corpus* swapped = r.find("swapped");
  if (reference != nullptr) {
    const bool foreign = reference->all.mean_phi() < 0 && reference->all.p_value() < chance;
    out.push_back({"Reference answers are foreign to the model: CLL below 0 beyond chance",
                   foreign ? verdict::holds : verdict::fails,
                   "Their NLL is " + decimal(reference->all.mean_nll(), 3) + ", their entropy " +
                       decimal(reference->all.mean_entropy(), 3) + ": " + phi_of(*reference) +
                       "."});
  }
  if (reference != nullptr && swapped != nullptr) {
    const measured d = study::difference(reference->phi(), swapped->phi());
    out.push_back({"The answer to another problem is more foreign still", above_zero(d),
                   phi_of(*swapped) + "; the right answers lie above by " + with_interval(d, 2) +
                       " nats a token."});
  }
  if (own != nullptr && reference != nullptr) {
    const auto c = own_against(*own, *reference);
    const auto& cll = c.mean_phi.auroc;
    const auto& likelihood = c.mean_log_prob.auroc;
    const auto show = [](const idiolect::estimate& e) {
      return decimal(e.value, 2) + " [" + decimal(e.low, 2) + ", " + decimal(e.high, 2) + "]";
    };
    const verdict v = cll.low > likelihood.high      ? verdict::holds
                      : cll.value > likelihood.value ? verdict::open
                                                     : verdict::fails;
    std::string words = "AUROC of own samples against references: CLL " + show(cll) + ", z " +
                        show(c.z.auroc) + ", mean log-likelihood " + show(likelihood) + ".";
    if (likelihood.high < 0.5) {
      words +=
          " Below one half: by perplexity the foreign answers look more like the model than what "
          "it wrote itself.";
    } else if (likelihood.low > 0.5) {
      words += " Likelihood points the right way here.";
    } else {
      words += " By likelihood the two cannot be told apart here.";
    }
    out.push_back(
        {"CLL tells own from foreign text better than likelihood (or perplexity) does", v, words});
  }
}

void of_hinted_decoding(const results& r, std::vector<finding>& out) {
  if (!r.hinted) return;
  std::map<std::string, int> how;
  for (const auto& record : *r.hinted) ++how[record.how];
  const bool accepted = how["hinted"] > 0;
  // Where nothing was accepted, the last tries still say whose words they are.
  const std::string counted_how = accepted ? "hinted" : "rejected";
  std::vector<double> gain, n;
  double tokens = 0, student = 0;
  for (const auto& record : *r.hinted) {
    if (record.how != counted_how || record.cll.tokens == 0) continue;
    gain.push_back(record.cll.mean_phi() - record.reference_phi);
    for (const double lambda : record.lambda) student += lambda;
    tokens += static_cast<double>(record.lambda.size());
  }
  if (!gain.empty()) {
    const measured d = study::mean_of(gain);
    out.push_back(
        {"With a hint the model writes answers that are more its own than the references",
         gain.size() > 1 ? above_zero(d) : verdict::open,
         std::string(accepted ? "Accepted texts" : "No text was accepted; the last tries") +
             " lie above the references of the same problems by " + with_interval(d, 2) +
             " nats a token (" + std::to_string(gain.size()) +
             " texts, drawn at temperature 0.3, which raises them too); the student\u2019s "
             "share of a token is " +
             decimal(tokens > 0 ? student / tokens : 0, 2) + " on average."});
  }
  const auto all = std::to_string(r.hinted->size());
  out.push_back({"The hint brings right answers that the model does not find alone",
                 accepted ? verdict::holds : verdict::fails,
                 "Of " + all + " problems " + std::to_string(how["rollout"]) +
                     " are solved without it, " + std::to_string(how["hinted"]) +
                     " more with it, and " + std::to_string(how["rejected"]) + " not at all."});
}

void of_training(const results& r, std::vector<finding>& out) {
  struct change {
    measured learned, own, other;
  };
  const auto of = [&](const std::string& model) -> std::optional<change> {
    const auto rise = [&](const char* key) -> std::optional<measured> {
      const corpus* before = r.find("untouched", key);
      const corpus* after = r.find(model, key);
      if (before == nullptr || after == nullptr) return std::nullopt;
      return nll_rise(*before, *after);
    };
    const auto reference = rise("reference"), own = rise("own"), other = rise("other");
    if (!reference || !own || !other) return std::nullopt;
    return change{reference->negated(), *own, *other};
  };
  const auto sft = of("sft"), idft = of("idft");
  if (!sft || !idft) return;
  const auto both = [](const measured& a, const measured& b) {
    return "SFT " + with_interval(a, 3) + ", IDFT " + with_interval(b, 3) + " nats a token.";
  };
  const auto together = [](verdict a, verdict b) {
    return a == b ? a : a == verdict::fails || b == verdict::fails ? verdict::fails : verdict::open;
  };
  out.push_back({"Both losses learn: the NLL of held-out references falls",
                 together(above_zero(sft->learned), above_zero(idft->learned)),
                 "It falls by: " + both(sft->learned, idft->learned)});
  out.push_back(
      {"Both forget: the NLL of what the model wrote before rises",
       together(above_zero(sft->own), above_zero(idft->own)),
       "On its own answers to problems: " + both(sft->own, idft->own) +
           " To other prompts: " + both(sft->other, idft->other) +
           " (The rise is an estimate of the KL divergence from the old model to the new.)"});
  const measured less = nll_rise(*r.find("idft", "own"), *r.find("sft", "own"));
  const auto ratio = [](const change& c) {
    return c.learned.value > 0 ? decimal(c.own.value / c.learned.value, 2) : std::string("-");
  };
  out.push_back({"IDFT forgets less than SFT in the same time", above_zero(less),
                 "Of its own answers SFT loses " + with_interval(less, 3) +
                     " nats a token more than IDFT. Forgotten for each nat that was learned: SFT " +
                     ratio(*sft) + ", IDFT " + ratio(*idft) + "."});
  const corpus* before = r.find("untouched", "reference");
  const measured closer = study::difference(r.find("sft", "reference")->phi(), before->phi());
  out.push_back({"After SFT the references are less foreign", above_zero(closer),
                 "Mean phi " + decimal(before->all.mean_phi(), 3, true) + " before, " +
                     decimal(r.find("sft", "reference")->all.mean_phi(), 3, true) + " after SFT, " +
                     decimal(r.find("idft", "reference")->all.mean_phi(), 3, true) +
                     " after IDFT."});
}

}  // namespace

std::string with_interval(const measured& m, int decimals, bool plus) {
  std::string text = decimal(m.value, decimals, plus);
  if (!std::isnan(m.low)) {
    text += " [" + decimal(m.low, decimals, plus) + ", " + decimal(m.high, decimals, plus) + "]";
  }
  return text;
}

std::string title_of(const std::string& key) {
  static const std::map<std::string, std::string> titles = {
      {"own", "own samples, temperature 1"},
      {"cool", "own samples, temperature 0.3"},
      {"cool-centred", "the same, centred by that sampler"},
      {"reference", "reference answers"},
      {"swapped", "another problem\u2019s reference"},
      {"other", "own answers to other prompts"},
      {"untouched", "untouched"},
      {"sft", "SFT"},
      {"idft", "IDFT"}};
  const auto found = titles.find(key);
  return found == titles.end() ? "" : found->second;
}

idiolect::corpus_comparison own_against(const corpus& own, const corpus& other) {
  return idiolect::compare(idiolect::serial_executor{}, own.scores, other.scores);
}

std::vector<finding> find_out(const results& r) {
  std::vector<finding> out;
  of_own_text(r, out);
  of_foreign_text(r, out);
  of_hinted_decoding(r, out);
  of_training(r, out);
  return out;
}

}  // namespace real_model
