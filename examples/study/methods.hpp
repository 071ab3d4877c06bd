// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Every way of fine-tuning that the study compares, as a table: what it trains on, with which
// objective.

#include <functional>
#include <string>
#include <vector>

#include "study/training.hpp"

namespace study {

/// What a method is an example of: the report's sections.
enum class family { foreign, own, preference, online, cure };

struct method {
  std::string name;   ///< of its stages
  std::string title;  ///< for people
  family kind = family::foreign;
  std::string data = {};  ///< data set; none for the online loop
  objective loss = {};
  /// Where the objective needs the lab: DPO's reference.
  std::function<objective(const lab&)> make_loss = {};
  idiolect::rewrite_recipe online = {};      ///< how the online loop answers its questions
  acceptance verified = acceptance::answer;  ///< of the online loop's texts
  std::string mixed_with = {};               ///< half of each batch is from this data set
  double rate_factor = 1;
  bool quick = false;
};

[[nodiscard]] const std::vector<method>& methods();
/// Raises std::out_of_range for a name that is not in the table.
[[nodiscard]] const method& method_named(const std::string& name);

[[nodiscard]] std::string method_stage(const method& m, double rate);

/// Fine-tunes the base model and measures the result.
[[nodiscard]] json run_method(const lab& l, const method& m, double rate);

}  // namespace study
