// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The decoder beside plain_decoder.hpp, token for token: for all options, however many texts are in
// flight, however the model cuts its calls short, and whoever runs the steps.

#include <algorithm>
#include <cmath>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <idiolect/backend/cpu/cpu.hpp>
#include <idiolect/backend/reference/reference.hpp>
#include <idiolect/core/executor.hpp>
#include <idiolect/hinted/decoder.hpp>
#include <idiolect/hinted/lambda.hpp>
#include <idiolect/hinted/policy.hpp>

#include "hash_lm.hpp"
#include "plain_decoder.hpp"
#include "settings.hpp"
#include "support/catch.hpp"
#include "support/rows.hpp"

namespace idiolect::test {
namespace {

/// Decodes all jobs of a setting.
template <class Backend = reference<>, class Executor = serial_executor>
outcome decode(const setting& s, decoder_options options, Executor executor = {},
               Backend backend = {}) {
  hash_lm model(s.model);
  const scrap_tokenizer pieces(s.model.vocab, s.tokenizer_seed);
  const hinted_policy policy(backend, pieces, s.schedule, s.options);
  return decode_with(model, policy, s, std::move(options), executor);
}

constexpr index_t settings = 50;
constexpr index_t jobs_each = 20;

}  // namespace

TEST_CASE("two thousand random problems are decoded as the plain decoder does") {
  index_t problems = 0;
  index_t near_ties = 0;
  index_t tokens = 0;
  std::map<stop_reason, index_t> stops;
  for (std::uint64_t seed = 0; seed < 2 * settings; ++seed) {
    const setting s = random_setting(seed, seed % 5 == 0 ? 70 : jobs_each / 2);
    const auto plain = decode_plainly(s);
    for (const index_t parallel : {1, 7, 64}) {
      const auto found = decode(s, {.parallel = parallel});
      REQUIRE(found.results.size() == s.jobs.size());
      for (const auto& [record, expected] : plain) {
        const decode_result& result = found.results.at(record);
        const std::string wrong = difference(result, expected, 1e-9);
        INFO("setting " << seed << ", record " << record << ", " << parallel << " in flight");
        if (!wrong.empty() && expected.near_tie) {
          ++near_ties;
        } else if (!wrong.empty()) {
          FAIL_CHECK("differs in " << wrong);
        }
        if (parallel > 1) continue;
        ++problems;
        ++stops[result.text.stop];
        tokens += static_cast<index_t>(result.text.ids.size());
      }
    }
  }
  CHECK(problems == 2200);
  CHECK(near_ties <= 3 * 2);
  CHECK(tokens > 16'000);
  for (const auto reason :
       {stop_reason::end_of_sequence, stop_reason::max_tokens, stop_reason::repetition,
        stop_reason::context_full, stop_reason::non_finite, stop_reason::no_support,
        stop_reason::marker_missing}) {
    INFO(name(reason));
    CHECK(stops[reason] >= 5);
  }
}

TEST_CASE("the CPU backend decodes the same problems") {
  // Its statistics are single precision: a schedule near its threshold may go the other way.
  index_t different = 0;
  for (std::uint64_t seed = 0; seed < settings; ++seed) {
    const setting s = random_setting(seed, jobs_each);
    const auto found = decode(s, {.parallel = 64}, serial_executor{}, cpu{});
    for (const auto& [record, expected] : decode_plainly(s, 1e-4)) {
      const std::string wrong = difference(found.results.at(record), expected, 1e-5);
      if (wrong.empty()) continue;
      INFO("setting " << seed << ", record " << record << " differs in " << wrong);
      CHECK(expected.near_tie);
      ++different;
    }
  }
  CHECK(different <= 10);
}

TEST_CASE("a text does not depend on what else is in flight or how the model is called") {
  index_t evicted = 0;
  for (std::uint64_t seed = 0; seed < settings; ++seed) {
    setting s = random_setting(seed, jobs_each);
    INFO("setting " << seed);
    const auto expected = decode(s, {.parallel = 7});
    CHECK(difference(decode(s, {.parallel = 1}), expected) == "");
    CHECK(difference(decode(s, {.parallel = 64}), expected) == "");
    CHECK(difference(decode(s, {.parallel = 64}, thread_executor(3)), expected) == "");
    for (const index_t lag : {1, 4, 32}) {
      INFO("lag " << lag);
      CHECK(difference(decode(s, {.parallel = 7, .defer_student = true, .max_lag = lag}),
                       expected) == "");
    }
    for (const index_t most : {2, 3, 5}) {
      s.model.chunk = most;
      INFO("chunk " << most);
      CHECK(difference(decode(s, {.parallel = 7}), expected) == "");
      CHECK(difference(decode(s, {.parallel = 3, .defer_student = true, .max_lag = 6}), expected) ==
            "");
    }
    s.model.chunk = 11;
    for (const index_t most : {2, 3, 5}) {
      s.model.streams = most;
      INFO("streams " << most);
      const auto found = decode(s, {.parallel = 64, .defer_student = most == 3});
      CHECK(difference(found, expected) == "");
      CHECK(found.most_streams <= most);
    }
    // A cache that holds any text alone, but few of them at once.
    s.model.streams = 7;
    s.model.chunk = 4096;
    s.model.cache = 2 * s.model.context;
    for (const bool deferred : {false, true}) {
      const auto found = decode(s, {.parallel = 64, .defer_student = deferred});
      CHECK(difference(found, expected) == "");
      evicted += found.evictions;
    }
  }
  CHECK(evicted > 100);
}

TEST_CASE("a cache too small for one text ends it and no other") {
  for (std::uint64_t seed = 0; seed < settings; ++seed) {
    setting s = random_setting(seed, jobs_each);
    const auto whole = decode(s, {.parallel = 1});
    s.model.cache = s.model.context;
    for (const bool deferred : {false, true}) {
      const auto found = decode(s, {.parallel = 4, .defer_student = deferred});
      INFO("setting " << seed << ", deferred " << deferred);
      REQUIRE(found.results.size() == s.jobs.size());
      for (const auto& [record, result] : found.results) {
        const auto& expected = whole.results.at(record).text;
        if (result.text.stop != stop_reason::context_full) {
          CHECK(result.text.ids == expected.ids);
        } else {  // a beginning of it
          CHECK(result.text.ids.size() <= expected.ids.size());
          CHECK(std::equal(result.text.ids.begin(), result.text.ids.end(), expected.ids.begin()));
        }
      }
    }
  }
}

TEST_CASE("late scores are those of the eager order up to the model's rounding") {
  double worst = 0;
  index_t compared = 0;
  index_t different = 0;
  for (std::uint64_t seed = 0; seed < settings; ++seed) {
    setting s = random_setting(seed, jobs_each);
    s.schedule = piecewise_lambda{0.6, 0.9};
    s.model.rounding = 1e-7;
    const auto eager = decode(s, {.parallel = 7});
    const auto late = decode(s, {.parallel = 7, .defer_student = true, .max_lag = 8});
    for (const auto& [record, a] : eager.results) {
      const auto& b = late.results.at(record);
      if (a.text.ids != b.text.ids) {  // the rounding may decide a token
        ++different;
        continue;
      }
      for (std::size_t k = 0; k < a.text.tokens.size(); ++k) {
        const auto& x = a.text.tokens[k].student;
        const auto& y = b.text.tokens[k].student;
        CHECK(x.status == y.status);
        if (x.status != token_status::scored || std::isinf(x.phi)) continue;
        worst = std::max(worst, std::abs(x.phi - y.phi));
        ++compared;
      }
    }
    CHECK(late.counts.calls <= eager.counts.calls + 4 * jobs_each);
  }
  CHECK(different <= 2);
  CHECK(compared > 5'000);
  CHECK(worst > 0);  // it was there
  CHECK(worst < 1e-5);
}

TEST_CASE("the model works once for each token and stream") {
  for (const index_t length : {50, 100, 200}) {
    setting s = random_setting(3, 6);
    s.model.hostile = false;
    s.model.context = 1000;
    s.options = {};
    s.model.ends.clear();
    s.options.max_tokens = length;
    s.options.repetition.times = 0;
    s.schedule = linear_lambda{};
    for (decode_job& job : s.jobs) {
      job.rollout = false;
      job.student_prompt.assign(5, 1);
      job.teacher_prompt.assign(9, 2);
      job.analysis_marker.clear();
    }
    const auto found = decode(s, {.parallel = 3});
    CHECK(found.counts.emitted_tokens == 6 * length);
    CHECK(found.counts.student_tokens == 6 * (5 + length - 1));
    CHECK(found.counts.teacher_tokens == 6 * (9 + length - 1));
    CHECK(found.counts.calls == 2 * length);  // one call a token of three texts
    const auto alone = decode(s, {.parallel = 1});
    CHECK(alone.counts.calls == alone.counts.emitted_tokens);
    // Where the teacher always leads the student is asked once in a while, and for all its tokens.
    s.schedule = constant_lambda{0};
    const auto late = decode(s, {.parallel = 3, .defer_student = true, .max_lag = 10});
    CHECK(late.counts.student_tokens == 6 * (5 + length - 1));
    CHECK(late.counts.calls <= 2 * length + 2);
  }
}

TEST_CASE("the teacher's stream is freed once the student goes on alone") {
  setting s = random_setting(5, 1);
  s.model.hostile = false;
  s.model.context = 500;
  s.options = {};
  s.model.ends.clear();
  s.options.max_tokens = 100;
  s.options.repetition.times = 0;
  s.options.delimiter = "#";
  s.jobs[0].rollout = false;
  s.jobs[0].analysis_marker.clear();
  const auto found = decode(s, {});
  const auto& tokens = found.results.begin()->second.text.tokens;
  const auto alone = std::ranges::count_if(
      tokens, [](const hinted_token& t) { return std::isnan(t.teacher_log_prob); });
  CHECK(alone > 50);
  const auto led = static_cast<index_t>(tokens.size()) - alone;
  CHECK(found.counts.teacher_tokens ==
        static_cast<index_t>(s.jobs[0].teacher_prompt.size()) + led - 1);
  for (std::size_t k = static_cast<std::size_t>(led); k < tokens.size(); ++k) {
    CHECK(tokens[k].lambda == 1);
  }
}

TEST_CASE("trouble in the model ends the texts in flight") {
  for (const auto trouble : {forward_status::aborted, forward_status::fatal}) {
    for (const bool deferred : {false, true}) {
      for (const index_t at : {0, 1, 7, 20}) {
        setting s = random_setting(12, 15);
        const auto whole = decode(s, {.parallel = 5});
        s.model.trouble = trouble;
        s.model.trouble_at = at;
        const auto found = decode(s, {.parallel = 5, .defer_student = deferred});
        REQUIRE(found.results.size() == s.jobs.size());
        const auto reason =
            trouble == forward_status::fatal ? stop_reason::model_failed : stop_reason::cancelled;
        index_t ended = 0;
        for (const auto& [record, result] : found.results) {
          const auto& expected = whole.results.at(record).text;
          REQUIRE(result.text.ids.size() <= expected.ids.size());
          CHECK(std::equal(result.text.ids.begin(), result.text.ids.end(), expected.ids.begin()));
          if (result.text.stop == reason)
            ++ended;
          else
            CHECK(result.text.ids == expected.ids);
        }
        CHECK(ended >= 1);
        // Cancelling one call is not the end of the model; a fatal error is.
        if (trouble == forward_status::aborted) CHECK(ended <= 5);
      }
    }
  }
}

TEST_CASE("a cancelled run hands every text back as far as it came") {
  for (const index_t calls : {0, 1, 10}) {
    const setting s = random_setting(31, 12);
    const auto whole = decode(s, {.parallel = 4});
    index_t left = calls;
    const auto found = decode(s, {.parallel = 4, .cancelled = [&] { return left-- <= 0; }});
    CHECK(found.counts.calls == calls);
    REQUIRE(found.results.size() == s.jobs.size());
    for (const auto& [record, result] : found.results) {
      const auto& expected = whole.results.at(record).text;
      REQUIRE(result.text.ids.size() <= expected.ids.size());
      CHECK(std::equal(result.text.ids.begin(), result.text.ids.end(), expected.ids.begin()));
      CHECK((result.text.stop == stop_reason::cancelled || result.text.stop == expected.stop));
    }
  }
}

TEST_CASE("a decoder can be used again and fed while it runs") {
  const setting s = random_setting(8, 10);
  const auto expected = decode(s, {.parallel = 3});
  hash_lm model(s.model);
  const scrap_tokenizer pieces(s.model.vocab, s.tokenizer_seed);
  const hinted_policy policy(reference{}, pieces, s.schedule, s.options);
  hinted_decoder decoder(model, policy, {.parallel = 3});
  for (const decode_job& job : s.jobs) {
    CHECK(decoder.decode(job).text.ids == expected.results.at(job.record).text.ids);
  }
  // Each result brings the next job: the input is empty in between.
  std::size_t next = 0;
  std::optional<decode_job> ready = s.jobs[next++];
  std::size_t done = 0;
  decoder.run([&] { return std::exchange(ready, std::nullopt); },
              [&](const decode_result& r) {
                CHECK(r.text.ids == expected.results.at(r.job.record).text.ids);
                ++done;
                if (next < s.jobs.size()) ready = s.jobs[next++];
              });
  CHECK(done == s.jobs.size());
}

TEST_CASE("an exception on the way leaves no stream open") {
  const setting s = random_setting(8, 10);
  hash_lm model(s.model);
  const scrap_tokenizer pieces(s.model.vocab, s.tokenizer_seed);
  const hinted_policy policy(reference{}, pieces, s.schedule, s.options);
  {
    hinted_decoder decoder(model, policy, {.parallel = 5});
    std::size_t next = 0;
    CHECK_THROWS_AS(
        decoder.run(
            [&] { return next < s.jobs.size() ? std::optional(s.jobs[next++]) : std::nullopt; },
            [&](const decode_result&) { throw std::runtime_error("the disk is full"); }),
        std::runtime_error);
  }
  CHECK(model.open_streams() == 0);
}

namespace {

/// A hash_lm with trouble of other kinds.
struct faulty_lm : hash_lm {
  using hash_lm::hash_lm;
  index_t opens_left = 1 << 20;
  index_t rows_missing = 0;  // of every stream's logits

  stream_id open() {
    require<backend_error>(opens_left-- > 0, "open", "no room");
    return hash_lm::open();
  }
  [[nodiscard]] matrix_view<const float> logits(stream_id s) const {
    const auto rows = hash_lm::logits(s);
    return rows.block(0, std::max<index_t>(0, rows.rows() - rows_missing));
  }
};

}  // namespace

TEST_CASE("a stream that cannot be opened leaves no other one open") {
  const setting s = random_setting(8, 10);
  const scrap_tokenizer pieces(s.model.vocab, s.tokenizer_seed);
  const hinted_policy policy(reference{}, pieces, s.schedule, s.options);
  auto job = s.jobs[0];
  job.rollout = false;
  for (const index_t opens : {0, 1, 2, 3, 4}) {
    INFO(opens << " streams can be opened");
    faulty_lm model(s.model);
    model.opens_left = opens;
    index_t left = 5;
    index_t done = 0;
    {
      hinted_decoder decoder(model, policy, {.parallel = 5});
      CHECK_THROWS_AS(decoder.run([&] { return left-- > 0 ? std::optional(job) : std::nullopt; },
                                  [&](const decode_result&) { ++done; }),
                      backend_error);
      CHECK(model.open_streams() == 0);
      CHECK(done == 0);
      // The decoder can be used again once there is room; what was under way is gone.
      model.opens_left = 1 << 20;
      left = 2;
      decoder.run([&] { return left-- > 0 ? std::optional(job) : std::nullopt; },
                  [&](const decode_result&) { ++done; });
      CHECK(done == 2);
    }
    CHECK(model.open_streams() == 0);
  }
}

TEST_CASE("a model that gives other rows than were asked for is found out") {
  setting s = random_setting(8, 1);
  s.model.hostile = false;
  s.options.max_tokens = 40;
  s.options.end_tokens.clear();
  s.model.ends.clear();
  s.schedule = constant_lambda{0};
  s.jobs[0].rollout = false;
  s.jobs[0].analysis_marker.clear();
  const scrap_tokenizer pieces(s.model.vocab, s.tokenizer_seed);
  const hinted_policy policy(reference{}, pieces, s.schedule, s.options);
  for (const bool deferred : {false, true}) {
    faulty_lm model(s.model);
    model.rows_missing = 1;
    hinted_decoder decoder(model, policy, {.defer_student = deferred, .max_lag = 4});
    CHECK_THROWS_AS(decoder.decode(s.jobs[0]), backend_error);
  }
}

TEST_CASE("what a decoder cannot do is named") {
  setting s = random_setting(8, 1);
  const scrap_tokenizer pieces(s.model.vocab, s.tokenizer_seed);
  const hinted_policy policy(reference{}, pieces, s.schedule, s.options);
  const auto argument = [&](hash_lm_options m, decoder_options o, const decode_job& job) {
    hash_lm model(m);
    try {
      hinted_decoder decoder(model, policy, std::move(o));
      (void)decoder.decode(job);
    } catch (const error& e) {
      return e.argument();
    }
    return std::string("nothing");
  };
  auto job = s.jobs[0];
  job.rollout = false;
  auto one_token = s.model;
  one_token.chunk = 1;
  auto one_stream = s.model;
  one_stream.streams = 1;
  auto empty = job;
  empty.student_prompt.clear();
  auto no_hint = job;
  no_hint.teacher_prompt.clear();
  CHECK(argument(s.model, {}, job) == "nothing");
  CHECK(argument(s.model, {.parallel = 0}, job) == "decoder_options::parallel");
  CHECK(argument(s.model, {.max_lag = 0}, job) == "decoder_options::max_lag");
  CHECK(argument(one_token, {}, job) == "model");
  CHECK(argument(one_stream, {}, job) == "model");
  CHECK(argument(s.model, {}, empty) == "prompt");
  CHECK(argument(s.model, {}, no_hint) == "prompt");
  no_hint.rollout = true;
  CHECK(argument(one_stream, {}, no_hint) == "nothing");
}

}  // namespace idiolect::test
