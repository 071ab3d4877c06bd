// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Text to tokens and back. Pieces are bytes: a character may be cut by a token border, so text is
// put together from bytes and never token by token.

#include <concepts>
#include <string>
#include <string_view>
#include <vector>

#include <idiolect/core/types.hpp>

namespace idiolect {

/// Requirements, for a const tokenizer `c`:
///  (1) `c.vocab_size()` pieces.
///  (2) `c.encode(text, out)` appends the tokens of `text` to `out`, with whatever the model wants
///      in front of a text (a begin token).
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

}  // namespace idiolect
