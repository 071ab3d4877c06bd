// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "study/checks.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <stdexcept>
#include <utility>

#include "study/methods.hpp"

namespace study {

namespace {

check judged(int finding, std::string statement, std::vector<measured> seeds, double beyond = 0) {
  check c{.finding = finding,
          .statement = std::move(statement),
          .beyond = beyond,
          .seeds = std::move(seeds)};
  c.mean = summary(c.seeds);
  const auto above =
      std::ranges::count_if(c.seeds, [&](const measured& m) { return m.value > beyond; });
  const bool every = above == std::ssize(c.seeds);
  const bool clear = c.mean.low > beyond;
  c.holds = clear || (every && c.seeds.size() > 1);
  const std::string count = std::to_string(above) + " of " + std::to_string(c.seeds.size());
  if (c.seeds.size() == 1) {
    c.verdict = c.holds ? "holds in this seed" : every ? "not clear in this seed" : "does not hold";
  } else if (every) {
    c.verdict = "holds in every seed";
  } else {
    c.verdict = (c.holds ? "holds in the mean, in " : "does not hold: in ") + count + " seeds";
  }
  return c;
}

// How far |z| of own samples stays below 3.5, where a standard normal number is with 99.95%.
check own_samples(figures& f) {
  return judged(2, "own samples at temperature 1 have mean CLL 0: 3.5 - |z|",
                f.by_seed("data/own", [](const json& d) {
                  const double left = 3.5 - std::fabs(d.at("cll").at("z").get<double>());
                  return measured{left, left, left};
                }));
}

std::string stage_of(const char* name, double rate) {
  return method_stage(method_named(name), rate);
}

comparison compared(std::string group, std::string statement, std::vector<measured> seeds) {
  comparison c{
      .group = std::move(group), .statement = std::move(statement), .seeds = std::move(seeds)};
  c.mean = summary(c.seeds);
  const auto n = std::ssize(c.seeds);
  const auto above = std::ranges::count_if(c.seeds, [](const measured& m) { return m.value > 0; });
  const auto below = std::ranges::count_if(c.seeds, [](const measured& m) { return m.value < 0; });
  const bool clear = c.mean.low > 0 || c.mean.high < 0;
  if (n == 1) {
    c.verdict = !clear             ? "no clear difference in this seed"
                : c.mean.value > 0 ? "higher in this seed"
                                   : "lower in this seed";
  } else if (above == n || below == n) {
    c.verdict = above == n ? "higher in every seed" : "lower in every seed";
    if (!clear) c.verdict += ", the mean's interval holds 0";
  } else if (clear) {
    c.verdict = c.mean.value > 0 ? "higher on average" : "lower on average";
  } else {
    c.verdict = "no clear difference";
  }
  if (n > 1 && above != n && below != n)
    c.verdict += " (higher in " + std::to_string(above) + " of " + std::to_string(n) + ")";
  return c;
}

}  // namespace

std::string finding_title(int finding) {
  static const std::array<const char*, 6> titles{
      "CLL finds foreign text better than likelihood, over tasks of different difficulty",
      "Mean CLL: foreign < self-distilled < hinted; own samples at 0",
      "Hinted decoding writes fewer right answers over wrong steps",
      "SFT on foreign text destroys what the model had; hinted data keep it",
      "Hinted data teach the task better than self-distilled data",
      "IDFT declines to fit foreign text"};
  return titles.at(static_cast<std::size_t>(finding - 1));
}

std::string rate_text(double rate) {
  const double exponent = std::floor(std::log10(rate) + 1e-9);
  char text[32];
  std::snprintf(text, sizeof text, "%ge%d", std::round(rate / std::pow(10.0, exponent) * 100) / 100,
                static_cast<int>(exponent));
  return text;
}

std::vector<check> make_checks(figures& f, const std::vector<double>& rates) {
  std::vector<check> checks;
  const auto pooled = [&](const char* level, const char* key) {
    return f.by_seed("detection", [&](const json& d) {
      return measured::from(d.at("pooled").at(level).at(key));
    });
  };
  for (const char* level : {"pure B", "half B", "a quarter B"}) {
    const std::string at = std::string(", ") + level;
    checks.push_back(judged(1, "AUROC of mean CLL - of mean log-likelihood" + at,
                            pooled(level, "phi_over_log_prob")));
    checks.push_back(
        judged(1, "AUROC of z - of mean log-likelihood" + at, pooled(level, "z_over_log_prob")));
  }
  for (const char* level : {"half B", "a quarter B"}) {
    checks.push_back(judged(1, std::string("AUROC of z - of the summed log-likelihood, ") + level,
                            pooled(level, "z_over_sum")));
  }

  const auto of_data = [&](const char* a, const char* b, measured (*number)(const json&)) {
    return f.by_seed(
        std::string("data/") + a, std::string("data/") + b,
        [&](const json& x, const json& y) { return difference(number(x), number(y)); });
  };
  checks.push_back(
      judged(2, "mean CLL of self-distilled - of B", of_data("hinted-0", "b", mean_phi)));
  checks.push_back(judged(2, "mean CLL of hinted (beta 1) - of self-distilled",
                          of_data("hinted-1", "hinted-0", mean_phi)));
  checks.push_back(
      judged(2, "mean CLL of own samples at 0.3 - at 1", of_data("own-cool", "own", mean_phi)));
  checks.push_back(own_samples(f));

  checks.push_back(judged(3, "wrong-step share of self-distilled - of hinted (beta 1)",
                          of_data("hinted-0", "hinted-1", wrong_steps)));
  if (f.has("data/hinted-8")) {
    checks.push_back(judged(3, "wrong-step share of self-distilled - of hinted (beta 8)",
                            of_data("hinted-0", "hinted-8", wrong_steps)));
  }
  checks.push_back(judged(3, "verified yield is kept within 0.1: hinted (beta 1) - self-distilled",
                          of_data("hinted-1", "hinted-0", yield), -0.1));

  for (const double rate : rates) {
    const std::string at = ", rate " + rate_text(rate);
    const auto sft_b = stage_of("sft-b", rate);
    const auto sft_hinted = stage_of("sft-hinted-1", rate);
    checks.push_back(judged(4, "base accuracy, untouched - after SFT on B" + at,
                            f.by_seed("before", sft_b, base_right)));
    checks.push_back(judged(4, "target accuracy, untouched - after SFT on B" + at,
                            f.by_seed("before", sft_b, target_right)));
    checks.push_back(judged(4, "base accuracy is kept within 0.045: hinted + SFT - untouched" + at,
                            f.by_seed(sft_hinted, "before", base_right), -0.045));
    checks.push_back(judged(4, "base accuracy, hinted + SFT - SFT on B" + at,
                            f.by_seed(sft_hinted, sft_b, base_right)));
  }
  for (const double rate : rates) {
    checks.push_back(judged(
        5, "target accuracy, hinted + SFT - self-distilled + SFT, rate " + rate_text(rate),
        f.by_seed(stage_of("sft-hinted-1", rate), stage_of("sft-hinted-0", rate), target_right)));
  }
  constexpr which_text b{"B"};
  for (const double rate : rates) {
    const std::string at = ", rate " + rate_text(rate);
    const auto idft = stage_of("idft-b", rate);
    checks.push_back(judged(6, "NLL of B, after IDFT on B - after SFT on B" + at,
                            f.by_seed(idft, stage_of("sft-b", rate), b)));
    checks.push_back(
        judged(6, "NLL of B, after IDFT on B - untouched" + at, f.by_seed(idft, "before", b)));
  }
  return checks;
}

std::vector<comparison> make_comparisons(figures& f, const std::vector<double>& rates) {
  std::vector<comparison> all;
  const auto add = [&](const char* group, const std::string& statement, const std::string& a,
                       const std::string& b, const auto& number) {
    if (f.has(a) && f.has(b)) all.push_back(compared(group, statement, f.by_seed(a, b, number)));
  };
  for (const double rate : rates) {
    const std::string at = ", rate " + rate_text(rate);
    const auto stage = [&](const char* name) { return stage_of(name, rate); };
    const char* group = "hinted data";
    add(group, "target: hinted + SFT - untouched" + at, stage("sft-hinted-1"), "before",
        target_right);
    add(group, "target: hinted + SFT - RFT" + at, stage("sft-hinted-1"), stage("rft"),
        target_right);
    add(group, "target: hinted + IDFT - hinted + SFT" + at, stage("idft-hinted-1"),
        stage("sft-hinted-1"), target_right);
    add(group, "base: hinted + IDFT - hinted + SFT" + at, stage("idft-hinted-1"),
        stage("sft-hinted-1"), base_right);
    add(group, "target: hinted, beta 3 - beta 1, + SFT" + at, stage("sft-hinted-3"),
        stage("sft-hinted-1"), target_right);
    add(group, "target: student first - hinted only, + SFT" + at, stage("sft-hinted-first"),
        stage("sft-hinted-1"), target_right);
    add(group, "target: CoT completion - RFT, + SFT" + at, stage("sft-cot"), stage("rft"),
        target_right);
    for (const auto& [data, label] : {std::pair{"b", "B"}, std::pair{"bs", "Bs"}}) {
      const auto on = [&, data = data](const char* loss) {
        return stage((std::string(loss) + "-" + data).c_str());
      };
      const std::string where = std::string(" on ") + label + at;
      const char* foreign = "foreign data";
      add(foreign, "base: IDFT - SFT" + where, on("idft"), on("sft"), base_right);
      add(foreign, "base: DFT - SFT" + where, on("dft"), on("sft"), base_right);
      add(foreign, "base: EAFT - SFT" + where, on("eaft"), on("sft"), base_right);
      add(foreign, "retained text, NLL: IDFT - SFT" + where, on("idft"), on("sft"),
          which_text{"base"});
      add(foreign, "target: IDFT - SFT" + where, on("idft"), on("sft"), target_right);
    }
    for (const method& m : methods()) {
      if (m.kind != family::cure) continue;
      const std::string against = m.title + " - plain IDFT, on Bs" + at;
      const auto cured = method_stage(m, rate);
      add("variants of IDFT", "target: " + against, cured, stage("idft-bs"), target_right);
      add("variants of IDFT", "base: " + against, cured, stage("idft-bs"), base_right);
    }
    add("preference", "target: DPO - untouched" + at, stage("dpo"), "before", target_right);
    add("preference", "target: SimPO - untouched" + at, stage("simpo"), "before", target_right);
    add("online", "target: online hinted + SFT - hinted + SFT" + at, stage("online-sft"),
        stage("sft-hinted-1"), target_right);
    add("online", "base: online hinted + SFT - hinted + SFT" + at, stage("online-sft"),
        stage("sft-hinted-1"), base_right);
    add("online", "target: online hinted + IDFT - hinted + IDFT" + at, stage("online-idft"),
        stage("idft-hinted-1"), target_right);
    add("online", "base: online hinted + IDFT - online hinted + SFT" + at, stage("online-idft"),
        stage("online-sft"), base_right);
    add("online", "target: online hinted + SFT, steps verified - answers verified" + at,
        stage("online-sft-steps"), stage("online-sft"), target_right);
    add("online", "target: online hinted + SFT, steps verified - hinted + SFT" + at,
        stage("online-sft-steps"), stage("sft-hinted-1"), target_right);
    add("online", "target: online rejection sampling - RFT" + at, stage("online-rft"), stage("rft"),
        target_right);
  }
  return all;
}

}  // namespace study
