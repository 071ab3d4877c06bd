// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// What Google Benchmark wrote, as medians over the repetitions.

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace idiolect::bench {

/// One benchmark: a time in ms, its quartiles, and its counters.
struct figure {
  std::vector<double> times;
  std::vector<double> processor_times;  ///< of the calling thread, preparations included
  std::string label;
  std::map<std::string, double> counters;

  /// `part` 0.5 is the median.
  [[nodiscard]] double quantile(double part) const {
    auto sorted = times;
    std::ranges::sort(sorted);
    const double at = part * static_cast<double>(sorted.size() - 1);
    const auto below = static_cast<std::size_t>(at);
    const auto above = std::min(below + 1, sorted.size() - 1);
    return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
  }
  [[nodiscard]] double median() const { return quantile(0.5); }
  /// Distance of the quartiles as a part of the median.
  [[nodiscard]] double spread() const { return (quantile(0.75) - quantile(0.25)) / median(); }
};

/// The output of one executable.
struct results {
  std::string executable;
  std::string peer;  ///< name and version, for a peer's
  nlohmann::json context;
  std::vector<std::string> order;         ///< as they were registered, not as they ran
  std::map<std::string, figure> figures;  ///< by operation/scalar/shape/threads

  [[nodiscard]] const figure* find(const std::string& name) const {
    const auto at = figures.find(name);
    return at == figures.end() ? nullptr : &at->second;
  }
  [[nodiscard]] std::optional<double> time(const std::string& name) const {
    const figure* const f = find(name);
    return f != nullptr ? std::optional(f->median()) : std::nullopt;
  }
};

/// A name without what Google Benchmark appends for its own options (manual_time, repeats:1, ...).
inline std::string plain_name(std::string name) {
  for (const char* const option : {"/iterations:", "/repeats:", "/manual_time", "/real_time"}) {
    if (const auto at = name.find(option); at != std::string::npos) name.erase(at);
  }
  return name;
}

/// Reads a file written with --benchmark_out_format=json; throws if a benchmark in it failed.
inline results read_results(const std::filesystem::path& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path.string());
  const auto json = nlohmann::json::parse(file);
  results r;
  r.context = json.at("context");
  r.executable =
      std::filesystem::path(r.context.at("executable").get<std::string>()).filename().string();
  r.peer = r.context.value("peer", "");
  const std::map<std::string, double> milliseconds{
      {"ns", 1e-6}, {"us", 1e-3}, {"ms", 1}, {"s", 1e3}};
  std::multimap<std::pair<int, int>, std::string> order;
  for (const auto& b : json.at("benchmarks")) {
    if (b.value("run_type", "") != "iteration") continue;
    const auto name = plain_name(b.at("name").get<std::string>());
    if (b.value("error_occurred", false)) {
      throw std::runtime_error(name + ": " + b.value("error_message", "failed"));
    }
    if (!r.figures.contains(name)) {
      order.emplace(std::pair(b.value("family_index", 0), b.value("per_family_instance_index", 0)),
                    name);
    }
    figure& f = r.figures[name];
    const double unit = milliseconds.at(b.at("time_unit").get<std::string>());
    f.times.push_back(unit * b.at("real_time").get<double>());
    f.processor_times.push_back(unit * b.at("cpu_time").get<double>());
    f.label = b.value("label", "");
    for (const auto& [key, value] : b.items()) {
      static const std::vector<std::string> own{"family_index", "per_family_instance_index",
                                                "repetitions",  "repetition_index",
                                                "threads",      "iterations",
                                                "real_time",    "cpu_time"};
      if (value.is_number() && std::ranges::find(own, key) == own.end()) f.counters[key] = value;
    }
  }
  for (auto& [key, name] : order) r.order.push_back(name);
  return r;
}

}  // namespace idiolect::bench
