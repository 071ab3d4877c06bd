// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Records as token sequences. A prompt and its completion are encoded one after the other, as a
// model reads them that was given the prompt: no token reaches across. In a chat the prompt is the
// user's turn in the model's template, and the completion what the assistant says.

#include <string>
#include <string_view>
#include <vector>

#include <idiolect/core/types.hpp>

#include "tool/language_model.hpp"
#include "tool/records.hpp"

namespace tool {

/// Tokens of a record; those from position `first_scored` on are scored or trained. At least one.
struct sequence {
  std::string where;
  std::vector<token_id> tokens;
  index_t first_scored = 1;
  double weight = 1;

  [[nodiscard]] index_t scored() const {
    return static_cast<index_t>(tokens.size()) - first_scored;
  }
};

/// `add_end`: close a text that was not cut off and does not end with the model's end token. Raises input_error, naming
/// the record, for tokens that the vocabulary does not have, and for a text that leaves nothing to
/// score.
[[nodiscard]] sequence encode(const loaded_model& m, const record& r, bool add_end);

/// The prompt of a record alone, as a model is given it. Raises as `encode` does.
[[nodiscard]] std::vector<token_id> encode_prompt(const loaded_model& m, const record& r);

/// A token as the vocabulary spells it, in valid UTF-8: a byte piece is `<0xNN>`.
[[nodiscard]] std::string spelling(const loaded_model& m, token_id id);

}  // namespace tool
