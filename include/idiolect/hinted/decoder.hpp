// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Decodes many texts at once over one causal_lm. Each text has one stream (a rollout) or two (a
// teacher with the hint, a student without); all streams go into one forward call, texts come and
// go as they finish, and the teacher's cache is freed once the student goes on alone. What prompts
// have in common at their beginning is forwarded once and forked.
//
// A text's tokens do not depend on what else is in flight if the model is batch_invariant: draws
// are keyed by (seed, record, position). With any other model the draws are the same and the rows
// they are made from differ by its rounding. Every token is forwarded once per stream: the model's
// work is linear in the text.
//
// A policy on the host steps one text at a time, on the executor. A policy that answers in batches,
// on a device, is asked once for all texts; rows then stay where the model left them.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <idiolect/core/error.hpp>
#include <idiolect/core/executor.hpp>
#include <idiolect/core/matrix_view.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/hinted/decoder_options.hpp>
#include <idiolect/hinted/policy.hpp>
#include <idiolect/hinted/request.hpp>
#include <idiolect/hinted/stop.hpp>
#include <idiolect/hinted/text.hpp>
#include <idiolect/model/causal_lm.hpp>

namespace idiolect {

/// Runs texts over a model with a policy. One thread at a time; steps run on the executor.
template <causal_lm Model, class Policy, executor Executor = serial_executor>
class hinted_decoder {
  static_assert(model_traits<Model>::device_logits == detail::reads_device_logits<Policy>,
                "idiolect: a model with logits in device memory needs a policy that reads them "
                "there (cuda_hinted_policy), and any other model a policy on the host "
                "(hinted_policy)");

 public:
  /// `model` and `policy` must outlive the decoder.
  hinted_decoder(Model& model, const Policy& policy, decoder_options options = {},
                 Executor executor = {})
      : model_(model), policy_(policy), options_(std::move(options)), executor_(executor) {
    validate(options_);
    require(model_traits<Model>::max_chunk(model) >= 2, "model",
            "must take two tokens a call, one for each stream");
    // A token that ends texts and has no piece would be masked as padding, and no text would end.
    const auto columns = static_cast<index_t>(model.vocab_size());
    for (index_t t = policy.real_columns(columns); t < columns; ++t) {
      require(!model.is_end(static_cast<token_id>(t)), "tokenizer", [&] {
        return "has no piece for the model's end token " + std::to_string(t) +
               ": its vocab_size() must count special tokens";
      });
    }
  }

  /// The decoder keeps a pointer to the policy: a temporary would be gone.
  hinted_decoder(Model&, const Policy&&, decoder_options = {}, Executor = {}) = delete;

  hinted_decoder(const hinted_decoder&) = delete;
  hinted_decoder& operator=(const hinted_decoder&) = delete;

  /// Decodes what `next` gives, a std::optional<decode_job>, until it gives nothing and all texts
  /// have ended; `done(result)` gets each as it ends, and may make `next` give more.
  ///
  /// An exception from the model, the policy, `next` or `done` drops the texts in flight, with
  /// their streams, and reaches the caller; the decoder can be used again. After a fatal error of
  /// the model every further text ends with stop_reason::model_failed.
  template <class Next, class Done>
  void run(Next&& next, Done&& done) {
    const clean_end end{*this};
    limit_ = options_.parallel;
    beginnings_ = beginnings(options_.shared_beginning);
    bool exhausted = false;
    for (;;) {
      while (static_cast<index_t>(texts_.size()) < limit_) {
        std::optional<decode_job> job = take(next);
        exhausted = !job;
        if (!job) break;
        if (!admit(*job, done)) break;
      }
      if (texts_.empty()) {
        if (exhausted && waiting_.empty()) return;
        continue;
      }
      open_streams();
      forward_once();
      if (!texts_.empty()) advance();
      retire(done);
    }
  }

  /// One text. O(its tokens) forward calls.
  [[nodiscard]] decode_result decode(decode_job job) {
    std::optional<decode_job> one(std::move(job));
    decode_result result;
    run([&] { return std::exchange(one, std::nullopt); },
        [&](decode_result r) { result = std::move(r); });
    return result;
  }

  [[nodiscard]] const decoder_counts& counts() const { return counts_; }

 private:
  using text = detail::text_in_flight<Model, Policy>;
  using beginnings = detail::shared_beginnings<Model>;
  using logit = typename text::logit;
  /// What a policy needs for a step, where it does one step at a time.
  struct no_scratch {};
  template <class P>
  static auto scratch_of() {
    if constexpr (batch_policy<P, logit>) {
      return no_scratch{};
    } else {
      return typename P::scratch{};
    }
  }
  using scratch = decltype(scratch_of<Policy>());

  /// Leaves no text, job or stream behind, however `run` ends.
  struct clean_end {
    hinted_decoder& decoder;
    ~clean_end() { decoder.reset(); }
  };
  void reset() {
    for (auto& t : texts_) t->drop_quietly(model_);
    beginnings_.drop(model_);
    texts_.clear();
    waiting_.clear();
    streams_ = 0;
    first_ = 0;
  }

  template <class Next>
  std::optional<decode_job> take(Next& next) {
    if (waiting_.empty()) return next();
    std::optional<decode_job> job(std::move(waiting_.back()));
    waiting_.pop_back();
    return job;
  }

  // False: no stream is free, and the job waits.
  template <class Done>
  bool admit(decode_job& job, Done& done) {
    require(!job.student_prompt.empty() && (job.rollout || !job.teacher_prompt.empty()), "prompt",
            "is empty");
    const auto longest = static_cast<index_t>(
        job.rollout ? job.student_prompt.size()
                    : (std::max)(job.student_prompt.size(), job.teacher_prompt.size()));
    if (failed_ || longest > model_.context_size()) {
      done(text::unstarted(policy_, std::move(job),
                           failed_ ? stop_reason::model_failed : stop_reason::context_full));
      return true;
    }
    const index_t needed = text::streams(job);
    while (needed > free_streams() && needed <= free_streams() + beginnings_.streams() &&
           beginnings_.make_way(model_)) {
    }
    if (needed > free_streams()) {
      require<backend_error>(!texts_.empty(), "model", "has fewer streams than one text needs");
      waiting_.push_back(std::move(job));
      return false;
    }
    texts_.push_back(std::make_unique<text>(model_, policy_, std::move(job), free_place()));
    return true;
  }

  // Those that no text in flight has or is about to open. Others may hold streams of the model too.
  [[nodiscard]] index_t free_streams() const {
    index_t n = model_traits<Model>::free_streams(model_, streams_ + beginnings_.streams());
    for (const auto& t : texts_) n -= t->opened() ? 0 : text::streams(t->job());
    return n;
  }

  // Opens the streams of the texts that were admitted since the last call: what several prompts
  // begin with is in the model before that.
  void open_streams() {
    for (const auto& t : texts_) {
      if (t->opened()) continue;
      beginnings_.observe(0, t->job().student_prompt);
      if (!t->job().rollout) beginnings_.observe(1, t->job().teacher_prompt);
    }
    switch (beginnings_.forward(
        model_, free_streams(), [&] { return cancelled(); }, counts_)) {
      case forward_status::ok:
      case forward_status::no_room:  // then each prompt by itself
        break;
      case forward_status::aborted:
        end_all(stop_reason::cancelled);
        break;
      case forward_status::fatal:
        fail();
        break;
    }
    for (auto& t : texts_) {
      if (t->opened() || t->ended()) continue;
      counts_.shared_tokens += t->open(model_, beginnings_);
      streams_ += text::streams(t->job());
    }
  }

  // The smallest that no text in flight has.
  [[nodiscard]] index_t free_place() const {
    index_t place = 0;
    while (std::ranges::any_of(texts_, [&](const auto& t) { return t->place() == place; })) ++place;
    return place;
  }

  // One call for all streams that have tokens to take, within max_chunk tokens.
  void forward_once() {
    if (cancelled()) return end_all(stop_reason::cancelled);
    index_t budget = model_traits<Model>::max_chunk(model_);
    chunks_.clear();
    // Another one goes first each time, so that none is left out for long.
    const std::size_t n = texts_.size();
    for (std::size_t k = 0; k < n; ++k) {
      text& t = *texts_[(first_ + k) % n];
      t.check_context();
      if (!t.finished()) t.request(options_, budget, chunks_);
    }
    first_ = n > 0 ? (first_ + 1) % n : 0;
    if (chunks_.empty()) return;
    // Engines compute neighbours together.
    std::ranges::sort(chunks_, {}, &chunk::stream);
    const forward_status status = model_.forward(chunks_);
    ++counts_.calls;
    switch (status) {
      case forward_status::ok:
        for (auto& t : texts_) t->forwarded(counts_);
        return;
      case forward_status::no_room:
        return make_room();
      case forward_status::aborted:
        return end_all(stop_reason::cancelled);
      case forward_status::fatal:
        return fail();
    }
  }

  // The cache is full: the youngest text gives its place up and starts again later, with the same
  // draws. For a text alone, what was kept for prompts to come makes room; then it has filled the
  // context.
  void make_room() {
    for (auto& t : texts_) t->not_forwarded();
    if (texts_.size() == 1) {
      if (!beginnings_.give_up(model_)) texts_.front()->end_without_room();
      return;
    }
    // Not one that the caller has ended: that would be forgotten.
    auto youngest = texts_.end() - 1;
    while (youngest != texts_.begin() && (*youngest)->stopped()) --youngest;
    if ((*youngest)->stopped()) return (*youngest)->abandon(stop_reason::stopped);
    streams_ -= (*youngest)->drop(model_);
    waiting_.push_back((*youngest)->job());
    texts_.erase(youngest);
    limit_ = static_cast<index_t>(texts_.size());
    finished_since_ = 0;
  }

  void advance() {
    for (auto& t : texts_) t->collect(model_);
    step();
    if (options_.on_token) {
      for (auto& t : texts_) {
        if (t->tell_token() && !options_.on_token(t->written())) t->stop();
      }
    }
    for (auto& t : texts_) streams_ -= t->release(model_);
  }

  void step() {
    if constexpr (batch_policy<Policy, logit>) {
      requests_.clear();
      for (auto& t : texts_) t->ask(policy_, requests_);
      answers_.assign(requests_.size(), {});
      if (!requests_.empty()) {
        policy_.answer(std::span<const hinted_request<logit>>(requests_),
                       std::span<hinted_answer>(answers_));
      }
      std::span<const hinted_answer> answers(answers_);
      for (auto& t : texts_) {
        t->take(model_, policy_, answers.first(t->asked()));
        answers = answers.subspan(t->asked());
      }
    } else {
      executor_.bulk(static_cast<index_t>(texts_.size()), [&](index_t k) {
        auto memory = borrow();
        texts_[static_cast<std::size_t>(k)]->advance(model_, policy_, *memory);
        give_back(std::move(memory));
      });
    }
  }

  // As many scratches as steps run at once.
  std::unique_ptr<scratch> borrow() {
    const std::scoped_lock lock(scratch_mutex_);
    if (scratches_.empty()) return std::make_unique<scratch>();
    auto memory = std::move(scratches_.back());
    scratches_.pop_back();
    return memory;
  }
  void give_back(std::unique_ptr<scratch> memory) {
    const std::scoped_lock lock(scratch_mutex_);
    scratches_.push_back(std::move(memory));
  }

  template <class Done>
  void retire(Done& done) {
    for (std::size_t k = 0; k < texts_.size();) {
      if (!texts_[k]->finished()) {
        ++k;
        continue;
      }
      streams_ -= texts_[k]->drop(model_);
      decode_result result = texts_[k]->result();
      counts_.emitted_tokens += static_cast<index_t>(result.text.tokens.size());
      texts_.erase(texts_.begin() + static_cast<std::ptrdiff_t>(k));
      // After an eviction more texts are tried again when a whole batch has gone through.
      if (limit_ < options_.parallel && ++finished_since_ >= limit_) {
        ++limit_;
        finished_since_ = 0;
      }
      done(std::move(result));
    }
  }

  [[nodiscard]] bool cancelled() const { return options_.cancelled && options_.cancelled(); }
  void fail() {
    failed_ = true;
    end_all(stop_reason::model_failed);
  }
  void end_all(stop_reason reason) {
    for (auto& t : texts_) t->abandon(reason);
  }

  Model& model_;
  const Policy& policy_;
  decoder_options options_;
  Executor executor_;
  std::vector<std::unique_ptr<text>> texts_;  // in order of admission
  std::vector<chunk> chunks_;
  std::vector<decode_job> waiting_;  // for a stream, or to start again
  beginnings beginnings_{0};
  std::size_t first_ = 0;  // the text that asks first in the next call
  index_t streams_ = 0;
  index_t limit_ = options_.parallel;  // texts in flight, fewer where the cache was full
  index_t finished_since_ = 0;
  bool failed_ = false;                          // the model is of no use any more
  std::vector<hinted_request<logit>> requests_;  // of all texts, for a policy that answers them
  std::vector<hinted_answer> answers_;           // at once
  std::vector<std::unique_ptr<scratch>> scratches_;
  std::mutex scratch_mutex_;
  decoder_counts counts_;
};

}  // namespace idiolect
