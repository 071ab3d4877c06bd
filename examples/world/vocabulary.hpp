// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The alphabet of the synthetic world: one token for each character, after the three ids that
// every checkpoint of this project starts with.

#include <string>
#include <string_view>
#include <vector>

#include <idiolect/core/types.hpp>

namespace world {

using idiolect::index_t;
using idiolect::token_id;

inline constexpr token_id unknown_token = 0;  ///< piece `<unk>`; no text of the world has it
inline constexpr token_id begin_token = 1;    ///< in front of every document; no bytes
inline constexpr token_id end_token = 2;      ///< closes every document; its piece is `$`
inline constexpr char end_character = '$';

/// The characters of tokens 3, 4, ...: layout, operations, digits, and the letters in use.
inline constexpr std::string_view characters = "\n H>=;,&+#^0123456789ceghkmnoprstuw";
inline constexpr token_id first_character = 3;
inline constexpr index_t vocab_size = first_character + static_cast<index_t>(characters.size());

/// The pieces of tokens 3, 4, ... as strings, as a tokenizer file wants them.
[[nodiscard]] inline std::vector<std::string> character_pieces() {
  std::vector<std::string> pieces;
  for (const char c : characters) pieces.emplace_back(1, c);
  return pieces;
}

/// The token of one character; unknown_token for one outside the alphabet.
[[nodiscard]] constexpr token_id token_of(char c) noexcept {
  if (c == end_character) return end_token;
  const auto at = characters.find(c);
  return at == std::string_view::npos ? unknown_token : first_character + static_cast<token_id>(at);
}

/// Appends the tokens of `text`; no begin token. `$` becomes the end token.
inline void append_tokens(std::string_view text, std::vector<token_id>& tokens) {
  for (const char c : text) tokens.push_back(token_of(c));
}

/// A document as a model sees it: the begin token, then the characters.
[[nodiscard]] inline std::vector<token_id> encode(std::string_view text) {
  std::vector<token_id> tokens{begin_token};
  tokens.reserve(text.size() + 1);
  append_tokens(text, tokens);
  return tokens;
}

/// The text of `tokens`; the begin token has none, an unknown token shows as `?`.
[[nodiscard]] inline std::string decode(const std::vector<token_id>& tokens) {
  std::string text;
  for (const token_id t : tokens) {
    if (t == begin_token) continue;
    if (t == end_token) {
      text += end_character;
    } else if (t >= first_character && t < vocab_size) {
      text += characters[static_cast<std::size_t>(t - first_character)];
    } else {
      text += '?';
    }
  }
  return text;
}

}  // namespace world
