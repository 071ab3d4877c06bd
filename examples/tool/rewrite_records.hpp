// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// What `rewrite` reads: JSON Lines with "question" and "answer", or "prompt" and "completion".
// Lines that cannot be used are collected, each with its place and its reason.

#include <string>
#include <vector>

#include <idiolect/hinted/prompts.hpp>

#include "tool/language_model.hpp"

namespace tool {

/// How a record becomes two prompts.
struct prompting {
  idiolect::prompt_templates templates;
  idiolect::hint_content hint = idiolect::hint_content::solution;
  std::string delimiter;
  bool hinted = true;  ///< without hinted tries no teacher prompt is made
  index_t analysis_budget = 512;
};

/// A record that can be rewritten.
struct source_record {
  std::string question;  ///< without line breaks at its end
  std::string answer;    ///< the reference, without the end token's spelling
  std::size_t line = 0;  ///< of the file
  std::string id;        ///< its "id", if it has one, as its bytes stand in the file
  std::string others;    ///< fields that the tool does not know: ,"name":value for each, likewise
  idiolect::rewrite_prompt prompt;
};

struct source_file {
  std::vector<source_record> records;
  std::vector<std::string> bad;  ///< "file:line: what is wrong with it"
  std::string fingerprint;       ///< of the file's bytes
};

/// Reads a file ("-": standard input). Raises input_error only if it cannot be read at all.
[[nodiscard]] source_file read_source(const std::string& path, const loaded_model& m,
                                      const prompting& how);

}  // namespace tool
