// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// What real engines need of the decoder: their own end tokens, padded rows, errors on the way,
// streams that others hold, prompts that begin alike, and texts that a caller watches and ends.

#include <algorithm>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <idiolect/backend/cpu/cpu.hpp>
#include <idiolect/backend/reference/reference.hpp>
#include <idiolect/hinted/decoder.hpp>
#include <idiolect/hinted/policy.hpp>
#include <idiolect/hinted/sample.hpp>
#include <idiolect/model/archetypes.hpp>

#include "hash_lm.hpp"
#include "settings.hpp"
#include "support/catch.hpp"

namespace idiolect::test {
namespace {

using tokens = std::vector<token_id>;

/// Writes the letters in order, 'a' after a prompt's "<": the table of a Markov chain.
archetype::markov_lm alphabet(token_id end = 'z', index_t columns = 256) {
  std::vector<float> table(static_cast<std::size_t>(columns * columns), 0.0F);
  const auto follows = [&](int t, int next) {
    table[static_cast<std::size_t>(t * columns + next)] = 60.0F;
  };
  follows('<', 'a');
  for (int t = 'a'; t < 'z'; ++t) follows(t, t + 1);
  follows('z', '\n');
  follows('\n', 'a');
  return {std::move(table), columns, 200, end};
}

decode_job rollout(std::uint64_t record = 0) {
  decode_job job;
  job.record = record;
  job.rollout = true;
  job.student_prompt = {'<'};
  job.rollout_sampler = {.temperature = 0};
  return job;
}

template <class Model>
decode_result decode(Model& model, hinted_options o, decoder_options d = {}) {
  const archetype::byte_tokenizer pieces;
  const hinted_policy policy(cpu{}, pieces, constant_lambda{1}, std::move(o));
  hinted_decoder decoder(model, policy, std::move(d));
  return decoder.decode(rollout());
}

}  // namespace

TEST_CASE("a text ends where the model ends it") {
  auto model = alphabet('e');
  const auto r = decode(model, {.max_tokens = 40});
  CHECK(r.text.stop == stop_reason::end_of_sequence);
  CHECK(r.text.ids == tokens{'a', 'b', 'c', 'd', 'e'});
  CHECK(r.text.bytes == "abcd");
  // The caller's end tokens come on top.
  CHECK(decode(model, {.end_tokens = {'c'}, .max_tokens = 40}).text.ids.size() == 3);
}

TEST_CASE("an analysis ends where the model ends it") {
  auto model = alphabet('e');
  const archetype::byte_tokenizer pieces;
  const hinted_policy policy(cpu{}, pieces, constant_lambda{1}, {.max_tokens = 9});
  hinted_decoder decoder(model, policy);
  auto job = rollout();
  job.rollout = false;
  job.teacher_prompt = {'<'};
  job.analysis_marker = "fg";
  const auto r = decoder.decode(job);
  CHECK(r.text.stop == stop_reason::marker_missing);
  CHECK(r.analysis == tokens{'a', 'b', 'c', 'd', 'e'});
}

TEST_CASE("columns that no piece exists for are never drawn, scored or counted") {
  // All the mass of every row is on column 299; 299 mod 256 is '+'.
  constexpr index_t columns = 300;
  std::vector<float> table(static_cast<std::size_t>(columns * columns), 0.0F);
  for (index_t t = 0; t < columns; ++t) {
    table[static_cast<std::size_t>(t * columns + 299)] = 60.0F;
    table[static_cast<std::size_t>(t * columns + 'k')] = 5.0F;
  }
  archetype::markov_lm model(std::move(table), columns, 200, -1);
  const auto r = decode(model, {.max_tokens = 3});
  CHECK(r.text.bytes == "kkk");
  // One logit of 5, 255 of 0.
  const double expected = 5 - std::log(std::exp(5.0) + 255);
  CHECK(r.text.tokens[0].student.log_prob == Catch::Approx(expected).epsilon(1e-6));

  // The same through a policy alone, as an engine with its own loop calls it.
  const archetype::byte_tokenizer pieces;
  std::vector<float> row(columns, -20.0F);
  row[299] = 20.0F;
  row['k'] = -10.0F;
  const std::span<const float> padded(row);
  const hinted_policy policy(cpu{}, pieces, constant_lambda{0.5}, {.sampler = {.temperature = 0}});
  decltype(policy)::scratch memory;
  auto state = policy.start(0);
  policy.step(state, padded, padded, memory);
  policy.step(state, padded, padded, memory);  // the first token is the teacher's alone
  CHECK(state.bytes == "kk");
  CHECK(policy.greedy(padded) == 'k');
  CHECK(policy.lead(state, padded).teacher_max == -10);
  policy.score_student(state, 0, padded);
  CHECK(state.tokens[0].student.log_prob > -0.02);
}

namespace {

/// Raises once, in the call of that number.
struct raising_lm : hash_lm {
  using hash_lm::hash_lm;
  index_t raise_at = -1;
  forward_status forward(std::span<const chunk> chunks) {
    if (raise_at-- == 0) throw std::runtime_error("the engine broke");
    return hash_lm::forward(chunks);
  }
};

}  // namespace

TEST_CASE("after an exception the decoder decodes what it is given, and nothing of before") {
  index_t raised = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const setting s = random_setting(seed, 12);
    const scrap_tokenizer pieces(s.model.vocab, s.tokenizer_seed);
    const hinted_policy policy(reference{}, pieces, s.schedule, s.options);
    hash_lm untroubled(s.model);
    hinted_decoder expected(untroubled, policy);
    for (const index_t at : {0, 1, 2, 5, 9}) {
      INFO("setting " << seed << ", raised in call " << at);
      raising_lm model(s.model);
      model.raise_at = at;
      hinted_decoder decoder(model, policy, {.parallel = 4});
      std::size_t next = 0;
      const auto jobs = [&] { return next < 8 ? std::optional(s.jobs[next++]) : std::nullopt; };
      try {
        decoder.run(jobs, [](const decode_result&) {});
      } catch (const std::runtime_error& e) {
        CHECK(std::string(e.what()) == "the engine broke");
        ++raised;
      }
      model.raise_at = -1;  // where the texts were done before it
      CHECK(model.open_streams() == 0);
      for (std::size_t k = 8; k < 12; ++k) {
        const auto r = decoder.decode(s.jobs[k]);
        CHECK(r.job.record == s.jobs[k].record);
        CHECK(r.text.ids == expected.decode(s.jobs[k]).text.ids);
      }
      CHECK(model.open_streams() == 0);
    }
  }
  CHECK(raised > 80);
}

TEST_CASE("after a fatal error the decoder says so of every further text") {
  setting s = random_setting(12, 4);
  s.model.trouble = forward_status::fatal;
  s.model.trouble_at = 1;
  hash_lm model(s.model);
  const scrap_tokenizer pieces(s.model.vocab, s.tokenizer_seed);
  const hinted_policy policy(reference{}, pieces, s.schedule, s.options);
  hinted_decoder decoder(model, policy);
  CHECK(decoder.decode(s.jobs[0]).text.stop == stop_reason::model_failed);
  CHECK(decoder.decode(s.jobs[1]).text.stop == stop_reason::model_failed);
  CHECK(decoder.decode(s.jobs[1]).text.ids.empty());
  CHECK(model.open_streams() == 0);
}

namespace {

/// Tells what is free, as an engine does whose sequences others use too.
struct shared_lm : hash_lm {
  using hash_lm::hash_lm;
  [[nodiscard]] index_t free_streams() const { return max_streams() - open_streams(); }
};

}  // namespace

TEST_CASE("texts wait for streams that somebody else holds") {
  setting s = random_setting(8, 10);
  s.model.streams = 7;
  const scrap_tokenizer pieces(s.model.vocab, s.tokenizer_seed);
  const hinted_policy policy(reference{}, pieces, s.schedule, s.options);
  shared_lm model(s.model);
  (void)model.open();
  (void)model.open();
  hinted_decoder decoder(model, policy, {.parallel = 64});
  std::size_t next = 0;
  std::size_t done = 0;
  decoder.run([&] { return next < s.jobs.size() ? std::optional(s.jobs[next++]) : std::nullopt; },
              [&](const decode_result&) { ++done; });
  CHECK(done == s.jobs.size());
  CHECK(model.open_streams() == 2);
  CHECK(model.most_streams() == 7);
  for (index_t k = 2; k < 7; ++k) (void)model.open();
  CHECK_THROWS_AS(decoder.decode(s.jobs[0]), backend_error);  // nothing that could become free
}

namespace {

setting alike(index_t beginning, index_t jobs) {
  setting s = random_setting(3, jobs);
  s.model = {.seed = 5, .context = 1000};
  s.options = {};
  s.options.max_tokens = 4;
  s.options.repetition.times = 0;
  s.schedule = linear_lambda{};
  token_id own = 3;
  for (decode_job& job : s.jobs) {
    job.rollout = false;
    job.analysis_marker.clear();
    job.student_prompt.assign(static_cast<std::size_t>(beginning), 1);
    job.teacher_prompt.assign(static_cast<std::size_t>(2 * beginning), 2);
    for (auto* prompt : {&job.student_prompt, &job.teacher_prompt}) {
      prompt->insert(prompt->end(), {own, 0, 0});
    }
    ++own;
  }
  return s;
}

outcome decode_alike(const setting& s, const decoder_options& options) {
  hash_lm model(s.model);
  const scrap_tokenizer pieces(s.model.vocab, s.tokenizer_seed);
  const hinted_policy policy(reference{}, pieces, s.schedule, s.options);
  return decode_with(model, policy, s, options);
}

}  // namespace

TEST_CASE("what prompts begin with is forwarded once") {
  const setting s = alike(100, 20);
  const auto apart = decode_alike(s, {.parallel = 5, .shared_beginning = 0});
  const auto shared = decode_alike(s, {.parallel = 5});
  CHECK(difference(shared, apart) == "");
  CHECK(apart.counts.student_tokens == 20 * (103 + 3));
  CHECK(apart.counts.shared_tokens == 0);
  CHECK(shared.counts.beginning_tokens == 100 + 200);
  CHECK(shared.counts.shared_tokens == 20 * 300);
  CHECK(shared.counts.student_tokens == 20 * (3 + 3));
  CHECK(shared.counts.teacher_tokens == 20 * (3 + 3));
  CHECK(shared.most_streams == 2 * 5 + 2);
  // One text at a time notices it with the second.
  const auto alone = decode_alike(s, {.parallel = 1});
  CHECK(alone.counts.beginning_tokens == 300);
  CHECK(alone.counts.shared_tokens == 19 * 300);
  // In calls of seven tokens, too.
  setting small = s;
  small.model.chunk = 7;
  CHECK(difference(decode_alike(small, {.parallel = 5}), apart) == "");
}

TEST_CASE("a beginning takes no stream from a text, and no room in the cache") {
  setting s = alike(100, 6);
  const auto expected = decode_alike(s, {.shared_beginning = 0});
  s.model.streams = 2;
  auto found = decode_alike(s, {});
  CHECK(difference(found, expected) == "");
  CHECK(found.counts.shared_tokens == 0);
  s.model.streams = 3;  // one text, and one of the two beginnings
  found = decode_alike(s, {});
  CHECK(difference(found, expected) == "");
  CHECK(found.counts.shared_tokens > 0);
  s.model.streams = 64;
  s.model.cache = 320;  // one text of 317 tokens at most
  found = decode_alike(s, {});
  CHECK(difference(found, expected) == "");
  CHECK(found.evictions > 0);
}

TEST_CASE("several answers to one prompt read it once") {
  setting s = alike(40, 8);
  for (decode_job& job : s.jobs) {
    job.rollout = true;
    job.student_prompt = s.jobs[0].student_prompt;
  }
  const auto shared = decode_alike(s, {});
  CHECK(difference(shared, decode_alike(s, {.shared_beginning = 0})) == "");
  CHECK(shared.counts.beginning_tokens == 42);
  CHECK(shared.counts.student_tokens == 8 * (1 + 3));
}

TEST_CASE("trouble while a beginning is forwarded is trouble of the texts") {
  for (const auto trouble : {forward_status::aborted, forward_status::fatal}) {
    setting s = alike(40, 8);
    s.model.trouble = trouble;
    s.model.trouble_at = 0;
    const auto found = decode_alike(s, {.parallel = 3});
    REQUIRE(found.results.size() == 8);
    index_t ended = 0;
    for (const auto& [record, r] : found.results) ended += r.text.ids.empty() ? 1 : 0;
    CHECK(ended == (trouble == forward_status::fatal ? 8 : 3));
  }
}

TEST_CASE("a text ends with a stop string, wherever tokens cut it") {
  auto model = alphabet('\0');
  const auto r = decode(model, {.stop_strings = {"xq", "efg"}, .max_tokens = 40});
  CHECK(r.text.stop == stop_reason::stop_string);
  CHECK(r.text.bytes == "abcdefg");
  // The line that the answer stands in, and no further.
  const auto line = decode(model, {.delimiter = "pq", .stop_after_answer = true, .max_tokens = 80});
  CHECK(line.text.stop == stop_reason::stop_string);
  CHECK(line.text.bytes == "abcdefghijklmnopqrstuvwxyz\n");
  // A delimiter that is quoted earlier ends nothing: it counts at a line's start, or behind a mark.
  const auto late = decode(model, {.delimiter = "abc",
                                   .delimiter_at_line_start = true,
                                   .delimiter_after = "xyz",
                                   .stop_after_answer = true,
                                   .max_tokens = 80});
  CHECK(late.text.bytes == "abcdefghijklmnopqrstuvwxyz\nabcdefghijklmnopqrstuvwxyz\n");
  const archetype::byte_tokenizer pieces;
  const auto refused = [&](hinted_options o) {
    CHECK_THROWS_AS(hinted_policy(cpu{}, pieces, constant_lambda{1}, std::move(o)), shape_error);
  };
  refused({.stop_strings = {"x", ""}});
  refused({.stop_after_answer = true});
  refused({.delimiter_at_line_start = true});
  refused({.delimiter_after = "x"});
}

TEST_CASE("a caller sees each token and may end one text") {
  auto model = alphabet('\0');
  const archetype::byte_tokenizer pieces;
  const hinted_policy policy(cpu{}, pieces, constant_lambda{1}, {.max_tokens = 12});
  std::vector<std::string> seen(3);
  decoder_options o;
  o.on_token = [&](const hinted_state& text) {
    seen[text.record] += static_cast<char>(text.ids.back());
    return text.record != 1 || text.ids.size() < 5;
  };
  hinted_decoder decoder(model, policy, o);
  std::uint64_t next = 0;
  std::vector<decode_result> results(3);
  decoder.run([&] { return next < 3 ? std::optional(rollout(next++)) : std::nullopt; },
              [&](decode_result r) { results[r.job.record] = std::move(r); });
  CHECK(seen == std::vector<std::string>{"abcdefghijkl", "abcde", "abcdefghijkl"});
  CHECK(results[1].text.stop == stop_reason::stopped);
  CHECK(results[1].text.bytes == "abcde");
  CHECK(results[1].text.tokens[4].student.status == token_status::scored);
  CHECK(results[2].text.stop == stop_reason::max_tokens);
}

TEST_CASE("a text that the caller ended is not begun again when the cache is full") {
  for (const bool deferred : {false, true}) {
    setting s = alike(3, 12);
    s.options.max_tokens = 30;
    s.model.cache = 80;
    hash_lm model(s.model);
    const scrap_tokenizer pieces(s.model.vocab, s.tokenizer_seed);
    const hinted_policy policy(reference{}, pieces, constant_lambda{0}, s.options);
    std::map<std::uint64_t, index_t> ended;
    decoder_options o{.defer_student = deferred, .max_lag = 100};
    o.on_token = [&](const hinted_state& text) {
      if (text.ids.size() < 7) return true;
      ++ended[text.record];
      return false;
    };
    const auto found = decode_with(model, policy, s, o);
    CHECK(found.evictions > 0);
    for (const auto& [record, r] : found.results) {
      CHECK(r.text.stop == stop_reason::stopped);
      CHECK(r.text.ids.size() == 7);
      CHECK(ended[record] == 1);
    }
  }
}

TEST_CASE("a cancelled run forwards no beginning") {
  const setting s = alike(100, 20);
  for (const index_t calls : {0, 1, 2, 3}) {
    index_t left = calls;
    const auto found = decode_alike(s, {.parallel = 2, .cancelled = [&] { return left-- <= 0; }});
    CHECK(found.counts.calls == calls);
    REQUIRE(found.results.size() == 20);
    for (const auto& [record, r] : found.results) CHECK(r.text.stop == stop_reason::cancelled);
  }
}

TEST_CASE("a beginning gives way to a text") {
  setting s = alike(100, 20);
  for (std::size_t k = 0; k < 4; ++k) s.jobs[k].rollout = true;
  s.model.streams = 4;  // two rollouts and a beginning, then two texts of two streams
  const auto apart = decode_alike(s, {.parallel = 2, .shared_beginning = 0});
  const auto shared = decode_alike(s, {.parallel = 2});
  CHECK(difference(shared, apart) == "");
  CHECK(shared.counts.shared_tokens > 0);
  CHECK(shared.counts.calls <= apart.counts.calls + 4);
}

TEST_CASE("an end token without a piece is refused, not masked") {
  archetype::markov_lm model = alphabet(258, 260);
  CHECK_THROWS_WITH(decode(model, {}), Catch::Contains("258"));
  auto real = alphabet();
  CHECK_THROWS_WITH(decode(real, {.end_tokens = {300}}), Catch::Contains("300"));
}

TEST_CASE("samples of a model need no policy") {
  auto model = alphabet('e');
  const archetype::byte_tokenizer pieces;
  const std::vector<tokens> prompts{{'<'}, {'c'}, {'<'}};
  const auto texts = sample(cpu{}, model, pieces, prompts, {.max_tokens = 40});
  REQUIRE(texts.size() == 3);
  CHECK(texts[0].text.bytes == "abcd");
  CHECK(texts[1].text.bytes == "d");
  CHECK(texts[2].text.bytes == "abcd");
  CHECK(texts[2].job.record == 2);
}

}  // namespace idiolect::test
