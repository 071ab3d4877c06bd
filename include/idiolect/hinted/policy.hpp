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

#include <cstdint>
#include <limits>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include <idiolect/cll/score.hpp>
#include <idiolect/core/error.hpp>
#include <idiolect/core/scalar.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/hinted/lambda.hpp>
#include <idiolect/hinted/mixture.hpp>
#include <idiolect/hinted/request.hpp>
#include <idiolect/hinted/stop.hpp>
#include <idiolect/hinted/writer.hpp>
#include <idiolect/model/tokenizer.hpp>
#include <idiolect/stats/fold.hpp>
#include <idiolect/stats/row_stats.hpp>
#include <idiolect/stats/selection.hpp>

namespace idiolect {

/// Who leads the next token, known from the teacher's row alone.
struct hinted_lead {
  double lambda = 1;
  double teacher_max = 0;
  double teacher_log_sum = 0;
  bool finite = true;
};

/// The step. `Backend` folds rows (`cpu{}`), `Tokenizer` gives a token's bytes. Rows may be longer
/// than the tokenizer has pieces, where an engine pads its vocabulary: what is beyond them does not
/// count. A const policy may be used from several threads, each with its own states and scratch.
template <folding_backend Backend, tokenizer Tokenizer, lambda_schedule Schedule = linear_lambda>
class hinted_policy : public hinted_writer<Tokenizer, Schedule> {
  using writer = hinted_writer<Tokenizer, Schedule>;

 public:
  /// Memory of a step, reused from one to the next.
  struct scratch {
    std::tuple<std::vector<float>, std::vector<double>> mixed;  // in the rows' accumulation type
    selection_scratch selection;
  };

  /// `pieces` must outlive the policy. Raises shape_error for options that make no sense.
  hinted_policy(Backend backend, const Tokenizer& pieces, Schedule schedule, hinted_options options)
      : writer(pieces, std::move(schedule), std::move(options)), backend_(std::move(backend)) {}
  /// The policy keeps a pointer to the tokenizer: a temporary would be gone.
  hinted_policy(Backend, const Tokenizer&&, Schedule, hinted_options) = delete;

  /// Lambda of the next token. The teacher's row may be empty once `student_only`. O(V).
  template <logit_scalar T>
  [[nodiscard]] hinted_lead lead(const hinted_state& state, std::span<const T> teacher) const {
    if (state.student_only()) return {};
    const hinted_lead r = lead_of(real(teacher), state.tokens.size());
    detail::check_lambda(status_of(r));
    return r;
  }

  /// Emits one token, or ends the text. Returns the state's stop reason.
  /// The student's row may be empty where lambda is 0: score it later with `score_student`.
  template <logit_scalar T, logit_scalar S>
  stop_reason step(hinted_state& state, const hinted_lead& lead, std::span<const T> teacher,
                   std::span<const S> student, scratch& memory) const {
    require(state.stop == stop_reason::none, "state", "the text has ended");
    require(state.student_only() || student.empty() || teacher.size() == student.size(), "student",
            "its row is not as long as the teacher's");
    auto r = next_request<T, S>(state);
    r.teacher = r.student_only ? nullptr : teacher.data();
    r.student = student.empty() ? nullptr : student.data();
    r.size = this->real_columns(size(r.student_only ? student.size() : teacher.size()));
    const hinted_answer answer = next_token(r, lead, memory);
    require(answer.status != hinted_status::student_needed, "student",
            "its row is needed where lambda is above 0");
    return this->accept(state, answer);
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
    t.student =
        score_of(student.data(), fold<moments::varentropy>(real(student), "student"), t.token);
  }

  /// The most likely token, the smallest id among equals; -1 for a row that is not finite. O(V).
  template <logit_scalar T>
  [[nodiscard]] token_id greedy(std::span<const T> row) const {
    const auto folded = fold<moments::basic>(real(row), "row");
    return folded.finite() ? detail::first_of_value(row.data(), folded.max) : -1;
  }

  /// Answers a request with the rows in it. The state is not touched: see `accept`.
  template <logit_scalar T, logit_scalar S>
  [[nodiscard]] hinted_answer answer(const hinted_request<T, S>& r, scratch& memory) const {
    hinted_answer a;
    switch (r.task) {
      case hinted_task::next_token:
        return next_token(r, r.student_only ? hinted_lead{} : lead_of(teacher_of(r), r.position),
                          memory);
      case hinted_task::greedy:
        a.token.token = greedy(teacher_of(r));
        if (a.token.token < 0) a.status = hinted_status::non_finite;
        return a;
      case hinted_task::student_score:
        a.token.student =
            score_of(r.student, fold<moments::varentropy>(student_of(r), "student"), r.token);
        return a;
    }
    return a;
  }

 private:
  template <moments Set, class T>
  [[nodiscard]] row_state<double, Set> fold(std::span<const T> row, const char* argument) const {
    require(!row.empty(), argument, "an empty row of logits");
    return backend_.template fold<Set>(row.data(), size(row.size()), 1.0);
  }
  static index_t size(std::size_t n) { return static_cast<index_t>(n); }
  template <class T>
  [[nodiscard]] std::span<const T> real(std::span<const T> row) const {
    return row.first(static_cast<std::size_t>(this->real_columns(size(row.size()))));
  }
  template <class T, class S>
  static std::span<const T> teacher_of(const hinted_request<T, S>& r) {
    return {r.teacher, r.teacher == nullptr ? 0 : static_cast<std::size_t>(r.size)};
  }
  template <class T, class S>
  static std::span<const S> student_of(const hinted_request<T, S>& r) {
    return {r.student, r.student == nullptr ? 0 : static_cast<std::size_t>(r.size)};
  }

  template <class T>
  [[nodiscard]] hinted_lead lead_of(std::span<const T> teacher, std::uint64_t position) const {
    const auto stats = finish(fold<moments::basic>(teacher, "teacher"), 0.0);
    hinted_lead r{.teacher_max = stats.max, .teacher_log_sum = stats.log_sum};
    r.finite = stats.finite();
    if (r.finite) r.lambda = this->rule().lambda(stats.entropy(), size(teacher.size()), position);
    return r;
  }
  static hinted_status status_of(const hinted_lead& lead) {
    if (!lead.finite) return hinted_status::non_finite;
    return lead.lambda >= 0 && lead.lambda <= 1 ? hinted_status::ok : hinted_status::bad_lambda;
  }

  template <class S>
  static token_score score_of(const S* row, const row_state<double, moments::varentropy>& folded,
                              token_id token) {
    const auto stats = finish(folded, static_cast<double>(load(row[token])), token);
    return {stats.log_prob(), stats.entropy(), stats.varentropy(), stats.phi(),
            stats.finite() ? token_status::scored : token_status::non_finite};
  }

  template <class T, class S>
  [[nodiscard]] hinted_answer next_token(const hinted_request<T, S>& r, const hinted_lead& lead,
                                         scratch& memory) const {
    hinted_answer a{.status = status_of(lead)};
    if (a.status != hinted_status::ok) return a;
    const auto ended = [&](hinted_status status) {
      a.status = status;
      return a;
    };
    if (lead.lambda > 0 && r.student == nullptr) return ended(hinted_status::student_needed);
    row_state<double, moments::varentropy> student_state;
    if (r.student != nullptr) student_state = fold<moments::varentropy>(student_of(r), "student");
    if (lead.lambda > 0 && !student_state.finite()) return ended(hinted_status::non_finite);

    const double u = this->rule().draw(r.record, r.position);
    const auto draw = [&](const auto* row, double max) {
      return select_token(row, r.size, max, r.sampler, u, memory.selection);
    };
    hinted_token& t = a.token;
    if (lead.lambda == 0) {
      t.token = draw(r.teacher, lead.teacher_max);
    } else if (lead.lambda == 1) {
      t.token = draw(r.student, student_state.max);
    } else {
      auto& mixed = std::get<std::vector<mixture_t<T, S>>>(memory.mixed);
      const double max = mix_logits(r.teacher, lead.teacher_max, r.student, student_state.max,
                                    r.size, lead.lambda, mixed);
      if (max == -std::numeric_limits<double>::infinity()) return ended(hinted_status::no_support);
      t.token = draw(mixed.data(), max);
    }

    t.lambda = lead.lambda;
    if (!r.student_only) {
      t.teacher_log_prob =
          static_cast<double>(load(r.teacher[t.token])) - lead.teacher_max - lead.teacher_log_sum;
    }
    if (r.student != nullptr) t.student = score_of(r.student, student_state, t.token);
    return a;
  }

  Backend backend_;
};

}  // namespace idiolect
