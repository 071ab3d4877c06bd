// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The tokenizer of a llama.cpp model. All text is text: "<|im_end|>" in it is ten characters, and
// only the model's own template gives special tokens, in `encode_chat`.

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <llama.h>

#include <idiolect/adapters/llama_cpp/chat_template.hpp>
#include <idiolect/adapters/llama_cpp/vocabulary.hpp>
#include <idiolect/core/error.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/model/tokenizer.hpp>

namespace idiolect {

/// Models tokenizer, continuing_tokenizer and chat_tokenizer. Does not own the model, which must
/// outlive it. Cheap to copy but for a list of the special tokens; const, so any number of threads
/// may share one.
class llama_tokenizer {
 public:
  /// Raises backend_error for a model without a vocabulary. O(V).
  explicit llama_tokenizer(const llama_model* model)
      : model_(model), vocab_(detail::llama_vocabulary(model, "llama_model")) {
    vocab_size_ = detail::llama_used_tokens(vocab_, "llama_model");
    for (token_id t = 0; t < llama_vocab_n_tokens(vocab_); ++t) {
      const auto attributes = static_cast<unsigned>(llama_vocab_get_attr(vocab_, t));
      if ((attributes & (LLAMA_TOKEN_ATTR_CONTROL | LLAMA_TOKEN_ATTR_UNKNOWN)) == 0) continue;
      special_.push_back({t, attributes, llama_vocab_get_text(vocab_, t)});
    }
    // In llama.cpp's order: the longest first.
    std::ranges::stable_sort(special_, std::ranges::greater{},
                             [](const special& s) { return s.text.size(); });
    // What llama.cpp puts in front of an empty text is what the model wants in front of any.
    std::vector<token_id> around;
    tokenize({}, around, true);
    if (!around.empty() && around.front() == llama_vocab_bos(vocab_)) begin_ = around.front();

    // Some tokenizers begin every text with a space. A text that goes on must not: it is encoded
    // behind a byte that joins with nothing, and that byte's tokens are taken off.
    tokenize(guard, guard_tokens_, false);
    std::string spelled;
    for (const token_id t : guard_tokens_) append_piece(t, spelled);
    if (spelled != " \1") guard_tokens_.clear();
  }

  /// Without the unused tokens at the end of a padded vocabulary; as llama_lm says it.
  [[nodiscard]] index_t vocab_size() const { return vocab_size_; }

  /// The begin token where the model has one, then the text.
  void encode(std::string_view text, std::vector<token_id>& out) const {
    if (begin_ >= 0) out.push_back(begin_);
    tokenize(text, out, false);
  }

  /// What comes within a text: also without the space that some tokenizers put in front.
  void encode_text(std::string_view text, std::vector<token_id>& out) const {
    if (guard_tokens_.empty() || text.empty()) return tokenize(text, out, false);
    std::vector<token_id> tokens;
    std::string guarded(guard);
    guarded += text;
    tokenize(guarded, tokens, false);
    const auto ends = std::ranges::mismatch(guard_tokens_, tokens);
    if (ends.in1 != guard_tokens_.end()) return tokenize(text, out, false);
    out.insert(out.end(), ends.in2, tokens.end());
  }

  /// The turns in the model's own template, as far as llama.cpp recognises it (its C interface
  /// knows some fifty by their looks and does not run the template: what a template says beyond the
  /// turns, such as a default system prompt, is not there). Roles are part of the template,
  /// contents are text. For contents without special tokens the result is what llama.cpp makes of
  /// the formatted string. Raises backend_error without a template, for one that llama.cpp does not
  /// know, and for one that leaves a turn out.
  void encode_chat(std::span<const chat_turn> turns, std::vector<token_id>& out) const {
    const char* const format = llama_model_chat_template(model_, nullptr);
    require<backend_error>(format != nullptr, "llama_model",
                           "has no chat template: it is not a chat model");
    const bool goes_on = !turns.empty() && turns.back().role == "assistant";
    auto chat = detail::format_chat(format, turns.first(turns.size() - (goes_on ? 1 : 0)), true);
    if (goes_on) chat.add_content(turns.back().content);

    std::vector<token_id> tokens;
    for (const fragment& f : partition(chat)) {
      if (f.token >= 0) {
        tokens.push_back(f.token);
      } else {
        tokenize(std::string_view(chat.text).substr(f.first, f.size), tokens, false);
      }
    }
    if (begin_ >= 0 && (tokens.empty() || tokens.front() != begin_)) out.push_back(begin_);
    out.insert(out.end(), tokens.begin(), tokens.end());
  }

  /// Nothing for control tokens. Raises target_error for no such token.
  void append_piece(token_id t, std::string& bytes) const {
    require<target_error>(t >= 0 && t < llama_vocab_n_tokens(vocab_), "token", [&] {
      return std::to_string(t) + " is not in a vocabulary of " + std::to_string(vocab_size_);
    });
    char piece[64];
    std::int32_t n = llama_token_to_piece(vocab_, t, piece, sizeof piece, 0, false);
    if (n >= 0) {
      bytes.append(piece, static_cast<std::size_t>(n));
      return;
    }
    const std::size_t before = bytes.size();
    bytes.resize(before + static_cast<std::size_t>(-n));
    n = llama_token_to_piece(vocab_, t, bytes.data() + before, -n, 0, false);
  }

  /// The tokens that end a text, in order: hinted_options::end_tokens for a loop without a
  /// llama_lm. O(V).
  [[nodiscard]] std::vector<token_id> end_tokens() const {
    std::vector<token_id> ends;
    for (token_id t = 0; t < vocab_size_; ++t) {
      if (llama_vocab_is_eog(vocab_, t)) ends.push_back(t);
    }
    return ends;
  }

 private:
  static constexpr std::string_view guard = "\1";

  struct special {
    token_id token;
    unsigned attributes;
    std::string text;
  };
  struct fragment {  // bytes [first, first + size) of a text, or a token
    std::size_t first;
    std::size_t size;
    token_id token = -1;
  };

  void tokenize(std::string_view text, std::vector<token_id>& out, bool with_special) const {
    // Hardly a token is shorter than a byte: one call is enough but for a begin or an end.
    require(text.size() < std::size_t{(std::numeric_limits<std::int32_t>::max)()} - 16, "text",
            "is too long for llama.cpp");
    const auto size = static_cast<std::int32_t>(text.size());
    const std::size_t before = out.size();
    std::int32_t room = size + 8;
    for (;;) {
      out.resize(before + static_cast<std::size_t>(room));
      const std::int32_t n =
          llama_tokenize(vocab_, text.data(), size, out.data() + before, room, with_special, false);
      require(n != (std::numeric_limits<std::int32_t>::min)(), "text", "is too long for llama.cpp");
      if (n >= 0) return out.resize(before + static_cast<std::size_t>(n));
      room = -n;
    }
  }

  // What llama.cpp does in front of its tokenizer (tokenizer_st_partition), but that a control
  // token must be spelled by the template alone.
  [[nodiscard]] std::vector<fragment> partition(const detail::formatted_chat& chat) const {
    const std::string_view all = chat.text;
    std::vector<fragment> done{{0, all.size()}};
    if (all.empty()) done.clear();
    const auto blank = [&](std::size_t i) {
      return std::isspace(static_cast<unsigned char>(all[i])) != 0;
    };
    for (const special& s : special_) {
      if (s.text.empty() || all.find(s.text) == all.npos) continue;
      std::vector<fragment> before;
      before.swap(done);
      for (const fragment& f : before) {
        if (f.token >= 0) {
          done.push_back(f);
          continue;
        }
        std::size_t first = f.first;
        const std::size_t last = f.first + f.size;
        for (std::size_t look = first;;) {
          const std::size_t match = all.substr(0, last).find(s.text, look);
          if (match == all.npos) break;
          if (!chat.is_template(match, s.text.size())) {
            look = match + 1;
            continue;
          }
          std::size_t left = match;
          while ((s.attributes & LLAMA_TOKEN_ATTR_LSTRIP) != 0 && left > first && blank(left - 1))
            --left;
          if (left > first) done.push_back({first, left - first});
          done.push_back({match, s.text.size(), s.token});
          first = match + s.text.size();
          while ((s.attributes & LLAMA_TOKEN_ATTR_RSTRIP) != 0 && first < last && blank(first))
            ++first;
          look = first;
        }
        if (first < last) done.push_back({first, last - first});
      }
    }
    return done;
  }

  const llama_model* model_;
  const llama_vocab* vocab_;
  index_t vocab_size_ = 0;
  token_id begin_ = -1;
  std::vector<special> special_;
  std::vector<token_id> guard_tokens_;
};

static_assert(continuing_tokenizer<llama_tokenizer> && chat_tokenizer<llama_tokenizer>);

}  // namespace idiolect
