// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// One step of hinted decoding: two rows of logits in, one token out. An engine with a loop of its
// own needs nothing else.
//
// The teacher's row comes from a context that holds the reference answer, the student's from the
// question alone. The teacher's entropy decides how far the student's voice leads; the token is
// drawn from the geometric mixture; both contexts then take the token. Once the emitted bytes hold
// the answer's delimiter only the student speaks, so that a wrong derivation cannot be rescued by
// the known answer. Source: arXiv 2602.12222.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <idiolect/cll/score.hpp>
#include <idiolect/core/error.hpp>
#include <idiolect/core/philox.hpp>
#include <idiolect/core/scalar.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/hinted/lambda.hpp>
#include <idiolect/hinted/mixture.hpp>
#include <idiolect/hinted/stop.hpp>
#include <idiolect/model/tokenizer.hpp>
#include <idiolect/stats/fold.hpp>
#include <idiolect/stats/row_stats.hpp>
#include <idiolect/stats/sampling.hpp>
#include <idiolect/stats/selection.hpp>

namespace idiolect {

/// Options of a decoding. The defaults are those of the authors' demo.
struct hinted_options {
  sampler_options sampler{.temperature = 0.3,
                          .top_p = 0.95,
                          .order = sampler_order::temperature_last};
  /// Entropy that h is normalised by, nats; 0: ln of the row's length. The authors normalise by
  /// the padded vocabulary, so give ln V where a row is not padded as theirs.
  double entropy_norm = 0;
  bool teacher_first_token = true;  ///< lambda is 0 at the first token
  std::string delimiter;            ///< bytes that start the answer, e.g. "####"; empty: none
  std::vector<token_id> end_tokens;  ///< tokens that end a text
  index_t max_tokens = 512;
  repetition_options repetition{};
  std::uint64_t seed = 0;
};

/// Whose distribution a token came from: the one with the larger share of the exponent.
enum class voice : std::uint8_t { teacher, student };

/// One emitted token. Natural logarithms, at temperature 1.
struct hinted_token {
  token_id token = 0;
  double lambda = 0;  ///< the student's share, in [0, 1]
  /// Under the teacher; NaN where it had no row (the student alone).
  double teacher_log_prob = std::numeric_limits<double>::quiet_NaN();
  /// Under the student; `ignored` until a deferred row is scored.
  token_score student = {};

  [[nodiscard]] voice leader() const { return lambda < 0.5 ? voice::teacher : voice::student; }
};

/// A text that is being decoded. Made by `hinted_policy::start`.
struct hinted_state {
  std::uint64_t record = 0;           ///< key of its random numbers, with the seed
  sampler_options sampler;            ///< of this text
  bool rollout = false;               ///< the student alone, from the first token
  std::vector<hinted_token> tokens;   ///< emitted so far, the end token included
  std::string bytes;                  ///< their text
  stop_reason stop = stop_reason::none;
  byte_watch delimiter;
  repetition_watch repetition;
  std::vector<token_id> ids;          ///< of `tokens`

  /// The answer's delimiter has been emitted: only the student speaks.
  [[nodiscard]] bool student_only() const { return rollout || delimiter.found(); }
};

/// Who leads the next token, known from the teacher's row alone.
struct hinted_lead {
  double lambda = 1;
  double teacher_max = 0;
  double teacher_log_sum = 0;
  bool finite = true;
};

/// The step. `Backend` folds rows (`cpu{}`), `Tokenizer` gives a token's bytes. A const policy may
/// be used from several threads, each with its own states and scratch.
template <folding_backend Backend, tokenizer Tokenizer, lambda_schedule Schedule = linear_lambda>
class hinted_policy {
 public:
  /// Memory of a step, reused from one to the next.
  struct scratch {
    std::tuple<std::vector<float>, std::vector<double>> mixed;  // in the rows' accumulation type
    selection_scratch selection;
  };

  /// `pieces` must outlive the policy. Raises shape_error for options that make no sense.
  hinted_policy(Backend backend, const Tokenizer& pieces, Schedule schedule, hinted_options options)
      : backend_(std::move(backend)),
        pieces_(&pieces),
        schedule_(std::move(schedule)),
        options_(std::move(options)) {
    validate(options_.sampler);
    if constexpr (requires { schedule_.validate(); }) schedule_.validate();
    validate(options_.repetition);
    require(options_.max_tokens > 0, "hinted_options::max_tokens", "must be > 0");
    require(options_.entropy_norm >= 0, "hinted_options::entropy_norm", "must be >= 0 nats");
  }

  [[nodiscard]] const hinted_options& options() const { return options_; }

  /// A text with no token yet; `record` keys its draws.
  [[nodiscard]] hinted_state start(std::uint64_t record) const {
    hinted_state s;
    s.record = record;
    s.sampler = options_.sampler;
    s.delimiter = byte_watch(options_.delimiter);
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

  /// Lambda of the next token. The teacher's row may be empty once `student_only`. O(V).
  template <logit_scalar T>
  [[nodiscard]] hinted_lead lead(const hinted_state& state, std::span<const T> teacher) const {
    hinted_lead r;
    if (state.student_only()) return r;
    const auto stats = finish(fold<moments::basic>(teacher, "teacher"), 0.0);
    r.finite = stats.finite();
    r.teacher_max = stats.max;
    r.teacher_log_sum = stats.log_sum;
    if (!r.finite) return r;
    const double norm = options_.entropy_norm > 0 ? options_.entropy_norm
                                                  : std::log(static_cast<double>(teacher.size()));
    const bool first = state.tokens.empty() && options_.teacher_first_token;
    const double h = norm > 0 ? std::clamp(stats.entropy() / norm, 0.0, 1.0) : 0;
    r.lambda = first ? 0 : static_cast<double>(schedule_(h));
    require(r.lambda >= 0 && r.lambda <= 1, "lambda_schedule", "gave a lambda outside [0, 1]");
    return r;
  }

  /// Emits one token, or ends the text. Returns the state's stop reason.
  /// The student's row may be empty where lambda is 0: score it later with `score_student`.
  template <logit_scalar T, logit_scalar S>
  stop_reason step(hinted_state& state, const hinted_lead& lead, std::span<const T> teacher,
                   std::span<const S> student, scratch& memory) const {
    require(state.stop == stop_reason::none, "state", "the text has ended");
    if (!lead.finite) return state.stop = stop_reason::non_finite;
    require(state.student_only() || student.empty() || teacher.size() == student.size(), "student",
            "its row is not as long as the teacher's");

    row_state<double, moments::varentropy> student_state;
    if (!student.empty()) student_state = fold<moments::varentropy>(student, "student");
    if (lead.lambda > 0) {
      require(!student.empty(), "student", "its row is needed where lambda is above 0");
      if (!student_state.finite()) return state.stop = stop_reason::non_finite;
    }

    const double u = philox{options_.seed, state.record}.uniform(state.tokens.size());
    const auto draw = [&](const auto& row, double max) {
      return select_token(row.data(), static_cast<index_t>(row.size()), max, state.sampler, u,
                          memory.selection);
    };
    hinted_token t;
    if (lead.lambda == 0) {
      t.token = draw(teacher, lead.teacher_max);
    } else if (lead.lambda == 1) {
      t.token = draw(student, student_state.max);
    } else {
      auto& mixed = std::get<std::vector<mixture_t<T, S>>>(memory.mixed);
      const double max = mix_logits(teacher.data(), lead.teacher_max, student.data(),
                                    student_state.max, size(teacher), lead.lambda, mixed);
      if (max == -std::numeric_limits<double>::infinity()) {
        return state.stop = stop_reason::no_support;
      }
      t.token = draw(mixed, max);
    }

    t.lambda = lead.lambda;
    if (!state.student_only()) {
      t.teacher_log_prob = static_cast<double>(load(teacher[static_cast<std::size_t>(t.token)])) -
                           lead.teacher_max - lead.teacher_log_sum;
    }
    if (!student.empty()) t.student = score_of(student, student_state, t.token);
    accept(state, t);
    return state.stop;
  }

  /// `lead` and `step` in one.
  template <logit_scalar T, logit_scalar S>
  stop_reason step(hinted_state& state, std::span<const T> teacher, std::span<const S> student,
                   scratch& memory) const {
    return step(state, lead(state, teacher), teacher, student, memory);
  }

  /// Scores the emitted token `position` under a student's row that came late.
  template <logit_scalar S>
  void score_student(hinted_state& state, index_t position, std::span<const S> student) const {
    hinted_token& t = state.tokens[static_cast<std::size_t>(position)];
    t.student = score_of(student, fold<moments::varentropy>(student, "student"), t.token);
  }

  /// The most likely token, the smallest id among equals; -1 for a row that is not finite. O(V).
  template <logit_scalar T>
  [[nodiscard]] token_id greedy(std::span<const T> row) const {
    const auto folded = fold<moments::basic>(row, "row");
    if (!folded.finite()) return -1;
    token_id best = 0;
    while (static_cast<double>(load(row[static_cast<std::size_t>(best)])) != folded.max) ++best;
    return best;
  }

  void append_piece(token_id t, std::string& bytes) const { pieces_->append_piece(t, bytes); }
  [[nodiscard]] bool is_end(token_id t) const {
    return std::ranges::find(options_.end_tokens, t) != options_.end_tokens.end();
  }

 private:
  template <moments Set, class T>
  [[nodiscard]] row_state<double, Set> fold(std::span<const T> row, const char* argument) const {
    require(!row.empty(), argument, "an empty row of logits");
    return backend_.template fold<Set>(row.data(), size(row), 1.0);
  }
  template <class T>
  static index_t size(std::span<const T> row) {
    return static_cast<index_t>(row.size());
  }

  template <class S>
  static token_score score_of(std::span<const S> row,
                              const row_state<double, moments::varentropy>& folded,
                              token_id token) {
    const auto stats =
        finish(folded, static_cast<double>(load(row[static_cast<std::size_t>(token)])), token);
    return {stats.log_prob(), stats.entropy(), stats.varentropy(), stats.phi(),
            stats.finite() ? token_status::scored : token_status::non_finite};
  }

  void accept(hinted_state& state, const hinted_token& t) const {
    state.tokens.push_back(t);
    state.ids.push_back(t.token);
    if (is_end(t.token)) {
      state.stop = stop_reason::end_of_sequence;
      return;
    }
    const std::size_t before = state.bytes.size();
    pieces_->append_piece(t.token, state.bytes);
    state.delimiter.add(std::string_view(state.bytes).substr(before));
    if (state.repetition.add(state.ids)) {
      state.stop = stop_reason::repetition;
    } else if (static_cast<index_t>(state.tokens.size()) >= options_.max_tokens) {
      state.stop = stop_reason::max_tokens;
    }
  }

  Backend backend_;
  const Tokenizer* pieces_;
  Schedule schedule_;
  hinted_options options_;
};

}  // namespace idiolect
