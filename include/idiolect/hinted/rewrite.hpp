// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A data set in the model's own words. For each record
//
//   1. the student answers alone, up to `rollouts` times: an accepted answer is kept as it is
//   2. else the answer is decoded with the hint, up to `tries` times
//   3. the verifier decides; what it never accepts is rejected
//
// Many records are under way at once and come out in the order they came in. What is drawn for a
// try depends on (seed, record, try) alone: with a batch_invariant model no result depends on how
// many records are in flight, nor on where a run was interrupted. Source: arXiv 2602.12222.

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <future>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <idiolect/cll/score.hpp>
#include <idiolect/cll/sequence.hpp>
#include <idiolect/core/error.hpp>
#include <idiolect/core/executor.hpp>
#include <idiolect/hinted/decoder.hpp>
#include <idiolect/hinted/prompts.hpp>
#include <idiolect/hinted/verifier.hpp>
#include <idiolect/model/causal_lm.hpp>

namespace idiolect {

/// How a record's text was made.
enum class provenance : std::uint8_t {
  rollout,  ///< by the student alone, and accepted
  hinted,   ///< with the hint, and accepted
  rejected  ///< no try was accepted; the text is that of the last
};

[[nodiscard]] constexpr std::string_view name(provenance p) {
  switch (p) {
    case provenance::rollout:
      return "rollout";
    case provenance::hinted:
      return "hinted";
    case provenance::rejected:
      return "rejected";
  }
  return "unknown";
}

/// What a rewrite has done so far. CLL sums are token-weighted.
struct rewrite_report {
  index_t records = 0;  ///< handed to the sink
  index_t rollout = 0;  ///< of them, by provenance
  index_t hinted = 0;
  index_t rejected = 0;
  index_t rollout_tries = 0;  ///< made for them
  index_t hinted_tries = 0;
  sequence_score cll;            ///< of the accepted texts, all their tokens as one sequence
  sequence_score reference_cll;  ///< of all references that were scored
  decoder_counts work;           ///< of the decoder; complete once the rewrite has returned
  /// `none` if the source was used up; else why not: cancelled, or model_failed.
  stop_reason stop = stop_reason::none;

  [[nodiscard]] index_t accepted() const { return rollout + hinted; }
  /// Share of the records that were accepted, in [0, 1].
  [[nodiscard]] double yield() const {
    return records > 0 ? static_cast<double>(accepted()) / static_cast<double>(records) : 0;
  }
};

/// Options of a rewrite. The schedule, samplers' defaults, delimiter and seed are the policy's.
struct rewrite_options {
  index_t rollouts = 1;                  ///< tries of the student alone, first
  index_t tries = 3;                     ///< with the hint, then
  sampler_options rollout_sampler = {};  ///< the default samples from the model itself
  /// Also verify texts that `max_tokens` cut off. A text that neither the model nor a stop string
  /// ended is no answer.
  bool accept_cut = false;
  /// Texts that are verified beside the decoding, at most, each on a thread of its own: for a
  /// verifier that takes as long as a call of the model, such as a program. It must then be
  /// callable from several threads. 0: the thread of the caller verifies, and the model waits. What
  /// comes out is the same.
  index_t verified_at_once = 0;
  /// Number of the source's first record: a run that goes on where another stopped says how far
  /// that came, and makes the same draws.
  std::uint64_t first_record = 0;
  /// Records between the oldest one not yet finished and the next one taken, at most; they wait in
  /// memory for their turn. 0: four times the texts in flight.
  index_t window = 0;
  decoder_options decoder = {};  ///< `cancelled` ends the rewrite between two forward calls
  /// Scores a reference after the student's prompt, e.g. a reference_scorer. Empty: not scored.
  std::function<std::vector<token_score>(std::span<const token_id> prompt,
                                         std::span<const token_id> reference)>
      reference_score = {};
  /// Called after each try.
  std::function<void(const rewrite_report&)> progress = {};
};

/// A record on its way out.
template <class Record>
struct rewritten {
  Record record;
  std::uint64_t number = 0;  ///< first_record + its place in the source
  provenance how = provenance::rejected;
  stop_reason stop = stop_reason::none;   ///< of the text
  std::string text = {};                  ///< bytes, without the end token, with a stop string
  std::vector<hinted_token> tokens = {};  ///< the end token included: lambda, scores, leader
  rewrite_prompt prompt = {};
  std::vector<token_id> analysis = {};  ///< what the teacher wrote first
  index_t rollouts = 0;                 ///< tries made
  index_t tries = 0;
  sequence_score cll = {};  ///< of `tokens`, under the student
  std::optional<sequence_score> reference_cll = {};

  [[nodiscard]] bool accepted() const { return how != provenance::rejected; }
};

/// The key of a try's random numbers: record below 2^48, try below 2^15.
[[nodiscard]] constexpr std::uint64_t try_key(std::uint64_t record, bool rollout, index_t number) {
  return (rollout ? std::uint64_t{1} << 63 : 0) | static_cast<std::uint64_t>(number) << 48 | record;
}

namespace detail {

/// The records under way, oldest first, and whose turn it is.
template <class Record, class Prompter, class Verifier, class Source, class Sink>
class rewriting {
 public:
  rewriting(const rewrite_options& options, index_t window, const Prompter& prompts,
            const Verifier& verify, Source& source, Sink& sink)
      : options_(options),
        window_(window),
        prompts_(prompts),
        verify_(verify),
        source_(source),
        sink_(sink),
        next_number_(options.first_record) {}

  /// The next text to decode.
  std::optional<decode_job> next() {
    for (;;) {
      if (report_.stop != stop_reason::none) return std::nullopt;
      settle(false);
      if (auto j = due_now()) {
        ++in_flight_;
        return j;
      }
      if (in_flight_ > 0 || verdicts_.empty()) return std::nullopt;
      settle(true);  // nothing else is left to do
    }
  }

  void done(decode_result result) {
    --in_flight_;
    const stop_reason stop = result.text.stop;
    if (stop == stop_reason::cancelled || stop == stop_reason::model_failed) {
      report_.stop = stop;
      return;
    }
    const bool ended = stop == stop_reason::end_of_sequence || stop == stop_reason::stop_string ||
                       (options_.accept_cut && stop == stop_reason::max_tokens);
    if (!ended) return tried(std::move(result), false);
    const Record& record = at(result.job.record & number_mask).out.record;
    if (options_.verified_at_once == 0) {
      const bool accepted = static_cast<bool>(verify_(record, result.text.bytes));
      return tried(std::move(result), accepted);
    }
    while (static_cast<index_t>(verdicts_.size()) >= options_.verified_at_once) settle(true);
    verdict& v =
        verdicts_.emplace_back(std::move(result));  // stays where it is until it is settled
    const auto judge = [this, &record, &v] {
      return static_cast<bool>(verify_(record, v.result.text.bytes));
    };
    try {
      v.accepted = std::async(std::launch::async, judge);
    } catch (const std::system_error&) {  // no thread to be had: the model waits
      v.accepted = std::async(std::launch::deferred, judge);
      v.accepted.wait();
    }
  }

  [[nodiscard]] rewrite_report& report() { return report_; }

 private:
  static constexpr std::uint64_t number_mask = (std::uint64_t{1} << 48) - 1;

  struct under_way {
    rewritten<Record> out;
    index_t rollouts_left;
    index_t tries_left;
    bool finished = false;
  };

  /// A text that is being verified.
  struct verdict {
    explicit verdict(decode_result r) : result(std::move(r)) {}
    decode_result result;
    std::future<bool> accepted;  // last: its destructor waits for who reads the text
  };

  under_way& at(std::uint64_t number) {
    return records_[static_cast<std::size_t>(number - records_.front().out.number)];
  }

  // Takes the verdicts that are there, in the order of their texts; waits for the first if asked.
  void settle(bool wait) {
    while (!verdicts_.empty()) {
      verdict& first = verdicts_.front();
      if (!wait && first.accepted.wait_for(std::chrono::seconds(0)) != std::future_status::ready) {
        return;
      }
      wait = false;
      const bool accepted = first.accepted.get();
      decode_result result = std::move(first.result);
      verdicts_.pop_front();
      tried(std::move(result), accepted);
    }
  }

  // A job that need not wait for a verdict.
  std::optional<decode_job> due_now() {
    if (!again_.empty()) {
      const std::uint64_t number = again_.front();
      again_.pop_front();
      return job(at(number));
    }
    while (!used_up_ && static_cast<index_t>(records_.size()) < window_) {
      std::optional<Record> record = source_();
      used_up_ = !record;
      if (used_up_) break;
      take(std::move(*record));
      if (auto j = job(records_.back())) return j;
      finish(records_.back());  // no try is due to it at all
    }
    return std::nullopt;
  }

  // A try has been decoded and judged.
  void tried(decode_result result, bool accepted) {
    under_way& r = at(result.job.record & number_mask);
    const bool rollout = result.job.rollout;
    ++(rollout ? r.out.rollouts : r.out.tries);
    --(rollout ? r.rollouts_left : r.tries_left);
    if (!accepted && hopeless(result)) (rollout ? r.rollouts_left : r.tries_left) = 0;
    if (!accepted && due(r)) {
      again_.push_back(r.out.number);
      return progress();
    }
    r.out.how = !accepted ? provenance::rejected
                : rollout ? provenance::rollout
                          : provenance::hinted;
    r.out.stop = result.text.stop;
    r.out.text = std::move(result.text.bytes);
    r.out.tokens = std::move(result.text.tokens);
    r.out.analysis = std::move(result.analysis);
    for (const hinted_token& t : r.out.tokens) r.out.cll.add(t.student);
    finish(r);
    progress();
  }

  void take(Record record) {
    require(next_number_ <= number_mask, "source", "has more than 2^48 records");
    under_way r{.out = {.record = std::move(record), .number = next_number_++},
                .rollouts_left = options_.rollouts,
                .tries_left = options_.tries};
    r.out.prompt = prompts_(std::as_const(r.out.record));
    const bool startable = !r.out.prompt.student.empty();
    if (!startable) {  // this record's affair, and no other's
      r.rollouts_left = r.tries_left = 0;
      r.out.stop = stop_reason::no_prompt;
    }
    if (r.out.prompt.teacher.empty()) r.tries_left = 0;
    if (startable && options_.reference_score && !r.out.prompt.reference.empty()) {
      const auto scores =
          options_.reference_score(r.out.prompt.before_reference(), r.out.prompt.reference);
      if (!scores.empty()) r.out.reference_cll = score_sequence(scores);
    }
    records_.push_back(std::move(r));
  }

  [[nodiscard]] static bool due(const under_way& r) {
    return r.rollouts_left > 0 || r.tries_left > 0;
  }
  // Another try would end the same way: nothing was drawn before it ended.
  static bool hopeless(const decode_result& r) {
    return r.text.tokens.empty() &&
           (r.text.stop == stop_reason::context_full || r.text.stop == stop_reason::marker_missing);
  }

  [[nodiscard]] std::optional<decode_job> job(const under_way& r) const {
    if (!due(r)) return std::nullopt;
    decode_job j;
    j.rollout = r.rollouts_left > 0;
    j.record = try_key(r.out.number, j.rollout, j.rollout ? r.out.rollouts : r.out.tries);
    j.student_prompt = r.out.prompt.student;
    if (j.rollout) {
      j.rollout_sampler = options_.rollout_sampler;
    } else {
      j.teacher_prompt = r.out.prompt.teacher;
      j.analysis_marker = r.out.prompt.analysis_marker;
      j.analysis_budget = r.out.prompt.analysis_budget;
    }
    return j;
  }

  // Hands over what is finished and has nothing unfinished before it.
  void finish(under_way& r) {
    r.finished = true;
    while (!records_.empty() && records_.front().finished) {
      rewritten<Record> out = std::move(records_.front().out);
      records_.pop_front();
      ++report_.records;
      ++(out.how == provenance::rollout  ? report_.rollout
         : out.how == provenance::hinted ? report_.hinted
                                         : report_.rejected);
      report_.rollout_tries += out.rollouts;
      report_.hinted_tries += out.tries;
      if (out.accepted()) report_.cll.merge(out.cll);
      if (out.reference_cll) report_.reference_cll.merge(*out.reference_cll);
      sink_(std::move(out));
    }
  }

  void progress() {
    if (options_.progress) options_.progress(report_);
  }

  const rewrite_options& options_;
  index_t window_;
  const Prompter& prompts_;
  const Verifier& verify_;
  Source& source_;
  Sink& sink_;
  std::uint64_t next_number_;
  std::deque<under_way> records_;
  std::deque<std::uint64_t> again_;  // records whose last try was not accepted
  bool used_up_ = false;
  index_t in_flight_ = 0;  // jobs that the decoder has
  rewrite_report report_;
  std::deque<verdict> verdicts_;  // last: it is gone before what its threads look at
};

}  // namespace detail

/// Rewrites what `source`, a callable () -> std::optional<Record>, gives, until it gives nothing.
/// `sink` takes a rewritten<Record>&& for each record, in the order of the source, as soon as it
/// and all before it are finished. Memory is that of the window. An exception from a callable ends
/// the rewrite and reaches the caller. A record whose prompt is empty is rejected without a try:
/// nothing could come after it (stop_reason::no_prompt).
///
/// When cancelled, or when the model fails for good, the records that are finished but wait for an
/// earlier one are not handed over: the sink has seen the first `report.records` of the source.
template <causal_lm Model, class Policy, class Source, class Prompter, class Verifier, class Sink,
          executor Executor = serial_executor>
rewrite_report rewrite(Model& model, const Policy& policy, Source&& source, const Prompter& prompts,
                       const Verifier& verify, Sink&& sink, const rewrite_options& options = {},
                       Executor executor = {}) {
  using record = typename std::invoke_result_t<Source&>::value_type;
  static_assert(prompter<Prompter, record>, "idiolect: prompts(record) must be a rewrite_prompt");
  static_assert(verifier<Verifier, record>, "idiolect: verify(record, text) must be a bool");
  const auto countable = [](index_t n) { return n >= 0 && n < index_t{1} << 15; };
  require(countable(options.rollouts), "rewrite_options::rollouts", "must be in [0, 2^15)");
  require(countable(options.tries), "rewrite_options::tries", "must be in [0, 2^15)");
  require(options.verified_at_once >= 0, "rewrite_options::verified_at_once", "must be >= 0");
  require(options.window >= 0, "rewrite_options::window", "must be >= 0");
  validate(options.rollout_sampler);
  validate(options.decoder);

  const index_t window = options.window > 0 ? options.window : 4 * options.decoder.parallel;
  detail::rewriting<record, Prompter, Verifier, std::remove_reference_t<Source>,
                    std::remove_reference_t<Sink>>
      state(options, window, prompts, verify, source, sink);
  hinted_decoder decoder(model, policy, options.decoder, std::move(executor));
  decoder.run([&] { return state.next(); }, [&](decode_result r) { state.done(std::move(r)); });
  state.report().work = decoder.counts();
  return std::move(state.report());
}

}  // namespace idiolect
