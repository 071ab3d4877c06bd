// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "tool/report.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <utility>

#include <idiolect/version.hpp>
#include <nlohmann/json.hpp>

#include "tool/text.hpp"

namespace tool {

using idiolect::corpus_comparison;
using idiolect::estimate;
using idiolect::separation;
using idiolect::sequence_score;
using json = nlohmann::ordered_json;

namespace {

double share_below(const sequence_score& s, double threshold) {
  return 1 - s.share_above(threshold);  // NaN without tokens
}

json to_json(const estimate& e) {
  return {{"value", e.value}, {"low", e.low}, {"high", e.high}};
}

/// The scores that are compared, best known first.
struct compared {
  const char* key;
  const char* name;
  separation corpus_comparison::*score;
};
constexpr compared all_compared[] = {
    {"mean_phi", "CLL (mean phi)", &corpus_comparison::mean_phi},
    {"z", "z", &corpus_comparison::z},
    {"abs_mean_phi", "|CLL|, two-sided", &corpus_comparison::abs_mean_phi},
    {"abs_z", "|z|, two-sided", &corpus_comparison::abs_z},
    {"perplexity", "perplexity", &corpus_comparison::perplexity},
    {"mean_log_prob", "mean log-likelihood", &corpus_comparison::mean_log_prob},
    {"sum_log_prob", "sum of log-likelihoods", &corpus_comparison::sum_log_prob}};

std::string interval(const estimate& e) {
  if (std::isnan(e.low) || std::isnan(e.high)) return "-";
  return "[" + fixed(e.low, 3) + ", " + fixed(e.high, 3) + "]";
}

}  // namespace

scored_text::scored_text(std::string from, std::vector<sequence> read,
                         std::vector<scored_sequence> result)
    : name(std::move(from)),
      sequences(std::move(read)),
      scores(std::move(result)),
      by_sequence(tool::by_sequence(scores)) {
  for (const auto& s : scores) {
    summary.add(s.tokens);
    longer_than_context += s.windows > 1;
  }
}

json to_json(const sequence_score& s) {
  return {{"tokens", s.tokens},
          {"mean_nll", s.mean_nll()},
          {"mean_entropy", s.mean_entropy()},
          {"mean_phi", s.mean_phi()},
          {"z", s.z()},
          {"p_value", s.p_value()},
          {"standard_error", s.standard_error()},
          {"perplexity", s.perplexity()},
          {"share_below_-1", share_below(s, -1)},
          {"share_below_-3", share_below(s, -3)},
          {"share_below_-5", share_below(s, -5)},
          {"share_above_0", s.share_above(0)},
          {"min_phi", s.min_phi},
          {"min_position", s.min_position},
          {"non_finite", s.non_finite}};
}

json to_json(const corpus_comparison& c) {
  json out = {{"positive_sequences", c.positive_sequences},
              {"negative_sequences", c.negative_sequences}};
  for (const auto& [key, name, score] : all_compared) {
    out[key] = {{"auroc", to_json((c.*score).auroc)}, {"snr", to_json((c.*score).snr)}};
  }
  return out;
}

json to_json(const idiolect::sampler_options& s) {
  return {{"temperature", s.temperature},
          {"top_k", s.top_k},
          {"top_p", s.top_p},
          {"min_p", s.min_p},
          {"order", s.order == idiolect::sampler_order::temperature_first ? "temperature_first"
                                                                          : "temperature_last"}};
}

json heading(const std::string& command, const loaded_model& m) {
  json model = {{"path", m.path}};
  if (!m.tokenizer_path.empty()) model["tokenizer"] = m.tokenizer_path;
  model["parameters"] = m.parameters;
  model["vocab_size"] = m.vocab_size;
  model["context_size"] = m.context_size;
  if (m.llama2c != nullptr) model["rope_base"] = m.llama2c->weights.shape().rope_base;
  if (m.chat) model["chat"] = {{"system", m.system}};
  return {{"tool", "idiolect"},
          {"version", std::to_string(IDIOLECT_VERSION_MAJOR) + "." +
                          std::to_string(IDIOLECT_VERSION_MINOR) + "." +
                          std::to_string(IDIOLECT_VERSION_PATCH)},
          {"command", command},
          {"model", std::move(model)}};
}

json to_json(const scored_text& t) {
  json out = to_json(t.summary.all_tokens);
  out["file"] = t.name;
  out["sequences"] = t.sequences.size();
  out["sequences_in_windows"] = t.longer_than_context;
  out["z_of_sequences"] = {{"mean", t.summary.z.mean}, {"variance", t.summary.z.variance()}};
  json& list = out["by_sequence"] = json::array();
  for (std::size_t i = 0; i < t.sequences.size(); ++i) {
    json one = {{"where", t.sequences[i].where}, {"windows", t.scores[i].windows}};
    one.update(to_json(t.by_sequence[i]));
    list.push_back(std::move(one));
  }
  return out;
}

std::string token_lines(const scored_text& t, const loaded_model& m) {
  std::string lines;
  for (std::size_t i = 0; i < t.sequences.size(); ++i) {
    const sequence& s = t.sequences[i];
    for (std::size_t k = 0; k < t.scores[i].tokens.size(); ++k) {
      const auto& score = t.scores[i].tokens[k];
      const auto position = static_cast<std::size_t>(s.first_scored) + k;
      const json line = {{"sequence", i},
                         {"position", position},
                         {"token", s.tokens[position]},
                         {"piece", spelling(m, s.tokens[position])},
                         {"log_prob", score.log_prob},
                         {"entropy", score.entropy},
                         {"phi", score.phi},
                         {"varentropy", score.varentropy}};
      lines += dump(line) + "\n";
    }
  }
  return lines;
}

std::string dump(const json& j, int indent) {
  return j.dump(indent, ' ', false, json::error_handler_t::replace);
}

std::string describe(const loaded_model& m) {
  return printable(std::filesystem::path(m.path).filename().string()) + ", " +
         counted(m.parameters, "parameter") + ", " + counted(m.vocab_size, "piece") + ", context " +
         std::to_string(m.context_size) + (m.rope.empty() ? "" : ", " + m.rope) +
         (m.chat ? ", as a chat" : "");
}

std::string totals_table(std::span<const scored_text* const> texts) {
  std::vector<std::string> heads = {""};
  for (const auto* t : texts)
    heads.push_back(printable(std::filesystem::path(t->name).filename().string()));
  table rows(heads);
  const auto row = [&](const std::string& name, auto&& cell) {
    std::vector<std::string> cells = {name};
    for (const auto* t : texts) cells.push_back(cell(*t));
    rows.row(std::move(cells));
  };
  const auto total = [&](const std::string& name, auto&& cell) {
    row(name, [&](const scored_text& t) { return cell(t.summary.all_tokens); });
  };
  row("sequences", [](const scored_text& t) { return std::to_string(t.sequences.size()); });
  total("tokens scored", [](const sequence_score& s) { return std::to_string(s.tokens); });
  total("NLL, nats a token", [](const sequence_score& s) { return fixed(s.mean_nll(), 4); });
  total("perplexity", [](const sequence_score& s) { return fixed(s.perplexity(), 3); });
  total("entropy, nats a token",
        [](const sequence_score& s) { return fixed(s.mean_entropy(), 4); });
  total("CLL (mean phi), nats a token",
        [](const sequence_score& s) { return fixed(s.mean_phi(), 4); });
  total("z, all tokens as one", [](const sequence_score& s) { return fixed(s.z(), 2); });
  total("  two-sided p-value", [](const sequence_score& s) { return probability(s.p_value()); });
  row("z by sequence: mean", [](const scored_text& t) { return fixed(t.summary.z.mean, 2); });
  row("  variance", [](const scored_text& t) { return fixed(t.summary.z.variance(), 2); });
  for (const int threshold : {-1, -3, -5}) {
    total("tokens with phi below " + std::to_string(threshold),
          [&](const sequence_score& s) { return percent(share_below(s, threshold)); });
  }
  return rows.str();
}

std::string comparison_table(const corpus_comparison& c, double confidence) {
  const std::string head = fixed(100 * confidence, 0) + "% interval";
  table rows({"score", "AUROC", head, "SNR", head});
  for (const auto& [key, name, score] : all_compared) {
    const separation& s = c.*score;
    rows.row(
        {name, fixed(s.auroc.value, 3), interval(s.auroc), fixed(s.snr.value, 2), interval(s.snr)});
  }
  return rows.str();
}

std::string verdict(const sequence_score& s, const std::string& source) {
  const double phi = s.mean_phi();
  if (s.tokens == 0) return "No token could be scored.";
  const std::string size = fixed(std::fabs(phi), 2) + " nats a token";
  if (s.p_value() >= 0.01) {
    return "Nothing here speaks against " + source +
           " having written this itself: CLL is 0 within "
           "chance (p = " +
           probability(s.p_value()) + ").";
  }
  if (std::fabs(phi) < 0.1) {
    return "Nearly what " + source +
           " would have written: CLL is off 0 beyond chance, but only by " + size +
           (phi < 0 ? " (a little too unlikely)." : " (a little too likely).");
  }
  if (phi < 0) {
    return "Foreign to " + source + ": the tokens are less likely than its own would be, by " +
           size + " on average.";
  }
  return "More peaked than " + source + ": the tokens are more likely than its own would be, by " +
         size +
         " on average, as greedy or low-temperature text is. For text sampled at "
         "a temperature or a top-p, say so (--sampler-temperature, --top-p) to centre by that.";
}

std::string verdict(const corpus_comparison& c, const std::string& first,
                    const std::string& second) {
  if (c.positive_sequences < 2 || c.negative_sequences < 2) {
    return "Too few sequences to compare: an AUROC needs several on each side. For plain text, "
           "--split cuts a file into sequences.";
  }
  const estimate& cll = c.mean_phi.auroc;
  const double share = std::max(cll.value, 1 - cll.value);
  const std::string& own = cll.value >= 0.5 ? first : second;
  const std::string& other = cll.value >= 0.5 ? second : first;
  const bool beyond_chance = cll.low > 0.5 || cll.high < 0.5;
  std::string words;
  if (!beyond_chance) {
    words = "CLL does not tell the two apart beyond chance (AUROC " + fixed(cll.value, 3) + " " +
            interval(cll) + ").";
  } else {
    words = "Of a sequence from " + own + " and one from " + other +
            ", the first has the higher CLL in " + percent(share) + " of all pairs:\n" + own +
            " is the more like the model's own writing.";
  }
  const estimate& perplexity = c.perplexity.auroc;
  const double gain = std::fabs(cll.value - 0.5) - std::fabs(perplexity.value - 0.5);
  words +=
      "\nPerplexity " +
      std::string((perplexity.value - 0.5) * (cll.value - 0.5) < 0 ? "points the other way: AUROC "
                                                                   : "gives an AUROC of ") +
      fixed(perplexity.value, 3) + "; ";
  if (std::fabs(gain) < 0.005) {
    words += "the two do equally well here.";
  } else {
    words += std::string(gain > 0 ? "CLL" : "perplexity") + " separates better here.";
  }
  if (std::fabs(c.abs_z.auroc.value - 0.5) > std::fabs(c.z.auroc.value - 0.5) + 0.02) {
    words +=
        "\nTwo-sided |z| separates better than z: one of the texts is too likely rather than "
        "too unlikely for the model (more peaked than it).";
  }
  return words;
}

}  // namespace tool
