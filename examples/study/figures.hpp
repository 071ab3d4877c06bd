// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The results of all stages as numbers with intervals: what tables, checks and pictures read.

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "study/lab.hpp"
#include "study/statistics.hpp"
#include "study/store.hpp"

namespace study {

/// Reads each stage once.
class figures {
 public:
  figures(const store& results, std::vector<std::uint64_t> seeds)
      : results_(results), seeds_(std::move(seeds)) {}

  [[nodiscard]] std::span<const std::uint64_t> seeds() const { return seeds_; }
  [[nodiscard]] bool has(const std::string& stage) const {
    return results_.has(lab::stage(seeds_.front(), stage));
  }
  [[nodiscard]] const json& of(std::uint64_t seed, const std::string& stage) {
    const std::string name = lab::stage(seed, stage);
    const auto found = cache_.find(name);
    return found != cache_.end() ? found->second
                                 : cache_.emplace(name, results_.read(name)).first->second;
  }

  /// `number(result)`, a measured, for each seed.
  template <class F>
  [[nodiscard]] std::vector<measured> by_seed(const std::string& stage, F&& number) {
    std::vector<measured> all;
    for (const auto seed : seeds_) all.push_back(number(of(seed, stage)));
    return all;
  }
  /// `number(a, b)` of two stages for each seed.
  template <class F>
  [[nodiscard]] std::vector<measured> by_seed(const std::string& a, const std::string& b,
                                              F&& number) {
    std::vector<measured> all;
    for (const auto seed : seeds_) all.push_back(number(of(seed, a), of(seed, b)));
    return all;
  }

 private:
  const store& results_;
  std::vector<std::uint64_t> seeds_;
  std::map<std::string, json> cache_;
};

/// Mean over seeds; of a single seed its own interval.
[[nodiscard]] inline measured summary(std::span<const measured> seeds) {
  if (seeds.size() == 1) return seeds.front();
  std::vector<double> x;
  for (const auto& m : seeds) x.push_back(m.value);
  return over_seeds(x);
}

/// Which share of an evaluation: of the `target` or `base` questions, `right`, `flawless` or
/// `closed`.
struct which_share {
  const char* questions;
  const char* what;

  [[nodiscard]] std::string_view flags(const json& evaluation) const {
    return evaluation.at(questions).at(what).get_ref<const std::string&>();
  }
  [[nodiscard]] measured operator()(const json& evaluation) const {
    return share_of(flags(evaluation));
  }
  /// a less b, the same questions.
  [[nodiscard]] measured operator()(const json& a, const json& b) const {
    return paired_difference(flags(a), flags(b));
  }
};
inline constexpr which_share target_right{"target", "right"};
inline constexpr which_share base_right{"base", "right"};
inline constexpr which_share target_closed{"target", "closed"};
inline constexpr which_share base_closed{"base", "closed"};

/// Token-weighted NLL of the texts of one kind in an evaluation, nats a token.
struct which_text {
  const char* name;

  [[nodiscard]] measured operator()(const json& evaluation) const {
    const auto& j = evaluation.at("nll").at(name);
    return ratio(j.at("nats").get<std::vector<double>>(),
                 j.at("tokens").get<std::vector<double>>());
  }
  [[nodiscard]] measured operator()(const json& a, const json& b) const {
    auto x = a.at("nll").at(name).at("nats").get<std::vector<double>>();
    const auto y = b.at("nll").at(name).at("nats").get<std::vector<double>>();
    for (std::size_t i = 0; i < x.size(); ++i) x[i] -= y[i];
    return ratio(x, a.at("nll").at(name).at("tokens").get<std::vector<double>>());
  }
};

/// Of a data set.
[[nodiscard]] inline measured mean_phi(const json& data) {
  return measured::from(data.at("cll").at("phi"));
}
/// part / whole as a share with its interval.
[[nodiscard]] inline measured share_in(const json& data, const char* part, const char* whole) {
  const double n = data.at(whole).get<double>();
  const double p = n > 0 ? data.at(part).get<double>() / n : 0;
  return normal_interval(p, n > 0 ? std::sqrt(p * (1 - p) / n) : 0);
}
[[nodiscard]] inline measured wrong_steps(const json& data) {
  return share_in(data, "wrong_steps", "accepted");
}
[[nodiscard]] inline measured yield(const json& data) {
  return share_in(data, "accepted", "records");
}

}  // namespace study
