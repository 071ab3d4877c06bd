// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "tool/sequences.hpp"

#include <algorithm>
#include <string_view>

#include "tool/errors.hpp"
#include "tool/text.hpp"

namespace tool {

namespace {

/// Raises input_error for the first character that a vocabulary of characters would make <unk>.
void check_known(const loaded_model& m, std::string_view text, const record& r) {
  if (m.llama2c == nullptr || m.keep_unknown) return;
  const tiny_llama::tokenizer& t = m.llama2c->tokenizer;
  if (t.has_byte_pieces()) return;
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

/// What every text begins with, whatever is in it.
index_t given(const loaded_model& m) {
  std::vector<token_id> tokens;
  m.tokenizer.encode({}, tokens);
  return std::max<index_t>(1, static_cast<index_t>(tokens.size()));
}

}  // namespace

std::vector<token_id> encode_prompt(const loaded_model& m, const record& r) {
  check_known(m, r.prompt, r);
  std::vector<token_id> tokens;
  if (m.chat) {
    if (r.prompt.empty()) {
      fail(r.where,
           "--chat needs a question: expected \"question\" and \"answer\", or \"prompt\" and "
           "\"completion\", found a text alone");
    }
    std::vector<idiolect::chat_turn> turns;
    if (!m.system.empty()) turns.push_back({"system", m.system});
    turns.push_back({"user", r.prompt});
    m.tokenizer.encode_chat(turns, tokens);
    return tokens;
  }
  m.tokenizer.encode(r.prompt, tokens);
  if (tokens.empty()) {
    if (!m.begin) fail(r.where, "this model has no token that begins a text: give it a prompt");
    tokens.push_back(*m.begin);
  }
  return tokens;
}

sequence encode(const loaded_model& m, const record& r, bool add_end) {
  sequence s;
  s.where = r.where;
  s.weight = r.weight;
  if (!r.tokens.empty()) {
    const auto foreign = std::ranges::find_if(r.tokens, [&](token_id id) {
      return id >= m.vocab_size;  // negative ones were found by the reader
    });
    if (foreign != r.tokens.end()) {
      fail(r.where, "expected token ids below the vocabulary's " + std::to_string(m.vocab_size) +
                        ", found " + std::to_string(*foreign) + " at position " +
                        std::to_string(foreign - r.tokens.begin()) +
                        "; was this file made with another model?");
    }
    s.tokens = r.tokens;
    s.first_scored = r.prompt_tokens;
  } else if (r.prompt.empty() && !m.chat) {
    check_known(m, r.text, r);
    m.tokenizer.encode(r.text, s.tokens);
    s.first_scored = given(m);
  } else {
    check_known(m, r.text, r);
    s.tokens = encode_prompt(m, r);
    s.first_scored = static_cast<index_t>(s.tokens.size());
    m.tokenizer.encode_text(r.text, s.tokens);
  }
  if (add_end && !r.cut && m.end >= 0 && (s.tokens.empty() || s.tokens.back() != m.end)) {
    s.tokens.push_back(m.end);
  }
  if (s.scored() < 1) {
    fail(r.where,
         "expected a text of 2 tokens or more, found " + std::to_string(s.tokens.size()) +
             ": this model puts no token in front of a text, so that the first is only context");
  }
  return s;
}

std::string spelling(const loaded_model& m, token_id id) {
  return printable(m.spelled(id));
}

}  // namespace tool
