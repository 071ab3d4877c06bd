// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The sizes of the study. Everything that is drawn or trained is a pure function of these and a
// seed.

#include <cstddef>
#include <cstdint>
#include <vector>

#include <idiolect/core/types.hpp>
#include <nlohmann/json.hpp>

namespace study {

using idiolect::index_t;
using idiolect::token_id;
using json = nlohmann::ordered_json;

struct settings {
  index_t pretraining_steps = 2000;
  std::size_t records = 512;    ///< questions with foreign solutions: what there is to train on
  std::size_t questions = 400;  ///< of each kind to measure a model with
  std::size_t detected = 400;   ///< texts of each corpus that is to be told from another
  index_t steps = 120;
  index_t batch = 16;  ///< texts a step
  index_t warmup = 10;
  std::vector<double> rates{1e-4, 3e-4};
  index_t replicates = 1000;  ///< of a bootstrap

  /// What a quick run does with: fewer questions.
  [[nodiscard]] static settings quick() {
    settings s;
    s.questions = 200;
    s.detected = 240;
    s.replicates = 500;
    return s;
  }

  [[nodiscard]] json to_json() const {
    return {{"pretraining_steps", pretraining_steps},
            {"records", records},
            {"questions", questions},
            {"detected", detected},
            {"steps", steps},
            {"batch", batch},
            {"warmup", warmup},
            {"rates", rates},
            {"replicates", replicates}};
  }
};

/// What random numbers are for: a seed of its own for each use, so that nothing that is measured
/// on was trained on.
enum class use : std::uint64_t { training = 1, testing, detecting, sampling, ordering };

[[nodiscard]] constexpr std::uint64_t seed_for(std::uint64_t seed, use what) {
  return 1'000'003 * seed + 50'000 + static_cast<std::uint64_t>(what);
}

}  // namespace study
