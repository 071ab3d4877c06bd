// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// One text while it is decoded: what to decode, its streams and what each still has to take, and
// what came of it.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <idiolect/core/error.hpp>
#include <idiolect/core/matrix_view.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/hinted/beginnings.hpp>
#include <idiolect/hinted/fed_stream.hpp>
#include <idiolect/hinted/request.hpp>
#include <idiolect/hinted/stop.hpp>
#include <idiolect/hinted/writer.hpp>
#include <idiolect/model/causal_lm.hpp>

namespace idiolect {

/// A text to decode. The prompts are tokens, begin token included where the model wants one.
struct decode_job {
  std::uint64_t record = 0;  ///< key of its random numbers; two jobs with one key draw alike
  std::vector<token_id> student_prompt = {};  ///< the question
  std::vector<token_id> teacher_prompt = {};  ///< the question and the hint; unused for a rollout
  bool rollout = false;                       ///< the student alone, with `rollout_sampler`
  sampler_options rollout_sampler = {};
  /// If not empty, the teacher first writes greedily up to and including these bytes (an analysis
  /// of the hint), within `analysis_budget` tokens; they stay in its context.
  std::string analysis_marker = {};
  index_t analysis_budget = 512;
};

/// What came of a job.
struct decode_result {
  decode_job job;
  hinted_state text;               ///< its tokens, bytes and stop reason
  std::vector<token_id> analysis;  ///< what the teacher wrote first
};

namespace detail {

template <class Model, class Policy>
class text_in_flight {
  using side = fed_stream<Model>;

 public:
  using logit = typename side::logit;
  /// The policy answers many texts at once, and keeps a teacher's row that has to wait.
  static constexpr bool policy_keeps = batch_policy<Policy, logit>;

  /// `place` is the text's own among those in flight. It has no streams yet.
  text_in_flight(const Model& model, const Policy& policy, decode_job job, index_t place)
      : context_(model.context_size()), place_(place) {
    result_.job = std::move(job);
    state() = started(policy, result_.job);
    analysing_ = !result_.job.rollout && !result_.job.analysis_marker.empty();
    marker_ = byte_watch(result_.job.analysis_marker);
  }

  /// Streams that it needs.
  [[nodiscard]] static index_t streams(const decode_job& job) { return job.rollout ? 1 : 2; }
  /// Opens them. Returns how many of the prompts' tokens they have already.
  index_t open(Model& model, shared_beginnings<Model>& beginnings) {
    const decode_job& j = result_.job;
    opened_ = true;
    index_t shared = student_.open(model, beginnings, j.student_prompt);
    if (!j.rollout) shared += teacher_.open(model, beginnings, j.teacher_prompt);
    return shared;
  }
  [[nodiscard]] bool opened() const { return opened_; }

  /// The result of a job that no stream was opened for.
  static decode_result unstarted(const Policy& policy, decode_job job, stop_reason reason) {
    decode_result r;
    r.text = started(policy, job);
    r.text.stop = reason;
    r.job = std::move(job);
    return r;
  }

  [[nodiscard]] const decode_job& job() const { return result_.job; }
  [[nodiscard]] index_t place() const { return place_; }
  [[nodiscard]] decode_result result() { return std::move(result_); }
  [[nodiscard]] bool ended() const { return result_.text.stop != stop_reason::none; }
  /// Ended, and every emitted token has its score.
  [[nodiscard]] bool finished() const { return ended() && !(catching_up() && !abandoned_); }

  void end(stop_reason reason) {
    state().stop = reason;
    // Nothing follows the last token: no stream has to take it.
    if (emitted_ > 0 && !student_.pending().empty()) student_.forget_last();
  }
  /// Ends at once: no stream takes anything any more.
  void abandon(stop_reason reason) {
    if (!ended()) end(reason);
    abandoned_ = true;
  }
  /// The model has no room for this text though it is alone. What the teacher frees may be enough
  /// for the student's late scores.
  void end_without_room() {
    ended() ? abandon(stop_reason::context_full) : end(stop_reason::context_full);
  }

  /// Ends the text where a stream has no room for what it has to take.
  void check_context() {
    if (!ended() && (teacher_.needs() > context_ || student_.needs() > context_)) {
      end(stop_reason::context_full);
    }
  }

  /// Adds this text's chunks. A text completes its streams' tokens together, so that both rows of
  /// logits are there at once; what does not fit the budget waits, the last token of each at least.
  template <class Options>
  void request(const Options& options, index_t& budget, std::vector<chunk>& chunks) {
    const bool teacher_wants = teacher_.open() && !ended() && !teacher_.pending().empty();
    const bool student_wants = !student_.pending().empty() && student_due(options);
    const index_t wanted = (teacher_wants ? size(teacher_.pending()) : 0) +
                           (student_wants ? size(student_.pending()) : 0);
    const bool complete = wanted <= budget;
    if (teacher_wants) teacher_.request(budget, complete, false, chunks);
    if (student_wants) student_.request(budget, complete, student_rows_matter(), chunks);
  }

  template <class Counts>
  void forwarded(Counts& counts) {
    counts.teacher_tokens += teacher_.forwarded();
    counts.student_tokens += student_.forwarded();
  }
  void not_forwarded() {
    teacher_.not_forwarded();
    student_.not_forwarded();
  }

  /// Looks up the rows of logits that the last forward gave: the model is asked by one thread.
  void collect(const Model& model) {
    teacher_.collect(model);
    student_.collect(model);
  }

  [[nodiscard]] const hinted_state& written() const { return result_.text; }
  /// Whether a token was emitted since this was last asked.
  [[nodiscard]] bool tell_token() { return std::exchange(told_, emitted_) != emitted_; }
  /// The caller wants no more of it. Scores that are still to come do come.
  void stop() {
    if (!ended()) end(stop_reason::stopped);
  }
  [[nodiscard]] bool stopped() const { return result_.text.stop == stop_reason::stopped; }

  /// Adds what this text asks of the policy, now that those rows are there: the scores that came
  /// late, then the next token.
  void ask(const Policy& policy, std::vector<hinted_request<logit>>& requests) {
    const std::size_t before = requests.size();
    late_ = 0;
    if (!abandoned_) {
      ask_late_scores(policy, requests);
      const bool ready = teacher_.open() && !holding_ ? teacher_.ready() : student_.ready();
      if (!ended() && ready) ask_token(policy, requests);
    }
    asked_ = requests.size() - before;
  }
  [[nodiscard]] std::size_t asked() const { return asked_; }

  /// Takes the answers. Touches nothing that is shared.
  void take(const Model& model, const Policy& policy, std::span<const hinted_answer> answers) {
    std::size_t k = 0;
    for (; k < late_; ++k) {
      state().tokens[static_cast<std::size_t>(scored_++)].student = answers[k].token.student;
    }
    if (k == answers.size()) return;
    analysing_ ? analyse(model, policy, answers[k]) : step(model, policy, answers[k]);
  }

  /// Both, with a policy that reads rows in host memory.
  template <class Scratch>
  void advance(const Model& model, const Policy& policy, Scratch& memory) {
    requests_.clear();
    answers_.clear();
    ask(policy, requests_);
    for (const auto& r : requests_) answers_.push_back(policy.answer(r, memory));
    take(model, policy, answers_);
  }

  /// Frees the teacher's stream once the student goes on alone. Returns how many were freed.
  index_t release(Model& model) {
    if (!teacher_.open() || !(state().student_only() || ended())) return 0;
    return teacher_.drop(model);
  }
  index_t drop(Model& model) { return teacher_.drop(model) + student_.drop(model); }
  void drop_quietly(Model& model) {
    quietly([&] { teacher_.drop(model); });
    quietly([&] { student_.drop(model); });
  }

 private:
  static hinted_state started(const Policy& policy, const decode_job& j) {
    return j.rollout ? policy.start_rollout(j.record, j.rollout_sampler) : policy.start(j.record);
  }
  hinted_state& state() { return result_.text; }
  static index_t size(std::span<const token_id> s) { return static_cast<index_t>(s.size()); }

  // Emitted tokens that the student has not scored yet, because its rows were deferred.
  [[nodiscard]] bool catching_up() const {
    return student_.open() && scored_ < static_cast<index_t>(result_.text.tokens.size());
  }
  // After the prompt every row predicts an emitted token, or the next.
  [[nodiscard]] bool student_rows_matter() const {
    return student_.taken() >= static_cast<index_t>(result_.job.student_prompt.size());
  }
  template <class Options>
  [[nodiscard]] bool student_due(const Options& options) const {
    if (analysing_) return false;
    if (!options.defer_student || result_.text.student_only() || holding_ || ended()) return true;
    const bool in_prompt = !student_rows_matter();
    return in_prompt || size(student_.pending()) >= options.max_lag;
  }

  // The rows of a catch-up chunk predict the tokens from the first unscored one on.
  void ask_late_scores(const Policy& policy, std::vector<hinted_request<logit>>& requests) {
    const auto unscored = static_cast<index_t>(emitted_) - scored_;
    late_ = static_cast<std::size_t>((std::min)(student_.rows(), unscored));
    for (std::size_t k = 0; k < late_; ++k) {
      auto r = next_request<logit>(state());
      r.task = hinted_task::student_score;
      r.student = student_.row(static_cast<index_t>(k));
      r.size = policy.real_columns(student_.cols());
      r.token = state().ids[static_cast<std::size_t>(scored_) + k];
      r.place = place_;
      requests.push_back(r);
    }
  }

  void ask_token(const Policy& policy, std::vector<hinted_request<logit>>& requests) {
    auto r = next_request<logit>(state());
    r.task = analysing_ ? hinted_task::greedy : hinted_task::next_token;
    r.place = place_;
    if (holding_) {
      r.size = held_cols_;
      r.kept_teacher = policy_keeps;
      r.teacher = policy_keeps ? nullptr : held_row_.data();
    } else if (teacher_.open()) {
      r.size = teacher_.cols();
      r.teacher = teacher_.row(teacher_.rows() - 1);
    }
    if (!analysing_ && student_.ready()) {
      r.size = student_.cols();
      r.student = student_.row(student_.rows() - 1);
    }
    r.size = policy.real_columns(r.size);
    requests.push_back(r);
  }

  void analyse(const Model& model, const Policy& policy, const hinted_answer& answer) {
    if (answer.status != hinted_status::ok) return end(stop_reason::non_finite);
    const token_id t = answer.token.token;
    result_.analysis.push_back(t);
    std::string piece;
    policy.append_piece(t, piece);
    teacher_.push(t);
    if (marker_.add(piece)) {
      analysing_ = false;
    } else if (policy.is_end(t) || model.is_end(t) ||
               static_cast<index_t>(result_.analysis.size()) >= result_.job.analysis_budget) {
      end(stop_reason::marker_missing);
    }
  }

  void step(const Model& model, const Policy& policy, const hinted_answer& answer) {
    if (answer.status == hinted_status::student_needed) return hold();  // it was deferred
    holding_ = false;
    policy.accept(state(), answer,
                  answer.status == hinted_status::ok && model.is_end(answer.token.token));
    if (state().tokens.size() == emitted_) return end(state().stop);  // ended without a token
    emitted_ = state().tokens.size();
    if (student_.ready()) scored_ = static_cast<index_t>(emitted_);
    if (ended()) return;  // nothing follows the last token: no stream has to take it
    const token_id t = state().tokens.back().token;
    student_.push(t);
    if (!state().student_only()) teacher_.push(t);
  }

  // The teacher's row waits for the student's, which the next forward brings.
  void hold() {
    holding_ = true;
    held_cols_ = teacher_.cols();
    if constexpr (!policy_keeps) {
      const logit* const row = teacher_.row(teacher_.rows() - 1);
      held_row_.assign(row, row + held_cols_);
    }
  }

  decode_result result_;
  side teacher_;
  side student_;
  index_t context_ = 0;
  bool opened_ = false;
  bool analysing_ = false;
  bool abandoned_ = false;
  byte_watch marker_;
  bool holding_ = false;         // the teacher's row waits for the student's
  std::vector<logit> held_row_;  // it, where the policy does not keep it
  index_t held_cols_ = 0;
  index_t place_ = 0;
  std::size_t asked_ = 0;  // of the policy, in this step
  std::size_t late_ = 0;   // of those, scores of earlier tokens
  index_t scored_ = 0;     // emitted tokens that have the student's score
  std::size_t emitted_ = 0;
  std::size_t told_ = 0;  // emitted_ when the caller was last told
  std::vector<hinted_request<logit>> requests_;
  std::vector<hinted_answer> answers_;
};

}  // namespace detail

}  // namespace idiolect
