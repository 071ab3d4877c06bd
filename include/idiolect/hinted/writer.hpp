// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The part of hinted decoding that is text: how one starts, what it asks of a policy, what a token
// adds to it and when it ends. The same whoever reads the logits, and wherever they are.

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <idiolect/core/bounds.hpp>
#include <idiolect/core/error.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/hinted/request.hpp>
#include <idiolect/hinted/stop.hpp>
#include <idiolect/model/tokenizer.hpp>
#include <idiolect/stats/sampling.hpp>

namespace idiolect {

/// Options of a decoding. The defaults are those of the authors' demo.
struct hinted_options {
  sampler_options sampler{
      .temperature = 0.3, .top_p = 0.95, .order = sampler_order::temperature_last};
  /// Entropy that h is normalised by, nats; 0: ln of the columns that count, the tokenizer's pieces
  /// at most. The authors normalise by the padded vocabulary: give ln of its size to do as they do.
  double entropy_norm = 0;
  bool teacher_first_token = true;  ///< lambda is 0 at the first token
  std::string delimiter = {};       ///< bytes that start the answer, e.g. "####"; empty: none
  /// Where the delimiter counts, if the model may quote it while it reasons: see delimiter_rule.
  bool delimiter_at_line_start = false;
  std::string delimiter_after = {};  ///< e.g. "</think>"
  /// Tokens that end a text, beside those that the model itself ends with where a decoder runs.
  std::vector<token_id> end_tokens = {};
  /// Bytes that end a text, wherever tokens cut them. They stay in it.
  std::vector<std::string> stop_strings = {};
  /// Ends a text with the line that the delimiter is in.
  bool stop_after_answer = false;
  index_t max_tokens = 512;
  repetition_options repetition{};
  std::uint64_t seed = 0;
};

/// A text that is being decoded. Made by a policy's `start`.
struct hinted_state {
  std::uint64_t record = 0;          ///< key of its random numbers, with the seed
  sampler_options sampler;           ///< of this text
  bool rollout = false;              ///< the student alone, from the first token
  std::vector<hinted_token> tokens;  ///< emitted so far, the end token included
  std::string bytes;                 ///< their text
  stop_reason stop = stop_reason::none;
  delimiter_watch delimiter;
  std::vector<byte_watch> stop_strings;
  repetition_watch repetition;
  std::vector<token_id> ids;  ///< of `tokens`

  /// The answer's delimiter has been emitted: only the student speaks.
  [[nodiscard]] bool student_only() const { return rollout || delimiter.found(); }
};

/// Starts texts and takes their tokens. Base of the policies; const members may be called from
/// several threads, each with its own states.
template <tokenizer Tokenizer, lambda_schedule Schedule>
class hinted_writer {
 public:
  /// `pieces` must outlive the writer. Raises shape_error for options that make no sense.
  hinted_writer(const Tokenizer& pieces, Schedule schedule, hinted_options options)
      : pieces_(&pieces),
        rule_{std::move(schedule), options.entropy_norm, options.teacher_first_token, options.seed},
        options_(std::move(options)) {
    validate(options_.sampler);
    if constexpr (requires { rule_.schedule.validate(); }) rule_.schedule.validate();
    validate(options_.repetition);
    require(options_.max_tokens > 0, "hinted_options::max_tokens", "must be > 0");
    detail::require_at_least(0, options_.entropy_norm, "hinted_options::entropy_norm");
    require(std::ranges::none_of(options_.stop_strings, &std::string::empty),
            "hinted_options::stop_strings", "an empty string is in every text");
    require(!options_.stop_after_answer || !options_.delimiter.empty(),
            "hinted_options::stop_after_answer", "needs a delimiter");
    require(!options_.delimiter_at_line_start || !options_.delimiter.empty(),
            "hinted_options::delimiter_at_line_start", "needs a delimiter");
    require(options_.delimiter_after.empty() || !options_.delimiter.empty(),
            "hinted_options::delimiter_after", "needs a delimiter");
    require(pieces.vocab_size() > 0, "tokenizer", "has no pieces");
    for (const token_id t : options_.end_tokens) {
      require(t >= 0 && t < pieces.vocab_size(), "hinted_options::end_tokens", [&] {
        return "the tokenizer has no piece " + std::to_string(t) +
               ": its vocab_size() must count special tokens";
      });
    }
  }

  [[nodiscard]] const hinted_options& options() const { return options_; }
  [[nodiscard]] const hinted_rule<Schedule>& rule() const { return rule_; }

  /// A text with no token yet; `record` keys its draws.
  [[nodiscard]] hinted_state start(std::uint64_t record) const {
    hinted_state s;
    s.record = record;
    s.sampler = options_.sampler;
    s.delimiter = delimiter_watch(
        {options_.delimiter, options_.delimiter_at_line_start, options_.delimiter_after});
    for (const std::string& stop : options_.stop_strings) s.stop_strings.emplace_back(stop);
    s.repetition = repetition_watch(options_.repetition);
    return s;
  }

  /// A text that the student writes alone, with a sampler of its own.
  [[nodiscard]] hinted_state start_rollout(std::uint64_t record,
                                           const sampler_options& sampler) const {
    validate(sampler);
    hinted_state s = start(record);
    s.sampler = sampler;
    s.rollout = true;
    return s;
  }

  /// Takes the answer to a text's request for its next token: the token, or why the text ends.
  /// `model_ends`: the model itself ends its text with this token. Returns the state's stop reason.
  stop_reason accept(hinted_state& state, const hinted_answer& answer,
                     bool model_ends = false) const {
    detail::check_lambda(answer.status);
    if (answer.status == hinted_status::non_finite) return state.stop = stop_reason::non_finite;
    if (answer.status == hinted_status::no_support) return state.stop = stop_reason::no_support;
    state.tokens.push_back(answer.token);
    state.ids.push_back(answer.token.token);
    if (model_ends || is_end(answer.token.token)) return state.stop = stop_reason::end_of_sequence;
    const std::size_t before = state.bytes.size();
    pieces_->append_piece(answer.token.token, state.bytes);
    const bool answering = state.delimiter.found();
    const auto piece = std::string_view(state.bytes).substr(before);
    state.delimiter.add(state.bytes, piece.size());
    if (stops(state, piece, answering)) {
      state.stop = stop_reason::stop_string;
    } else if (state.repetition.add(state.ids)) {
      state.stop = stop_reason::repetition;
    } else if (static_cast<index_t>(state.tokens.size()) >= options_.max_tokens) {
      state.stop = stop_reason::max_tokens;
    }
    return state.stop;
  }

  void append_piece(token_id t, std::string& bytes) const { pieces_->append_piece(t, bytes); }
  /// Of a row of `columns` logits, those that a token exists for: an engine may pad its rows.
  [[nodiscard]] index_t real_columns(index_t columns) const {
    return (std::min)(columns, static_cast<index_t>(pieces_->vocab_size()));
  }
  [[nodiscard]] bool is_end(token_id t) const {
    return std::ranges::find(options_.end_tokens, t) != options_.end_tokens.end();
  }

 private:
  // A stop string is complete, or the answer's line is. `answering`: the delimiter had been found
  // before this piece. What follows it in the piece that completes it counts as well.
  [[nodiscard]] bool stops(hinted_state& state, std::string_view piece, bool answering) const {
    bool found = false;
    for (byte_watch& watch : state.stop_strings) found |= watch.add(piece);
    if (found || !options_.stop_after_answer || !state.delimiter.found()) return found;
    const std::string_view bytes = state.bytes;
    const auto answer = answering ? bytes.size() - piece.size() : state.delimiter.end();
    return bytes.find('\n', answer) != std::string_view::npos;
  }

  const Tokenizer* pieces_;
  hinted_rule<Schedule> rule_;
  hinted_options options_;
};

/// The request for a text's next token: all of it but the rows.
template <logit_scalar T, logit_scalar S = T>
[[nodiscard]] hinted_request<T, S> next_request(const hinted_state& state) {
  hinted_request<T, S> r;
  r.student_only = state.student_only();
  r.record = state.record;
  r.position = state.tokens.size();
  r.sampler = state.sampler;
  return r;
}

}  // namespace idiolect
