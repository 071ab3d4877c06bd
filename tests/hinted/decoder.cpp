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
#include "support/catch.hpp"
#include "support/rows.hpp"

namespace idiolect::test {
namespace {

/// Options drawn at random, and jobs for them.
struct setting {
  hash_lm_options model;
  hinted_options options;
  any_lambda schedule;
  std::uint64_t tokenizer_seed = 0;
  std::vector<decode_job> jobs;
};

template <class T>
T one_of(random_source& random, std::initializer_list<T> choices) {
  return choices.begin()[random.below(static_cast<index_t>(choices.size()))];
}

sampler_options random_sampler(random_source& random) {
  sampler_options o;
  o.temperature = one_of(random, {0.0, 0.3, 0.3, 0.7, 1.0, 1.6});
  o.top_k = one_of<index_t>(random, {0, 0, 1, 3, 12, 1000});
  o.top_p = one_of(random, {1.0, 0.95, 0.95, 0.5, 0.05});
  o.min_p = one_of(random, {0.0, 0.0, 0.02, 0.3});
  o.order = one_of(random, {sampler_order::temperature_first, sampler_order::temperature_last});
  return o;
}

any_lambda random_schedule(random_source& random) {
  switch (random.below(6)) {
    case 0:
      return linear_lambda{one_of(random, {0.0, 1.0, 3.0})};
    case 1:
      return sigmoid_lambda{random.uniform(1, 12), random.uniform(0.2, 0.8)};
    case 2:
      return constant_lambda{one_of(random, {0.0, 0.4, 1.0})};
    case 3:
      return piecewise_lambda{0.5, 0.5};
    default:
      return piecewise_lambda{};
  }
}

std::vector<token_id> random_prompt(random_source& random, index_t longest, index_t vocab) {
  std::vector<token_id> prompt(static_cast<std::size_t>(1 + random.below(longest)));
  for (token_id& t : prompt) t = static_cast<token_id>(random.below(vocab));
  return prompt;
}

setting random_setting(std::uint64_t seed, index_t jobs) {
  random_source random(seed);
  setting s;
  s.model.seed = random.bits();
  s.model.vocab = 20 + random.below(40);
  s.model.context = 30 + random.below(50);
  s.model.noise = one_of(random, {0.0, 0.3, 1.0});
  s.model.hostile = random.below(3) == 0;
  s.tokenizer_seed = random.bits();
  hinted_options& o = s.options;
  o.sampler = random_sampler(random);
  o.entropy_norm = one_of(random, {0.0, 0.0, std::log(64.0)});
  o.teacher_first_token = random.below(2) == 0;
  o.delimiter = one_of<std::string>(random, {"", "##", "#a#", "\xC3\xA9", "aa#"});
  if (random.below(3) > 0) o.end_tokens.push_back(0);
  if (random.below(3) == 0) o.end_tokens.push_back(1);
  o.max_tokens = 1 + random.below(60);
  o.repetition = {1 + random.below(4), one_of<index_t>(random, {0, 2, 3})};
  o.seed = random.bits();
  s.schedule = random_schedule(random);
  const std::string marker = one_of<std::string>(random, {"", "", "#", "a#", "###"});
  for (index_t k = 0; k < jobs; ++k) {
    decode_job job;
    job.record = random.bits();
    job.student_prompt = random_prompt(random, 12, s.model.vocab);
    job.teacher_prompt = job.student_prompt;
    const auto hint = random_prompt(random, 12, s.model.vocab);
    job.teacher_prompt.insert(job.teacher_prompt.begin(), hint.begin(), hint.end());
    if (random.below(4) == 0) std::swap(job.teacher_prompt, job.student_prompt);
    job.rollout = random.below(8) == 0;
    job.rollout_sampler = random_sampler(random);
    job.analysis_marker = marker;
    job.analysis_budget = 1 + random.below(25);
    if (random.below(40) == 0) {  // as long as the context, or longer
      job.teacher_prompt.resize(static_cast<std::size_t>(s.model.context + random.below(2)), 3);
    }
    s.jobs.push_back(std::move(job));
  }
  return s;
}

struct outcome {
  std::map<std::uint64_t, decode_result> results;  // by record
  decoder_counts counts;
  index_t most_streams = 0;
  index_t evictions = 0;
};

/// Decodes all jobs of a setting.
template <class Backend = reference<>, class Executor = serial_executor>
outcome decode(const setting& s, decoder_options options, Executor executor = {},
               Backend backend = {}) {
  hash_lm model(s.model);
  const scrap_tokenizer pieces(s.model.vocab, s.tokenizer_seed);
  const hinted_policy policy(backend, pieces, s.schedule, s.options);
  hinted_decoder decoder(model, policy, std::move(options), executor);
  outcome found;
  std::deque<decode_job> waiting(s.jobs.begin(), s.jobs.end());
  decoder.run(
      [&]() -> std::optional<decode_job> {
        if (waiting.empty()) return std::nullopt;
        decode_job job = std::move(waiting.front());
        waiting.pop_front();
        return job;
      },
      [&](decode_result r) {
        const auto record = r.job.record;
        if (!found.results.emplace(record, std::move(r)).second) FAIL("a record came twice");
      });
  if (model.open_streams() != 0) FAIL("a stream is still open");
  if (model.overlong() != 0) FAIL("a chunk passed the context");
  found.counts = decoder.counts();
  found.most_streams = model.most_streams();
  found.evictions = model.evictions();
  return found;
}

std::map<std::uint64_t, plain_text> decode_plainly(const setting& s, double hair = 1e-6) {
  auto unlimited = s.model;
  unlimited.streams = 2;
  unlimited.rounding = 0;
  hash_lm model(unlimited);
  const scrap_tokenizer pieces(s.model.vocab, s.tokenizer_seed);
  const plain_decoder plain(model, pieces, s.schedule, s.options, hair);
  std::map<std::uint64_t, plain_text> texts;
  for (const decode_job& job : s.jobs) texts[job.record] = plain.decode(job);
  return texts;
}

bool close(double a, double b, double tolerance) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return a == b || std::abs(a - b) <= tolerance * std::max(1.0, std::abs(b));
}

/// Empty, or what differs.
std::string difference(const decode_result& found, const plain_text& expected, double tolerance) {
  const hinted_state& text = found.text;
  const auto count = std::min(text.tokens.size(), expected.tokens.size());
  if (found.analysis != expected.analysis) return "analysis";
  for (std::size_t k = 0; k < count; ++k) {
    const auto& a = text.tokens[k];
    const auto& b = expected.tokens[k];
    const std::string at = " of token " + std::to_string(k);
    if (!close(a.lambda, b.lambda, tolerance)) return "lambda" + at;
    if (a.token != b.token) return "id" + at;
    if (!close(a.teacher_log_prob, b.teacher_log_prob, tolerance)) return "teacher" + at;
    if (!close(a.student.log_prob, b.student_log_prob, tolerance)) return "student" + at;
    if (!close(a.student.entropy, b.student_entropy, tolerance)) return "entropy" + at;
    if (!close(a.student.varentropy, b.student_varentropy, tolerance)) return "varentropy" + at;
    if (!close(a.student.phi, b.student_log_prob + b.student_entropy, tolerance)) return "phi" + at;
    const auto status =
        std::isnan(b.student_entropy) ? token_status::non_finite : token_status::scored;
    if (a.student.status != status) return "status" + at;
    if (a.leader() != (b.lambda < 0.5 ? voice::teacher : voice::student)) return "leader" + at;
  }
  if (text.stop != expected.stop) {
    return "stop: " + std::string(name(text.stop)) + " for " + std::string(name(expected.stop));
  }
  if (text.tokens.size() != expected.tokens.size()) return "length";
  if (text.ids != expected.ids) return "ids";
  const auto shown = text.bytes.size();  // the end token has no text
  if (text.stop != stop_reason::end_of_sequence && text.bytes != expected.bytes) return "bytes";
  if (expected.bytes.compare(0, shown, text.bytes) != 0) return "bytes";
  return "";
}

bool same_bits(double a, double b) {
  return a == b || (std::isnan(a) && std::isnan(b));
}

/// The same texts and the same bits.
std::string difference(const outcome& a, const outcome& b) {
  if (a.results.size() != b.results.size()) return "number of records";
  for (const auto& [record, x] : a.results) {
    const auto found = b.results.find(record);
    if (found == b.results.end()) return "a record is missing";
    const decode_result& y = found->second;
    if (x.text.stop != y.text.stop) {
      return "stop: " + std::string(name(x.text.stop)) + " for " + std::string(name(y.text.stop));
    }
    if (x.text.ids != y.text.ids || x.text.bytes != y.text.bytes) return "tokens";
    if (x.analysis != y.analysis) return "analysis";
    for (std::size_t k = 0; k < x.text.tokens.size(); ++k) {
      const auto& s = x.text.tokens[k];
      const auto& t = y.text.tokens[k];
      if (s.student.status != t.student.status) return "status";
      if (!same_bits(s.lambda, t.lambda) || !same_bits(s.teacher_log_prob, t.teacher_log_prob) ||
          !same_bits(s.student.phi, t.student.phi) ||
          !same_bits(s.student.log_prob, t.student.log_prob) ||
          !same_bits(s.student.entropy, t.student.entropy) ||
          !same_bits(s.student.varentropy, t.student.varentropy)) {
        return "bits";
      }
    }
  }
  return "";
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
      // Those of texts that were complete, and not one more.
      CHECK(model.open_streams() == opens / 2 * 2);
      // The decoder goes on once there is room again; what was under way is finished.
      model.opens_left = 1 << 20;
      left = 2;
      decoder.run([&] { return left-- > 0 ? std::optional(job) : std::nullopt; },
                  [&](const decode_result&) { ++done; });
      CHECK(done == opens / 2 + 2);
    }
    CHECK(model.open_streams() == 0);
  }
}

TEST_CASE("a model that gives other rows than were asked for is found out") {
  setting s = random_setting(8, 1);
  s.model.hostile = false;
  s.options.max_tokens = 40;
  s.options.end_tokens.clear();
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
