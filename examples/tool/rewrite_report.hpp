// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Rewritten records as lines of JSON, and what a person is told about them. The summary is made
// from the lines alone, so that a run that was interrupted ends with the same words.

#include <map>
#include <string>
#include <vector>

#include <idiolect/hinted/rewrite.hpp>
#include <nlohmann/json_fwd.hpp>

#include "tool/language_model.hpp"
#include "tool/rewrite_records.hpp"

namespace tool {

/// One line. "tokens" and "prompt_tokens" are what `finetune` and `score` read; "lambda" has the
/// student's share for each token of the answer. With `trace` also log-probabilities and phi.
[[nodiscard]] std::string rewritten_line(const idiolect::rewritten<const source_record*>& r,
                                         bool trace);

/// Sums over lines.
class rewrite_totals {
 public:
  /// Raises input_error, naming `where`, for a line that `rewritten_line` did not write.
  void add(const std::string& line, const std::string& where);

  [[nodiscard]] index_t records() const { return records_; }
  [[nodiscard]] index_t accepted() const { return rollout_ + hinted_; }
  [[nodiscard]] nlohmann::ordered_json as_json() const;
  [[nodiscard]] std::string table() const;

 private:
  struct scores {
    index_t texts = 0;
    double tokens = 0;
    double phi = 0;
    double nll = 0;
    void add(const nlohmann::ordered_json& line, const char* name);
    [[nodiscard]] double mean(double sum) const { return sum / tokens; }  // NaN of nothing
  };

  index_t records_ = 0;
  index_t rollout_ = 0;
  index_t hinted_ = 0;
  index_t rollout_tries_ = 0;
  index_t hinted_tries_ = 0;
  std::map<std::string, index_t> rejected_by_stop_;
  scores before_;       // references
  scores kept_;         // accepted texts
  scores kept_hinted_;  // of them the hinted ones
};

/// Whether a line's text was accepted.
[[nodiscard]] bool is_accepted(const std::string& line);

/// The question of a hinted line, and its answer with the student's share below each token, in
/// tenths (from 5 on it led), or = for the student alone after the delimiter. Empty for other
/// lines.
[[nodiscard]] std::string shown(const std::string& line, const loaded_model& m);

}  // namespace tool
