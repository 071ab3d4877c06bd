// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Records as token sequences.

#include <string>
#include <vector>

#include <idiolect/core/types.hpp>

#include "tiny_llama/tokenizer.hpp"
#include "tool/records.hpp"

namespace tool {

/// Tokens of a record; those from position `first_scored` on are scored or trained. At least one.
struct sequence {
  std::string where;
  std::vector<token_id> tokens;
  index_t first_scored = 1;
  double weight = 1;

  [[nodiscard]] index_t scored() const { return static_cast<index_t>(tokens.size()) - first_scored; }
};

/// How records become tokens. A prompt and its completion are encoded one after the other, as a
/// model reads them that was given the prompt: no token reaches across.
struct encoding {
  token_id end = tiny_llama::end_token;  ///< closes a text
  bool add_end = false;                  ///< close texts that do not end with it
  bool allow_unknown = false;            ///< characters that the vocabulary lacks become <unk>
};

/// Raises input_error, naming the record, for tokens that the vocabulary does not have.
[[nodiscard]] sequence encode(const tiny_llama::tokenizer& t, const record& r, const encoding& how);

/// The prompt of a record alone, as a model is given it. Raises as `encode` does.
[[nodiscard]] std::vector<token_id> encode_prompt(const tiny_llama::tokenizer& t, const record& r,
                                                  const encoding& how);

/// A token as the vocabulary spells it, in valid UTF-8: a byte piece is `<0xNN>`.
[[nodiscard]] std::string spelling(const tiny_llama::tokenizer& t, token_id id);

}  // namespace tool
