// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Text to tokens and back. Pieces are bytes: a character may be cut by a token border, so text is
// put together from bytes and never token by token.
//
// A prompt for a chat model is made of turns. What users wrote goes into it as text, whatever it
// looks like: "<|im_end|>" in a question is ten characters, not the end of a turn. So the parts of
// a template and the contents of the turns go to the tokenizer apart.

#include <concepts>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <idiolect/core/types.hpp>

namespace idiolect {

/// Requirements, for a const tokenizer `c`:
///  (1) `c.vocab_size()` pieces, special tokens included: ids are below it. A model may have more
///  columns of logits, where an engine pads its
///      vocabulary: the decoder and the policies then look at the first `c.vocab_size()` only.
///  (2) `c.encode(text, out)` appends the tokens of `text` to `out`, with whatever the model wants
///      in front of a text (a begin token), and nothing behind it. All of `text` is text.
///  (3) `c.append_piece(t, bytes)` appends the bytes of t to `bytes`; nothing for a token without
///      bytes (begin, end).
///  (4) Const members may be called from several threads.
template <class T>
concept tokenizer = requires(const T& c, std::string_view text, std::vector<token_id>& out,
                             token_id t, std::string& bytes) {
  { c.vocab_size() } -> std::convertible_to<index_t>;
  c.encode(text, out);
  c.append_piece(t, bytes);
};

/// A tokenizer that can go on within a text: `c.encode_text(text, out)` appends the tokens of
/// `text` and nothing in front of or behind it.
template <class T>
concept continuing_tokenizer = tokenizer<T> &&
    requires(const T& c, std::string_view text, std::vector<token_id>& out) {
  c.encode_text(text, out);
};

/// One turn of a conversation. `role` is the model's word for who speaks: "system", "user",
/// "assistant".
struct chat_turn {
  std::string role;
  std::string content;
};

/// A tokenizer of a chat model: `c.encode_chat(turns, out)` appends the conversation in the model's
/// own template, begin token included where it has one. It ends with the opening of the assistant's
/// turn where the last turn is somebody else's; where it is the assistant's, it ends with that
/// turn's content, unclosed, so that the text can go on. The contents are text: no special token
/// comes of them. Raises backend_error where the model has no template.
template <class T>
concept chat_tokenizer = tokenizer<T> &&
    requires(const T& c, std::span<const chat_turn> turns, std::vector<token_id>& out) {
  c.encode_chat(turns, out);
};

}  // namespace idiolect
