// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Texts from files, each with the place it comes from.
//
// Plain text is one record, byte for byte, or one for each part that a separator leaves. JSON Lines
// are one record a line, an object with the first of these that it has:
//
//   "tokens"                  token ids, used as they are; the first `prompt_tokens` of them
//                             (optional, default 1) are given and not scored
//   "prompt", "completion"    the completion is scored or trained, given the prompt
//   "question", "answer"      the same, with a line break between the two
//   "text"                    scored or trained whole
//
// and optionally "weight", a number that multiplies the record's loss. A text whose "finish"
// (`sample`) or "stop" (`rewrite`) says that it was cut off is not closed. Other fields are not read.

#include <optional>
#include <string>
#include <vector>

#include <idiolect/core/types.hpp>

namespace tool {

using idiolect::index_t;
using idiolect::token_id;

/// A text to score or to train on.
struct record {
  std::string where;             ///< `file:line`
  std::string prompt;            ///< given: neither scored nor trained
  std::string text;              ///< scored or trained
  std::vector<token_id> tokens;  ///< if there are any, they stand for both
  index_t prompt_tokens = 1;     ///< of `tokens`
  double weight = 1;
  bool cut = false;  ///< it stops before its end: "finish" or "stop" of a line that the tool wrote
};

/// How a file is read.
struct reading {
  enum class format { automatic, text, jsonl };

  format kind = format::automatic;   ///< automatic: JSON Lines if the name ends in .jsonl or .json
  std::optional<std::string> split;  ///< "blank": at blank lines; else the separator between parts
  bool strip = true;                 ///< parts lose the white space around them
  std::optional<std::string> join;  ///< between a prompt and its completion, instead of the default
  bool whole = false;               ///< prompt and completion are one text
};

/// Whether a file of this name is read as JSON Lines.
[[nodiscard]] bool is_jsonl(const std::string& path, const reading& how);

/// The records of a file ("-": standard input). Raises input_error with file and line for anything
/// that is not as above, and for a file without any text.
[[nodiscard]] std::vector<record> read_records(const std::string& path, const reading& how);

/// Prompts to continue: lines of plain text, or "prompt" or "question" of JSON Lines (the latter
/// with a line break after it, or `how.join`). In the records, `prompt` alone is filled.
[[nodiscard]] std::vector<record> read_prompts(const std::string& path, const reading& how);

}  // namespace tool
