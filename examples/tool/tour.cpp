// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "tool/tour.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include <nlohmann/json.hpp>

#include "tool/sampling.hpp"
#include "tool/text.hpp"

namespace tool {

using idiolect::corpus_comparison;
using idiolect::separation;

namespace {

std::vector<token_id> prompt_of(const sequence& s) {
  return {s.tokens.begin(), s.tokens.begin() + s.first_scored};
}

/// What follows the last delimiter in the text of `tokens` from `first` on; empty without one.
std::string answer_in(const std::vector<token_id>& tokens, index_t first, const loaded_model& like,
                      const std::string& delimiter) {
  std::string text;
  for (auto i = static_cast<std::size_t>(first); i < tokens.size(); ++i) {
    if (tokens[i] != like.end) like.tokenizer.append_piece(tokens[i], text);
  }
  const auto place = text.rfind(delimiter);
  if (place == std::string::npos) return {};
  return std::string(stripped(std::string_view(text).substr(place + delimiter.size())));
}

double share(index_t part, index_t whole) {
  return static_cast<double>(part) / static_cast<double>(whole);
}

std::string auroc_of(const separation& s) {
  return fixed(s.auroc.value, 3) + " [" + fixed(s.auroc.low, 3) + ", " + fixed(s.auroc.high, 3) +
         "]";
}

/// "CLL separates better than perplexity" or the like, by two AUROCs.
std::string contest(const corpus_comparison& c) {
  const double cll = c.mean_phi.auroc.value;
  const double perplexity = c.perplexity.auroc.value;
  const std::string figures = " (AUROC " + fixed(cll, 3) + " against " + fixed(perplexity, 3) + ")";
  if (std::fabs(cll - perplexity) < 0.005)
    return "CLL and perplexity separate equally well" + figures;
  return std::string(cll > perplexity ? "CLL separates better than perplexity"
                                      : "CLL separates worse than perplexity") +
         figures;
}

}  // namespace

scored_text own_samples(language_model& model, const executor& workers,
                        const std::vector<sequence>& like, std::uint64_t seed) {
  std::vector<std::vector<token_id>> prompts;
  sampling how;
  how.seed = seed;
  for (const sequence& s : like) {
    prompts.push_back(prompt_of(s));
    how.max_tokens = std::max(how.max_tokens, s.scored());
  }
  std::vector<sequence> texts;
  for (auto& t : sample_all(model, workers, prompts, how)) {
    texts.push_back(
        {"sample " + std::to_string(texts.size()), std::move(t.tokens), t.prompt_tokens});
  }
  auto scores = score_all(model, workers, texts, {}, "scoring own samples");
  return {"own samples", std::move(texts), std::move(scores)};
}

answer_figures answer_all(const tiny_llama::weights<float>& weights, const loaded_model& like,
                          const std::vector<sequence>& texts, const std::string& delimiter,
                          const executor& workers) {
  std::vector<std::vector<token_id>> prompts;
  std::vector<std::string> expected;
  sampling how;
  how.sampler.temperature = 0;
  for (const sequence& s : texts) {
    const bool asks = s.first_scored > 1 && s.tokens.back() == like.end && !delimiter.empty();
    std::string answer = asks ? answer_in(s.tokens, s.first_scored, like, delimiter) : "";
    if (answer.empty()) continue;
    prompts.push_back(prompt_of(s));
    expected.push_back(std::move(answer));
    how.max_tokens = std::max(how.max_tokens, 2 * s.scored());
  }
  answer_figures f;
  if (prompts.empty()) return f;
  language_model model = like.trainable("tour").open(weights, workers);
  const auto given = sample_all(model, workers, prompts, how);
  f.asked = static_cast<index_t>(given.size());
  for (std::size_t i = 0; i < given.size(); ++i) {
    f.ended += given[i].why == finish::end;
    f.right += answer_in(given[i].tokens, given[i].prompt_tokens, like, delimiter) == expected[i];
  }
  return f;
}

std::string detection_table(const scored_text& own, const scored_text& foreign,
                            const corpus_comparison& same,
                            const std::optional<corpus_comparison>& wider) {
  std::vector<std::string> heads = {"", "own samples", "foreign text", "AUROC"};
  if (wider) heads.push_back("own samples on other prompts too");
  table rows(heads);
  const auto row = [&](const std::string& name, double a, double b, int digits,
                       separation corpus_comparison::*score) {
    std::vector<std::string> cells = {name, fixed(a, digits), fixed(b, digits),
                                      auroc_of(same.*score)};
    if (wider) cells.push_back(auroc_of((*wider).*score));
    rows.row(std::move(cells));
  };
  const auto& a = own.summary.all_tokens;
  const auto& b = foreign.summary.all_tokens;
  row("perplexity", a.perplexity(), b.perplexity(), 3, &corpus_comparison::perplexity);
  row("CLL, nats a token", a.mean_phi(), b.mean_phi(), 3, &corpus_comparison::mean_phi);
  row("z, mean of the texts", own.summary.z.mean, foreign.summary.z.mean, 2, &corpus_comparison::z);
  return rows.str();
}

std::string detection_meaning(const scored_text& own, const scored_text& foreign,
                              const corpus_comparison& same,
                              const std::optional<corpus_comparison>& wider) {
  std::string words = "Own samples. " + verdict(own.summary.all_tokens, "the model") +
                      "\nForeign text. " + verdict(foreign.summary.all_tokens, "the model") + "\n";
  const bool prompts =
      std::ranges::any_of(own.sequences, [](const sequence& s) { return s.first_scored > 1; });
  words += (prompts ? "On the same prompts, which are equally hard for both, " : "Here ") +
           contest(same) + ".\n";
  if (wider) {
    words += "With own samples on prompts of other difficulty too, " + contest(*wider) + ".\n";
  }
  return words;
}

std::string training_table(const std::vector<outcome>& all) {
  std::vector<std::string> heads = {""};
  for (const outcome& o : all) heads.push_back(o.name);
  table rows(heads);
  const std::pair<const char*, tour_figures outcome::*> texts[] = {
      {"foreign text", &outcome::foreign}, {"retained text", &outcome::retained}};
  for (const auto& of : texts) {
    const auto text = of.second;
    const auto row = [&](const std::string& label, auto&& cell) {
      std::vector<std::string> cells = {label};
      for (const outcome& o : all) cells.push_back(cell(o.*text));
      rows.row(std::move(cells));
    };
    row(std::string(of.first) + ": NLL, nats a token",
        [](const tour_figures& f) { return fixed(f.text.score.mean_nll(), 3); });
    row("  CLL", [](const tour_figures& f) { return fixed(f.text.score.mean_phi(), 3); });
    if ((all.front().*text).text.ends > 0) {
      row("  p(end) where it ends",
          [](const tour_figures& f) { return fixed(f.text.end_prob, 3); });
    }
    if ((all.front().*text).answers.asked > 0) {
      row("  answers as in the text",
          [](const tour_figures& f) { return percent(share(f.answers.right, f.answers.asked)); });
      row("  answers that end",
          [](const tour_figures& f) { return percent(share(f.answers.ended, f.answers.asked)); });
    }
  }
  return rows.str();
}

std::string training_meaning(const std::vector<outcome>& all) {
  const outcome& before = all.front();
  const auto learned = [&](const outcome& o) {
    return before.foreign.text.score.mean_nll() - o.foreign.text.score.mean_nll();
  };
  const auto forgot = [&](const outcome& o) {
    return o.retained.text.score.mean_nll() - before.retained.text.score.mean_nll();
  };
  const auto lost_answers = [&](const outcome& o) {
    return before.retained.answers.right - o.retained.answers.right;
  };
  const bool answers = before.retained.answers.asked > 0;
  const auto signed_number = [](double x) { return (x > 0 ? "+" : "") + fixed(x, 3); };
  const auto more_or_less = [](double difference, double margin) {
    return std::string(std::fabs(difference) < margin ? "as much as"
                       : difference < 0               ? "less than"
                                                      : "more than");
  };

  std::string words;
  for (std::size_t i = 1; i + 1 < all.size(); i += 2) {
    const outcome& sft = all[i];
    const outcome& idft = all[i + 1];
    words += idft.name + " takes up " + more_or_less(learned(idft) - learned(sft), 0.005) + " " +
             sft.name + " of the foreign text (NLL " + signed_number(-learned(idft)) + " against " +
             signed_number(-learned(sft)) + "),\n  and forgets " +
             more_or_less(forgot(idft) - forgot(sft), 0.005) + " it of the retained text (NLL " +
             signed_number(forgot(idft)) + " against " + signed_number(forgot(sft)) + ")";
    if (answers) {
      words += "; right answers lost: " + std::to_string(lost_answers(idft)) + " against " +
               std::to_string(lost_answers(sft)) + " of " +
               std::to_string(before.retained.answers.right);
    }
    words += ".\n";
  }
  for (std::size_t i = 1; i < all.size(); ++i) {
    const auto& now = all[i].retained;
    const bool closes_less =
        (before.retained.text.ends > 0 &&
         now.text.end_prob < 0.8 * before.retained.text.end_prob) ||
        (now.answers.asked > 0 && 10 * now.answers.ended < 9 * before.retained.answers.ended);
    if (closes_less) {
      words += "Beware: after " + all[i].name + " texts of the retained kind close less often.\n";
    }
  }
  return words;
}

nlohmann::ordered_json to_json(const tour_figures& f) {
  auto out = to_json(f.text.score);
  if (f.text.ends > 0) out["end_prob"] = f.text.end_prob;
  if (f.answers.asked > 0) {
    out["answers"] = {
        {"asked", f.answers.asked}, {"right", f.answers.right}, {"ended", f.answers.ended}};
  }
  return out;
}

}  // namespace tool
