// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Text to tokens and back, with vocabularies in the format of llama2.c:
//
//   int32                              length of the longest piece
//   {float32 score, int32 n, n bytes}  one for each token, to the end of the file
//
// Ids 0, 1 and 2 are unknown, begin and end. A vocabulary with byte pieces spells them <0x00> to
// <0xFF> from id 3 on. Pieces merge greedily: always the adjacent pair whose union scores best, the
// leftmost of equals. A vocabulary without byte pieces is one of characters.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <queue>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <idiolect/core/error.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/model/tokenizer.hpp>

#include "tiny_llama/file.hpp"

namespace tiny_llama {

inline constexpr idiolect::token_id unknown_token = 0;
inline constexpr idiolect::token_id begin_token = 1;
inline constexpr idiolect::token_id end_token = 2;

/// What `encode` puts in front of a text. Text that continues another wants neither.
struct encode_options {
  bool begin = true;  ///< the begin token
  bool dummy_space =
      true;  ///< a space, if the text is not empty and the vocabulary has byte pieces
};

/// Models idiolect::tokenizer. Immutable: one object serves any number of threads.
class tokenizer {
 public:
  struct piece {
    std::string bytes;
    float score = 0;
  };

  /// Raises shape_error for fewer than three pieces or a score that is not a number.
  explicit tokenizer(std::vector<piece> pieces);

  [[nodiscard]] idiolect::index_t vocab_size() const noexcept {
    return static_cast<idiolect::index_t>(pieces_.size());
  }
  [[nodiscard]] const std::vector<piece>& pieces() const noexcept { return pieces_; }

  /// Whether every text can be encoded: a character without a piece becomes its bytes. If not, it
  /// becomes `unknown_token`.
  [[nodiscard]] bool has_byte_pieces() const noexcept { return byte_pieces_; }

  /// The token spelled exactly so; of several the first.
  [[nodiscard]] std::optional<idiolect::token_id> find(std::string_view bytes) const;

  /// Appends the tokens of `text` to `out`. O(n log n) for n bytes.
  void encode(std::string_view text, std::vector<idiolect::token_id>& out) const {
    encode(text, out, {});
  }
  void encode(std::string_view text, std::vector<idiolect::token_id>& out,
              const encode_options& options) const;

  /// The same within a text: nothing in front of it.
  void encode_text(std::string_view text, std::vector<idiolect::token_id>& out) const {
    encode(text, out, {.begin = false, .dummy_space = false});
  }

  /// Appends the bytes of t: nothing for begin, nor for end in a vocabulary with byte pieces.
  /// (Where the pieces are characters, end is one of them.) Raises target_error for no such token.
  void append_piece(idiolect::token_id t, std::string& bytes) const;

  /// The bytes of a sequence, without the dummy space that follows a begin token.
  [[nodiscard]] std::string decode(std::span<const idiolect::token_id> tokens) const;

 private:
  struct string_hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
  };

  void append_characters(std::string_view text, std::vector<idiolect::token_id>& out) const;
  void merge(std::vector<idiolect::token_id>& tokens) const;

  [[nodiscard]] static std::uint64_t pair_key(idiolect::token_id left, idiolect::token_id right) {
    return static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint32_t>(right);
  }

  std::vector<piece> pieces_;
  std::unordered_map<std::string, idiolect::token_id, string_hash, std::equal_to<>> ids_;
  std::unordered_map<std::uint64_t, idiolect::token_id> unions_;  // of two adjacent tokens
  std::vector<int> byte_of_;  // the byte that a piece <0xNN> stands for, or -1
  bool byte_pieces_ = false;
};

namespace detail {

inline int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// The byte that `<0xNN>` stands for, or -1.
inline int spelled_byte(std::string_view piece) {
  if (piece.size() != 6 || piece.substr(0, 3) != "<0x" || piece[5] != '>') return -1;
  const int high = hex_digit(piece[3]);
  const int low = hex_digit(piece[4]);
  return high < 0 || low < 0 ? -1 : 16 * high + low;
}

/// Bytes of the first character of `text`: a byte and the continuation bytes after it, 4 at most.
inline std::size_t character_length(std::string_view text) {
  std::size_t n = 1;
  while (n < text.size() && n < 4 && (static_cast<unsigned char>(text[n]) & 0xC0u) == 0x80u)
    ++n;
  return n;
}

}  // namespace detail

inline tokenizer::tokenizer(std::vector<piece> pieces) : pieces_(std::move(pieces)) {
  using idiolect::token_id;
  idiolect::require(pieces_.size() >= 3, "pieces", "expected unknown, begin and end at least");
  byte_of_.reserve(pieces_.size());
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    idiolect::require(!std::isnan(pieces_[i].score), "pieces", "a score is not a number",
                      static_cast<idiolect::index_t>(i));
    ids_.emplace(pieces_[i].bytes, static_cast<token_id>(i));  // the first of equals stays
    byte_of_.push_back(detail::spelled_byte(pieces_[i].bytes));
  }
  byte_pieces_ = pieces_.size() >= 3 + 256;
  for (std::size_t b = 0; byte_pieces_ && b < 256; ++b) {
    byte_pieces_ = byte_of_[3 + b] == static_cast<int>(b);
  }
  // Every way to cut a piece in two pieces, so that merging needs no strings.
  for (const auto& [bytes, id] : ids_) {
    for (std::size_t cut = 1; cut < bytes.size(); ++cut) {
      const auto left = find(std::string_view(bytes).substr(0, cut));
      const auto right = left ? find(std::string_view(bytes).substr(cut)) : std::nullopt;
      if (left && right) unions_.emplace(pair_key(*left, *right), id);
    }
  }
}

inline std::optional<idiolect::token_id> tokenizer::find(std::string_view bytes) const {
  const auto place = ids_.find(bytes);
  if (place == ids_.end()) return std::nullopt;
  return place->second;
}

inline void tokenizer::append_characters(std::string_view text,
                                         std::vector<idiolect::token_id>& out) const {
  while (!text.empty()) {
    const std::string_view character = text.substr(0, detail::character_length(text));
    text.remove_prefix(character.size());
    if (const auto id = find(character)) {
      out.push_back(*id);
    } else if (byte_pieces_) {
      for (const char byte : character)
        out.push_back(3 + static_cast<unsigned char>(byte));
    } else {
      out.push_back(unknown_token);
    }
  }
}

// The tokens form a linked list; the queue holds every pair of neighbours that has a union, and
// some pairs that are no more, recognised by what they would have joined.
inline void tokenizer::merge(std::vector<idiolect::token_id>& tokens) const {
  using idiolect::token_id;
  constexpr std::size_t none = static_cast<std::size_t>(-1);
  struct candidate {
    float score;
    std::size_t left;
    std::size_t right;
    token_id left_token;
    token_id right_token;
    token_id joined;
    bool operator<(const candidate& other) const {  // best score on top, leftmost of equals
      return score != other.score ? score < other.score : left > other.left;
    }
  };
  const std::size_t n = tokens.size();
  std::vector<std::size_t> next(n);
  std::vector<std::size_t> previous(n);
  for (std::size_t i = 0; i < n; ++i) {
    next[i] = i + 1 < n ? i + 1 : none;
    previous[i] = i > 0 ? i - 1 : none;
  }
  std::priority_queue<candidate> queue;
  const auto consider = [&](std::size_t left, std::size_t right) {
    if (left == none || right == none) return;
    const auto place = unions_.find(pair_key(tokens[left], tokens[right]));
    if (place == unions_.end()) return;
    queue.push({pieces_[static_cast<std::size_t>(place->second)].score, left, right, tokens[left],
                tokens[right], place->second});
  };
  for (std::size_t i = 0; i + 1 < n; ++i)
    consider(i, i + 1);

  std::vector<bool> gone(n, false);
  while (!queue.empty()) {
    const candidate best = queue.top();
    queue.pop();
    const bool current = !gone[best.left] && next[best.left] == best.right &&
                         tokens[best.left] == best.left_token &&
                         tokens[best.right] == best.right_token;
    if (!current) continue;
    tokens[best.left] = best.joined;
    gone[best.right] = true;
    next[best.left] = next[best.right];
    if (next[best.left] != none) previous[next[best.left]] = best.left;
    consider(previous[best.left], best.left);
    consider(best.left, next[best.left]);
  }
  std::size_t kept = 0;
  for (std::size_t i = 0; i < n; ++i) {
    if (!gone[i]) tokens[kept++] = tokens[i];
  }
  tokens.resize(kept);
}

inline void tokenizer::encode(std::string_view text, std::vector<idiolect::token_id>& out,
                              const encode_options& options) const {
  if (options.begin) out.push_back(begin_token);
  std::vector<idiolect::token_id> tokens;
  tokens.reserve(text.size() + 1);
  if (options.dummy_space && byte_pieces_ && !text.empty()) append_characters(" ", tokens);
  append_characters(text, tokens);
  merge(tokens);
  out.insert(out.end(), tokens.begin(), tokens.end());
}

inline void tokenizer::append_piece(idiolect::token_id t, std::string& bytes) const {
  idiolect::require<idiolect::target_error>(t >= 0 && t < vocab_size(), "token", [&] {
    return std::to_string(t) + " is not in a vocabulary of " + std::to_string(vocab_size());
  });
  if (t == begin_token || (t == end_token && byte_pieces_)) return;
  const auto i = static_cast<std::size_t>(t);
  if (byte_of_[i] >= 0) {
    bytes.push_back(static_cast<char>(byte_of_[i]));
  } else {
    bytes += pieces_[i].bytes;
  }
}

inline std::string tokenizer::decode(std::span<const idiolect::token_id> tokens) const {
  std::string bytes;
  bool after_begin = false;
  for (const idiolect::token_id t : tokens) {
    const std::size_t before = bytes.size();
    append_piece(t, bytes);
    if (after_begin && byte_pieces_ && bytes.size() > before && bytes[before] == ' ') {
      bytes.erase(before, 1);
    }
    after_begin = t == begin_token;
  }
  return bytes;
}

/// A tokenizer whose pieces are the characters of a string: ids 0 `<unk>`, 1 begin, 2 end (which
/// is spelled `end` in texts), then the characters in their order. Raises shape_error if one
/// stands twice.
[[nodiscard]] inline tokenizer character_tokenizer(std::string_view characters,
                                                   std::string_view end = "$") {
  std::vector<tokenizer::piece> pieces = {{"<unk>", 0}, {"<s>", 0}, {std::string(end), 0}};
  while (!characters.empty()) {
    const std::string character(characters.substr(0, detail::character_length(characters)));
    characters.remove_prefix(character.size());
    const bool fresh = std::none_of(pieces.begin(), pieces.end(),
                                    [&](const auto& p) { return p.bytes == character; });
    idiolect::require(fresh, "characters", [&] { return "'" + character + "' stands twice"; });
    pieces.push_back({character, 0});
  }
  return tokenizer(std::move(pieces));
}

/// Reads a llama2.c tokenizer. `vocab_size` is the model's, or -1 to take as many pieces as there
/// are. Raises file_error.
[[nodiscard]] inline tokenizer read_tokenizer(const std::filesystem::path& path,
                                              idiolect::index_t vocab_size = -1) {
  const std::vector<char> bytes = read_file(path);
  byte_reader in(bytes);
  detail::require_file(in.left() >= 4, path,
                       "is not a llama2.c tokenizer: expected a length of 4 "
                       "bytes, found " +
                           std::to_string(bytes.size()) + " bytes in all");
  const auto longest = in.word<std::int32_t>();
  std::vector<tokenizer::piece> pieces;
  while (in.left() > 0) {
    const std::string name = "piece " + std::to_string(pieces.size());
    detail::require_file(in.left() >= 8, path, "is cut off in the score or length of " + name);
    const float score = in.word<float>();
    const auto length = in.word<std::int32_t>();
    detail::require_file(!std::isnan(score), path, "the score of " + name + " is not a number");
    detail::require_file(length >= 0 && length <= longest, path,
                         "expected the length of " + name + " between 0 and " +
                             std::to_string(longest) + ", found " + std::to_string(length));
    detail::require_file(in.left() >= static_cast<std::size_t>(length), path,
                         "is cut off in the bytes of " + name);
    pieces.push_back({std::string(in.text(static_cast<std::size_t>(length))), score});
  }
  detail::require_file(pieces.size() >= 3, path,
                       "expected unknown, begin and end at least, found " +
                           std::to_string(pieces.size()) + " pieces");
  detail::require_file(vocab_size < 0 || static_cast<idiolect::index_t>(pieces.size()) == vocab_size,
                       path,
                       "expected the model's " + std::to_string(vocab_size) + " pieces, found " +
                           std::to_string(pieces.size()));
  return tokenizer(std::move(pieces));
}

/// Writes a llama2.c tokenizer: the whole file or none.
inline void write_tokenizer(const tokenizer& t, const std::filesystem::path& path) {
  std::size_t longest = 0;
  for (const auto& p : t.pieces())
    longest = std::max(longest, p.bytes.size());
  file_writer out(path);
  out.word(static_cast<std::int32_t>(longest));
  for (const auto& p : t.pieces()) {
    out.word(p.score);
    out.word(static_cast<std::int32_t>(p.bytes.size()));
    out.text(p.bytes);
  }
  out.commit();
}

static_assert(idiolect::continuing_tokenizer<tokenizer>);

}  // namespace tiny_llama
