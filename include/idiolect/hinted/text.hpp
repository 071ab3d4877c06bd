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
  bool rollout = false;                  ///< the student alone, with `rollout_sampler`
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
 public:
  using logits_view = decltype(view(std::declval<const Model&>().logits(stream_id{})));
  using logit = typename logits_view::value_type;
  /// The policy answers many texts at once, and keeps a teacher's row that has to wait.
  static constexpr bool policy_keeps = batch_policy<Policy, logit>;

  /// `place` is the text's own among those in flight.
  text_in_flight(Model& model, const Policy& policy, decode_job job, index_t place)
      : place_(place) {
    result_.job = std::move(job);
    const decode_job& j = result_.job;
    state() = started(policy, j);
    context_ = model.context_size();
    undo opening{model, student_};
    student_.open(model, j.student_prompt);
    if (!j.rollout) {
      teacher_.open(model, j.teacher_prompt);
      analysing_ = !j.analysis_marker.empty();
      marker_ = byte_watch(j.analysis_marker);
    }
    opening.needed = false;
  }

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

  /// Adds what this text asks of the policy, now that those rows are there: the scores that came
  /// late, then the next token.
  void ask(std::vector<hinted_request<logit>>& requests) {
    const std::size_t before = requests.size();
    late_ = 0;
    if (!abandoned_) {
      ask_late_scores(requests);
      const bool ready = teacher_.open() && !holding_ ? teacher_.ready() : student_.ready();
      if (!ended() && ready) ask_token(requests);
    }
    asked_ = requests.size() - before;
  }
  [[nodiscard]] std::size_t asked() const { return asked_; }

  /// Takes the answers. Touches nothing that is shared.
  void take(const Policy& policy, std::span<const hinted_answer> answers) {
    std::size_t k = 0;
    for (; k < late_; ++k) {
      state().tokens[static_cast<std::size_t>(scored_++)].student = answers[k].token.student;
    }
    if (k == answers.size()) return;
    analysing_ ? analyse(policy, answers[k]) : step(policy, answers[k]);
  }

  /// Both, with a policy that reads rows in host memory.
  template <class Scratch>
  void advance(const Policy& policy, Scratch& memory) {
    requests_.clear();
    answers_.clear();
    ask(requests_);
    for (const auto& r : requests_) answers_.push_back(policy.answer(r, memory));
    take(policy, answers_);
  }

  /// Frees the teacher's stream once the student goes on alone. Returns how many were freed.
  index_t release(Model& model) {
    if (!teacher_.open() || !(state().student_only() || ended())) return 0;
    return teacher_.drop(model);
  }
  index_t drop(Model& model) { return teacher_.drop(model) + student_.drop(model); }

 private:
  /// A stream and the tokens it has still to take.
  class side {
   public:
    void open(Model& model, const std::vector<token_id>& prompt) {
      stream_ = model.open();
      open_ = true;
      tokens_ = prompt;
    }
    index_t drop(Model& model) {
      if (!open_) return 0;
      model.drop(stream_);
      open_ = false;
      ready_ = false;
      rows_at_hand_ = {};
      return 1;
    }
    [[nodiscard]] bool open() const { return open_; }
    [[nodiscard]] bool ready() const { return ready_; }
    [[nodiscard]] std::span<const token_id> pending() const {
      return std::span(tokens_).subspan(static_cast<std::size_t>(taken_));
    }
    [[nodiscard]] index_t needs() const { return open_ ? static_cast<index_t>(tokens_.size()) : 0; }

    void push(token_id t) {
      tokens_.push_back(t);
      ready_ = false;
    }
    void forget_last() { tokens_.pop_back(); }
    void request(index_t& budget, bool complete, bool every_row, std::vector<chunk>& chunks) {
      const auto waiting = pending();
      const index_t count = complete ? size(waiting) : std::min(budget, size(waiting) - 1);
      if (count <= 0) return;
      const auto logits = every_row ? want_logits::all
                          : complete ? want_logits::last
                                     : want_logits::none;
      chunks.push_back({stream_, waiting.first(static_cast<std::size_t>(count)), logits});
      requested_ = count;
      rows_requested_ = every_row ? count : complete ? 1 : 0;
      budget -= count;
    }
    index_t forwarded() {
      const index_t count = std::exchange(requested_, 0);
      if (count == 0) return 0;
      taken_ += count;
      ready_ = pending().empty();
      fresh_ = rows_requested_ > 0;
      return count;
    }
    void not_forwarded() { requested_ = 0; }

    [[nodiscard]] index_t taken() const { return taken_; }

    /// The rows of logits that the last forward gave this stream.
    void collect(const Model& model) {
      rows_at_hand_ = fresh_ ? view(model.logits(stream_)) : logits_view{};
      // A row too few would be waited for forever, one too many would score the wrong token.
      require<backend_error>(!fresh_ || rows() == rows_requested_, "model", [&] {
        return "gave " + std::to_string(rows()) + " rows of logits, asked for " +
               std::to_string(rows_requested_);
      });
      fresh_ = false;
    }
    [[nodiscard]] index_t rows() const { return rows_at_hand_.rows(); }
    [[nodiscard]] index_t cols() const { return rows_at_hand_.cols(); }
    [[nodiscard]] const logit* row(index_t r) const { return rows_at_hand_.row(r); }

   private:
    stream_id stream_ = 0;
    bool open_ = false;
    bool ready_ = false;              // everything taken, and the last row is at hand
    std::vector<token_id> tokens_;    // prompt and what followed
    index_t taken_ = 0;                 // of tokens_, by the model
    index_t requested_ = 0;             // in the call under way
    index_t rows_requested_ = 0;        // of logits, from that call
    bool fresh_ = false;              // rows that nobody has looked at
    logits_view rows_at_hand_;
  };

  /// Drops a stream again if the other one cannot be opened.
  struct undo {
    Model& model;
    side& stream;
    bool needed = true;
    ~undo() {
      if (needed) stream.drop(model);
    }
  };

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
  void ask_late_scores(std::vector<hinted_request<logit>>& requests) {
    const auto unscored = static_cast<index_t>(emitted_) - scored_;
    late_ = static_cast<std::size_t>(std::min(student_.rows(), unscored));
    for (std::size_t k = 0; k < late_; ++k) {
      auto r = next_request<logit>(state());
      r.task = hinted_task::student_score;
      r.student = student_.row(static_cast<index_t>(k));
      r.size = student_.cols();
      r.token = state().ids[static_cast<std::size_t>(scored_) + k];
      r.place = place_;
      requests.push_back(r);
    }
  }

  void ask_token(std::vector<hinted_request<logit>>& requests) {
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
      require(!teacher_.open() || student_.cols() == r.size, "student",
              "its row is not as long as the teacher's");
      r.size = student_.cols();
      r.student = student_.row(student_.rows() - 1);
    }
    requests.push_back(r);
  }

  void analyse(const Policy& policy, const hinted_answer& answer) {
    if (answer.status != hinted_status::ok) return end(stop_reason::non_finite);
    const token_id t = answer.token.token;
    result_.analysis.push_back(t);
    std::string piece;
    policy.append_piece(t, piece);
    teacher_.push(t);
    if (marker_.add(piece)) {
      analysing_ = false;
    } else if (policy.is_end(t) ||
               static_cast<index_t>(result_.analysis.size()) >= result_.job.analysis_budget) {
      end(stop_reason::marker_missing);
    }
  }

  void step(const Policy& policy, const hinted_answer& answer) {
    if (answer.status == hinted_status::student_needed) return hold();  // it was deferred
    holding_ = false;
    policy.accept(state(), answer);
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
  bool analysing_ = false;
  bool abandoned_ = false;
  byte_watch marker_;
  bool holding_ = false;         // the teacher's row waits for the student's
  std::vector<logit> held_row_;  // it, where the policy does not keep it
  index_t held_cols_ = 0;
  index_t place_ = 0;
  std::size_t asked_ = 0;          // of the policy, in this step
  std::size_t late_ = 0;           // of those, scores of earlier tokens
  index_t scored_ = 0;             // emitted tokens that have the student's score
  std::size_t emitted_ = 0;
  std::vector<hinted_request<logit>> requests_;
  std::vector<hinted_answer> answers_;
};

}  // namespace detail

}  // namespace idiolect
