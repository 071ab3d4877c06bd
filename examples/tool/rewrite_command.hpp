// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The options of `idiolect rewrite`, and what follows from them.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <idiolect/hinted/lambda.hpp>
#include <idiolect/hinted/policy.hpp>
#include <nlohmann/json_fwd.hpp>

#include "tool/language_model.hpp"
#include "tool/rewrite_records.hpp"

namespace tool {

struct rewrite_command_options {
  model_choice model;
  std::string in;
  std::string out;
  std::string rejected;
  std::string json;
  bool restart = false;
  bool check = false;
  std::string on_bad_record = "fail";
  index_t show = 0;
  bool trace = false;
  std::optional<index_t> parallel;
  bool defer_student = false;
  std::optional<index_t> max_lag;

  // Those whose absence means something are optional until `complete`.
  std::optional<std::string> delimiter;
  bool delimiter_at_line_start = false;
  std::string reasoning_end;
  std::optional<std::string> prompt_template;
  std::optional<std::string> hint_template;
  std::string hint = "solution";
  std::string analysis_marker;
  index_t analysis_budget = 512;

  std::optional<std::string> verifier;
  std::vector<std::string> verifier_arguments;
  double verifier_timeout = 10;  ///< seconds
  std::optional<index_t> verifier_parallel;
  std::string percent = "ignored";
  std::vector<std::string> units;
  bool any_order = false;

  std::string schedule = "linear";
  std::optional<double> beta;
  std::optional<double> centre;
  std::optional<double> low;
  std::optional<double> high;
  std::optional<double> lambda;

  index_t tries = 3;
  index_t rollouts = 1;
  std::uint64_t seed = 0;
  double temperature = 0.3;
  double top_p = 0.95;
  index_t top_k = 0;
  double min_p = 0;
  bool temperature_first = false;
  double rollout_temperature = 1;
  double rollout_top_p = 1;
  index_t rollout_top_k = 0;
  double rollout_min_p = 0;
  std::string first_token = "teacher";
  std::optional<index_t> entropy_vocab;
  index_t max_tokens = 512;
  bool accept_cut = false;
  index_t repeat_length = idiolect::repetition_options{}.length;
  index_t repeat_times = idiolect::repetition_options{}.times;
};

/// Says whether a text is an acceptable answer.
using any_verifier = std::function<bool(const source_record*, std::string_view)>;

/// Fills in what depends on the model: the default model and its kin, known by their vocabulary,
/// have a format of their own. Raises usage_error for options that do not belong to the others.
void complete(rewrite_command_options& o, const loaded_model& m);

// Each raises usage_error for options that make no sense.
[[nodiscard]] prompting prompting_of(const rewrite_command_options& o);
[[nodiscard]] idiolect::any_lambda schedule_of(const rewrite_command_options& o);
[[nodiscard]] idiolect::hinted_options policy_of(const rewrite_command_options& o,
                                                 const loaded_model& m);
[[nodiscard]] any_verifier verifier_of(const rewrite_command_options& o);

/// The files that a verifying program is made of, as far as its command line says.
[[nodiscard]] std::vector<named_file> verifier_files(const rewrite_command_options& o);

/// What the decoding of these records asks of a model.
[[nodiscard]] demand demand_of(const rewrite_command_options& o, const source_file& file);

/// All that the result depends on, as one line of JSON: the first of the unfinished file.
[[nodiscard]] std::string header_of(const rewrite_command_options& o, const loaded_model& m,
                                    const std::string& input);

}  // namespace tool
