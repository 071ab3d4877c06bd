// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "study/report.hpp"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <utility>

#include <idiolect/version.hpp>

#include "study/datasets.hpp"
#include "study/methods.hpp"

namespace study {

namespace {

json packed(const std::vector<measured>& seeds) {
  json j = summary(seeds).to_json();
  for (const auto& m : seeds) j["seeds"].push_back(m.value);
  return j;
}

// A count or time in a stage, 0 where there is none.
std::vector<measured> amounts(figures& f, const std::string& stage, const char* key) {
  return f.by_seed(stage, [&](const json& j) { return measured{.value = j.value(key, 0.0)}; });
}

std::vector<measured> sum(std::vector<measured> a, const std::vector<measured>& b) {
  for (std::size_t i = 0; i < a.size(); ++i) a[i].value += b[i].value;
  return a;
}

bool is_idft_on_foreign_data(const method& m) {
  return m.kind == family::cure || (m.kind == family::foreign && m.name.starts_with("idft"));
}

/// The lowest share of answers that end, over seeds, questions and models that `chosen` admits.
template <class Chosen>
json least_ends(figures& f, const settings& how, Chosen&& chosen) {
  json least{{"share", 1.0}, {"method", "all of them"}};
  for (const method& m : methods()) {
    for (const double rate : how.rates) {
      const std::string stage = method_stage(m, rate);
      if (!chosen(m) || !f.has(stage)) continue;
      for (const auto& which : {target_closed, base_closed}) {
        for (const auto& share : f.by_seed(stage, which)) {
          if (share.value >= least.at("share").get<double>()) continue;
          least = {{"share", share.value},
                   {"method", m.title + " at " + rate_text(rate * m.rate_factor)}};
        }
      }
    }
  }
  return least;
}

const char* name_of(family kind) {
  switch (kind) {
    case family::foreign:
      return "foreign";
    case family::own:
      return "own";
    case family::preference:
      return "preference";
    case family::online:
      return "online";
    case family::cure:
      return "cure";
  }
  return "";
}

json evaluation_of(figures& f, const std::string& stage) {
  json j;
  for (const char* questions : {"target", "base"}) {
    for (const char* what : {"right", "flawless", "closed"})
      j[questions][what] = packed(f.by_seed(stage, which_share{questions, what}));
  }
  for (const char* text : {"B", "Bs", "A", "base"})
    j["nll"][text] = packed(f.by_seed(stage, which_text{text}));
  return j;
}

json method_report(figures& f, const method& m, double rate) {
  const std::string stage = method_stage(m, rate);
  json j{{"name", m.name},
         {"title", m.title},
         {"family", name_of(m.kind)},
         {"data", m.data},
         {"rate", rate * m.rate_factor},
         {"study_rate", rate}};
  j.update(evaluation_of(f, stage));
  auto generated = amounts(f, stage, "generated_tokens");
  auto seconds = amounts(f, stage, "training_seconds");
  for (const auto& data : {m.data, m.mixed_with}) {
    if (data.empty()) continue;
    generated = sum(std::move(generated), amounts(f, "data/" + data, "generated_tokens"));
    seconds = sum(std::move(seconds), amounts(f, "data/" + data, "seconds"));
  }
  j["trained_tokens"] = packed(amounts(f, stage, "trained_tokens"));
  j["generated_tokens"] = packed(generated);
  j["seconds"] = packed(seconds);
  return j;
}

json detection_report(figures& f) {
  json j;
  const auto& first = f.of(f.seeds().front(), "detection");
  for (const auto& [level, content] : first.at("pooled").items()) {
    const auto number = [&, level = level](const std::string& path) {
      return packed(f.by_seed("detection", [&](const json& d) {
        return measured::from(d.at("pooled").at(level).at(json::json_pointer(path)));
      }));
    };
    for (const auto& [statistic, unused] : content.at("auroc").items())
      j["pooled"][level][statistic] = number("/auroc/" + statistic);
    for (const char* key : {"phi_over_log_prob", "z_over_log_prob", "z_over_sum"})
      j["pooled"][level][key] = number(std::string("/") + key);
  }
  for (const auto& [task, content] : first.at("by_task").items()) {
    for (const auto& [statistic, unused] : content.items()) {
      j["by_task"][task][statistic] =
          packed(f.by_seed("detection", [&, task = task, statistic = statistic](const json& d) {
            return measured{.value = d.at("by_task").at(task).at(statistic).get<double>()};
          }));
    }
  }
  return j;
}

json data_report(figures& f, const data_recipe& r) {
  const std::string stage = "data/" + r.name;
  json j{{"name", r.name},
         {"title", r.title},
         {"written", r.written},
         {"verified", r.accept != acceptance::all}};
  j["phi"] = packed(f.by_seed(stage, mean_phi));
  j["z"] = packed(f.by_seed(
      stage, [](const json& d) { return measured{.value = d.at("cll").at("z").get<double>()}; }));
  j["yield"] = packed(f.by_seed(stage, yield));
  j["wrong_steps"] = packed(f.by_seed(stage, wrong_steps));
  j["generated_tokens"] = packed(amounts(f, stage, "generated_tokens"));
  j["forwarded_tokens"] = packed(amounts(f, stage, "forwarded_tokens"));
  j["seconds"] = packed(amounts(f, stage, "seconds"));
  return j;
}

std::string processor() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown processor";
}

}  // namespace

json make_report(figures& f, const settings& how) {
  json report;
  report["version"] = std::to_string(IDIOLECT_VERSION_MAJOR) + "." +
                      std::to_string(IDIOLECT_VERSION_MINOR) + "." +
                      std::to_string(IDIOLECT_VERSION_PATCH);
  report["processor"] = processor();
  report["settings"] = how.to_json();
  report["seeds"] = f.seeds();
  report["detection"] = detection_report(f);
  for (const auto& r : data_recipes()) {
    if (f.has("data/" + r.name)) report["data"].push_back(data_report(f, r));
  }
  report["before"] = evaluation_of(f, "before");
  for (const method& m : methods()) {
    for (const double rate : how.rates) {
      if (f.has(method_stage(m, rate))) report["methods"].push_back(method_report(f, m, rate));
    }
  }
  report["least_ends"]["idft"] = least_ends(f, how, is_idft_on_foreign_data);
  report["least_ends"]["all"] = least_ends(f, how, [](const method&) { return true; });
  for (const auto& c : make_checks(f, how.rates)) {
    report["checks"].push_back({{"finding", c.finding},
                                {"title", finding_title(c.finding)},
                                {"statement", c.statement},
                                {"beyond", c.beyond},
                                {"number", packed(c.seeds)},
                                {"holds", c.holds},
                                {"verdict", c.verdict}});
  }
  report["comparisons"] = json::array();
  for (const auto& c : make_comparisons(f, how.rates)) {
    report["comparisons"].push_back({{"group", c.group},
                                     {"statement", c.statement},
                                     {"number", packed(c.seeds)},
                                     {"verdict", c.verdict}});
  }
  report["gallery"] = f.of(f.seeds().front(), "gallery");
  return report;
}

std::string ends_in_words(const json& report) {
  const auto& idft = report.at("least_ends").at("idft");
  const auto& all = report.at("least_ends").at("all");
  const auto share = [](const json& j) { return j.at("share").get<double>(); };
  const auto name = [](const json& j) { return j.at("method").get<std::string>(); };
  char text[512];
  std::snprintf(text, sizeof text,
                "The lowest share of answers that end, in any seed, after IDFT or a variant on "
                "foreign data: %.3f (%s). %s The lowest of all methods: %.3f (%s).",
                share(idft), name(idft).c_str(),
                share(idft) < 0.5 ? "So the failure occurs here."
                                  : "So the failure does not occur here, and nothing here shows a "
                                    "cure for it.",
                share(all), name(all).c_str());
  return text;
}

bool all_hold(const json& report) {
  return std::ranges::all_of(report.at("checks"),
                             [](const json& c) { return c.at("holds").get<bool>(); });
}

}  // namespace study
