// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "tool/sequences.hpp"

#include <algorithm>
#include <string_view>

#include "tool/errors.hpp"
#include "tool/text.hpp"

namespace tool {

namespace {

using tiny_llama::tokenizer;

/// Raises input_error for the first character that would become <unk>.
void check_known(const tokenizer& t, std::string_view text, const record& r) {
  std::size_t line = 0;
  for (std::size_t at = 0; at < text.size();) {
    const auto character = text.substr(at, tiny_llama::detail::character_length(text.substr(at)));
    if (!t.find(character)) {
      fail(r.where,
           "expected the " + std::to_string(t.vocab_size()) +
               " characters that the tokenizer knows, found '" + printable(character) +
               "' at byte " + std::to_string(at) +
               (line > 0 ? ", " + counted(static_cast<long long>(line), "line") + " on" : "") +
               "; use a model whose tokenizer falls back to bytes, or --unknown keep to "
               "read such characters as <unk>");
    }
    line += character == "\n";
    at += character.size();
  }
}

void append(const tokenizer& t, std::string_view text, const record& r, const encoding& how,
            bool continues, std::vector<token_id>& tokens) {
  if (!t.has_byte_pieces() && !how.allow_unknown) check_known(t, text, r);
  t.encode(text, tokens, {.begin = false, .dummy_space = !continues});
}

}  // namespace

std::vector<token_id> encode_prompt(const tokenizer& t, const record& r, const encoding& how) {
  std::vector<token_id> tokens = {tiny_llama::begin_token};
  append(t, r.prompt, r, how, false, tokens);
  return tokens;
}

sequence encode(const tokenizer& t, const record& r, const encoding& how) {
  sequence s;
  s.where = r.where;
  s.weight = r.weight;
  if (!r.tokens.empty()) {
    const auto foreign = std::ranges::find_if(r.tokens, [&](token_id id) {
      return id >= t.vocab_size();  // negative ones were found by the reader
    });
    if (foreign != r.tokens.end()) {
      fail(r.where, "expected token ids below the vocabulary's " + std::to_string(t.vocab_size()) +
                        ", found " + std::to_string(*foreign) + " at position " +
                        std::to_string(foreign - r.tokens.begin()) +
                        "; was this file made with another model?");
    }
    s.tokens = r.tokens;
    s.first_scored = r.prompt_tokens;
  } else {
    s.tokens = encode_prompt(t, r, how);
    s.first_scored = static_cast<index_t>(s.tokens.size());
    append(t, r.text, r, how, !r.prompt.empty(), s.tokens);
  }
  if (how.add_end && s.tokens.back() != how.end) s.tokens.push_back(how.end);
  return s;
}

std::string spelling(const tokenizer& t, token_id id) {
  return printable(t.pieces()[static_cast<std::size_t>(id)].bytes);
}

}  // namespace tool
