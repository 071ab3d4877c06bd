// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Decoding problems drawn at random, their decoding by any policy and by the plain decoder, and how
// two outcomes differ.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <idiolect/hinted/decoder.hpp>
#include <idiolect/hinted/lambda.hpp>
#include <idiolect/hinted/policy.hpp>

#include "hash_lm.hpp"
#include "plain_decoder.hpp"
#include "support/catch.hpp"
#include "support/rows.hpp"

namespace idiolect::test {

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

inline sampler_options random_sampler(random_source& random) {
  sampler_options o;
  o.temperature = one_of(random, {0.0, 0.3, 0.3, 0.7, 1.0, 1.6});
  o.top_k = one_of<index_t>(random, {0, 0, 1, 3, 12, 1000});
  o.top_p = one_of(random, {1.0, 0.95, 0.95, 0.5, 0.05});
  o.min_p = one_of(random, {0.0, 0.0, 0.02, 0.3});
  o.order = one_of(random, {sampler_order::temperature_first, sampler_order::temperature_last});
  return o;
}

inline any_lambda random_schedule(random_source& random) {
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

inline std::vector<token_id> random_prompt(random_source& random, index_t longest, index_t vocab) {
  std::vector<token_id> prompt(static_cast<std::size_t>(1 + random.below(longest)));
  for (token_id& t : prompt) t = static_cast<token_id>(random.below(vocab));
  return prompt;
}

inline setting random_setting(std::uint64_t seed, index_t jobs) {
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
  // As engines are: some texts end with the model's own tokens, rows are padded, and prompts begin
  // alike.
  random_source engine(seed + 1'000'000);
  if (engine.below(2) == 0) s.model.ends.swap(o.end_tokens);
  s.model.padding = one_of<index_t>(engine, {0, 0, 3});
  if (engine.below(2) == 0) {
    const std::vector<token_id> beginning(static_cast<std::size_t>(16 + engine.below(9)), 2);
    s.model.context += static_cast<index_t>(beginning.size());
    for (decode_job& job : s.jobs) {
      auto& prompt = engine.below(3) == 0 ? job.student_prompt : job.teacher_prompt;
      prompt.insert(prompt.begin(), beginning.begin(), beginning.end());
    }
  }
  return s;
}

struct outcome {
  std::map<std::uint64_t, decode_result> results;  // by record
  decoder_counts counts;
  index_t most_streams = 0;
  index_t evictions = 0;
};

/// Decodes all jobs of a setting over the model, with a policy.
template <class Model, class Policy, class Executor = serial_executor>
outcome decode_with(Model& model, const Policy& policy, const setting& s, decoder_options options,
                    Executor executor = {}) {
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

inline std::map<std::uint64_t, plain_text> decode_plainly(const setting& s, double hair = 1e-6) {
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

inline bool close(double a, double b, double tolerance) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return a == b || std::abs(a - b) <= tolerance * std::max(1.0, std::abs(b));
}

/// Empty, or what differs.
inline std::string difference(const decode_result& found, const plain_text& expected,
                              double tolerance) {
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

inline bool same_bits(double a, double b) {
  return a == b || (std::isnan(a) && std::isnan(b));
}

/// The same texts and the same bits.
inline std::string difference(const outcome& a, const outcome& b) {
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

}  // namespace idiolect::test
