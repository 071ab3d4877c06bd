// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Why a text ended, and the two things that are watched for while it grows: a byte sequence (an
// answer's delimiter, a marker) across token borders, and an n-gram that keeps coming back.

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <idiolect/core/error.hpp>
#include <idiolect/core/types.hpp>

namespace idiolect {

/// How a decoding ended. `none`: it has not.
enum class stop_reason : std::uint8_t {
  none,
  end_of_sequence,  ///< the model ended its text
  max_tokens,       ///< as many tokens as were allowed
  repetition,       ///< an n-gram came back too often
  context_full,     ///< a stream would pass the model's context
  cancelled,        ///< the caller's wish
  non_finite,       ///< a row of logits had NaN, +inf or nothing but -inf
  no_support,       ///< the streams have no token in common: nothing to sample
  marker_missing,   ///< the analysis did not reach its marker within the budget
  model_failed,     ///< forward reported a fatal error
  stop_string,      ///< one of the strings that end a text, or the answer's line, is complete
  stopped,          ///< decoder_options::on_token said so, of this text
  no_prompt         ///< there was nothing that a text could come after
};

[[nodiscard]] constexpr std::string_view name(stop_reason r) {
  switch (r) {
    case stop_reason::none:
      return "none";
    case stop_reason::end_of_sequence:
      return "end_of_sequence";
    case stop_reason::max_tokens:
      return "max_tokens";
    case stop_reason::repetition:
      return "repetition";
    case stop_reason::context_full:
      return "context_full";
    case stop_reason::cancelled:
      return "cancelled";
    case stop_reason::non_finite:
      return "non_finite";
    case stop_reason::no_support:
      return "no_support";
    case stop_reason::marker_missing:
      return "marker_missing";
    case stop_reason::model_failed:
      return "model_failed";
    case stop_reason::stop_string:
      return "stop_string";
    case stop_reason::stopped:
      return "stopped";
    case stop_reason::no_prompt:
      return "no_prompt";
  }
  return "unknown";
}

/// Finds a byte sequence in text that arrives in pieces. An empty needle is never found.
class byte_watch {
 public:
  byte_watch() = default;
  explicit byte_watch(std::string needle) : needle_(std::move(needle)) {}

  /// Takes the next piece; true from the piece on that completes the needle. O(piece + needle).
  bool add(std::string_view piece) {
    if (found_ || needle_.empty()) return found_;
    tail_ += piece;
    found_ = tail_.find(needle_) != std::string::npos;
    if (tail_.size() >= needle_.size()) tail_.erase(0, tail_.size() - (needle_.size() - 1));
    return found_;
  }
  [[nodiscard]] bool found() const { return found_; }

 private:
  std::string needle_;
  std::string tail_;  // the last needle.size() - 1 bytes
  bool found_ = false;
};

/// Where an answer's delimiter counts. A model that reasons may quote it: `line_start` and `after`
/// tell the quotation from the answer.
struct delimiter_rule {
  std::string delimiter = {};  ///< empty: there is none
  bool line_start = false;     ///< only behind blanks, `*` and `_` at a line's start
  std::string after = {};      ///< only behind these bytes, e.g. "</think>"; empty: anywhere
};

/// Finds the first delimiter that counts in a growing text.
class delimiter_watch {
 public:
  delimiter_watch() = default;
  explicit delimiter_watch(delimiter_rule rule)
      : rule_(std::move(rule)), open_(rule_.after.empty()) {}

  /// `text` has grown by `grown` bytes; true from the call on in which the delimiter is complete.
  /// O(grown + the rule), and the blanks before a delimiter.
  bool add(std::string_view text, std::size_t grown) {
    if (end_ > 0 || rule_.delimiter.empty()) return end_ > 0;
    if (!open_) {
      const auto at = text.find(rule_.after, overlap(text, grown, rule_.after));
      if (at == std::string_view::npos) return false;
      open_ = true;
      from_ = at + rule_.after.size();
    }
    auto at = text.find(rule_.delimiter, (std::max)(from_, overlap(text, grown, rule_.delimiter)));
    while (at != std::string_view::npos && !counts(text, at))
      at = text.find(rule_.delimiter, at + 1);
    if (at != std::string_view::npos) end_ = at + rule_.delimiter.size();
    return end_ > 0;
  }
  [[nodiscard]] bool found() const { return end_ > 0; }
  /// Where the answer begins, behind the delimiter, once it has been found.
  [[nodiscard]] std::size_t end() const { return end_; }

 private:
  /// The first place at which a needle can end in what is new.
  static std::size_t overlap(std::string_view text, std::size_t grown, std::string_view needle) {
    const std::size_t back = grown + needle.size() - 1;
    return text.size() > back ? text.size() - back : 0;
  }
  [[nodiscard]] bool counts(std::string_view text, std::size_t at) const {
    if (!rule_.line_start) return true;
    const auto before = text.substr(from_, at - from_).find_last_not_of(" \t*_");
    return before == std::string_view::npos || text[from_ + before] == '\n';
  }

  delimiter_rule rule_;
  bool open_ = true;  // `after` has been seen, and ends at from_
  std::size_t from_ = 0;
  std::size_t end_ = 0;  // 0: not found
};

/// Options of the repetition stop; `times` 0 switches it off.
struct repetition_options {
  index_t length = 30;  ///< tokens in an n-gram
  index_t times = 5;    ///< how often the same one may not be seen
};

/// Raises shape_error naming the option that is out of range.
inline void validate(const repetition_options& o) {
  require(o.times >= 0, "repetition_options::times", "must be >= 0");
  require(o.times == 0 || o.length > 0, "repetition_options::length", "must be > 0");
}

/// Counts the n-grams of a growing sequence. O(1) a token on average, O(n) memory.
class repetition_watch {
 public:
  repetition_watch() = default;
  explicit repetition_watch(repetition_options o) : options_(o) { validate(o); }

  /// `tokens` has grown by one; true if its last n-gram has now been seen `times` times.
  bool add(std::span<const token_id> tokens) {
    const auto n = static_cast<index_t>(tokens.size());
    if (options_.times == 0) return false;
    hash_ = hash_ * multiplier + value(tokens.back());
    if (n <= options_.length) power_ *= n < options_.length ? multiplier : 1;
    if (n > options_.length) {
      // Rolled off: its contribution has been multiplied by multiplier^length.
      hash_ -=
          value(tokens[static_cast<std::size_t>(n - 1 - options_.length)]) * power_ * multiplier;
    }
    if (n < options_.length) return false;
    if (2 * used_ >= seen_.size()) grow();
    const auto gram = tokens.last(static_cast<std::size_t>(options_.length));
    std::size_t at = place(hash_);
    for (; seen_[at].count > 0; at = next(at)) {
      occurrence& s = seen_[at];
      if (s.hash != hash_) continue;
      if (std::equal(gram.begin(), gram.end(), tokens.begin() + s.start)) {
        return ++s.count >= options_.times;
      }
    }
    seen_[at] = {hash_, n - options_.length, 1};
    ++used_;
    return options_.times <= 1;
  }

 private:
  /// An n-gram: its hash, where it first began, how often it was seen. Count 0: a free place.
  struct occurrence {
    std::uint64_t hash = 0;
    index_t start = 0;
    index_t count = 0;
  };
  static constexpr std::uint64_t multiplier = 0x9E3779B97F4A7C15u;
  static std::uint64_t value(token_id t) { return static_cast<std::uint64_t>(t) + 1; }

  // The high bits of a product know all bits of the hash.
  [[nodiscard]] std::size_t place(std::uint64_t hash) const {
    return static_cast<std::size_t>((hash * multiplier) >> 32) & (seen_.size() - 1);
  }
  [[nodiscard]] std::size_t next(std::size_t at) const { return (at + 1) & (seen_.size() - 1); }
  void grow() {
    std::vector<occurrence> before(seen_.empty() ? 64 : 2 * seen_.size());
    before.swap(seen_);
    for (const occurrence& s : before) {
      if (s.count == 0) continue;
      std::size_t at = place(s.hash);
      while (seen_[at].count > 0) at = next(at);
      seen_[at] = s;
    }
  }

  repetition_options options_;
  std::uint64_t hash_ = 0;   // of the last `length` tokens, mod 2^64
  std::uint64_t power_ = 1;  // multiplier^(length - 1), once there are that many tokens
  // A table with open addressing, at most half full: one place to look at for most tokens, and no
  // allocation but for its growth.
  std::vector<occurrence> seen_;
  std::size_t used_ = 0;
};

/// The longest prefix of `bytes` that does not end inside a UTF-8 character: what can be shown.
[[nodiscard]] inline std::string_view complete_utf8(std::string_view bytes) {
  for (std::size_t back = 1; back <= 3 && back <= bytes.size(); ++back) {
    const auto lead = static_cast<unsigned char>(bytes[bytes.size() - back]);
    if ((lead & 0xC0u) == 0x80u) continue;  // a continuation byte: the lead is further left
    const std::size_t length = lead >= 0xF0u ? 4 : lead >= 0xE0u ? 3 : lead >= 0xC0u ? 2 : 1;
    return length > back ? bytes.substr(0, bytes.size() - back) : bytes;
  }
  return bytes;
}

}  // namespace idiolect
