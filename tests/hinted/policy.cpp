// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// One step of hinted decoding: the schedules, the mixture, the draw, and what odd rows give. The
// policy alone, as an engine with its own loop would use it.

#include <algorithm>
#include <cmath>
#include <map>
#include <span>
#include <string>
#include <vector>

#include <idiolect/backend/cpu/cpu.hpp>
#include <idiolect/backend/reference/reference.hpp>
#include <idiolect/hinted/decoder.hpp>
#include <idiolect/hinted/lambda.hpp>
#include <idiolect/hinted/mixture.hpp>
#include <idiolect/hinted/policy.hpp>
#include <idiolect/model/archetypes.hpp>

#include "hash_lm.hpp"
#include "support/catch.hpp"
#include "support/rows.hpp"

namespace idiolect::test {
namespace {

using doubles = std::vector<double>;
using floats = std::vector<float>;

const archetype::byte_tokenizer bytes_as_tokens;

template <class Schedule>
auto policy_of(Schedule schedule, hinted_options options = {}) {
  return hinted_policy(reference{}, bytes_as_tokens, schedule, options);
}

/// The plain options: sample from the mixture itself.
hinted_options plain() {
  hinted_options o;
  o.sampler = {};
  o.teacher_first_token = false;
  o.repetition.times = 0;
  return o;
}

doubles softmax(const doubles& z) {
  double most = -infinity;
  for (const double x : z) most = std::max(most, x);
  doubles p;
  double total = 0;
  for (const double x : z) total += p.emplace_back(std::exp(x - most));
  for (double& x : p) x /= total;
  return p;
}

/// Frequencies of the first token over many records.
template <class Policy>
std::vector<index_t> frequencies(const Policy& policy, const doubles& teacher, const doubles& student,
                               index_t draws) {
  std::vector<index_t> counts(teacher.size());
  typename Policy::scratch memory;
  for (index_t r = 0; r < draws; ++r) {
    auto state = policy.start(static_cast<std::uint64_t>(r));
    policy.step(state, std::span<const double>(teacher), std::span<const double>(student), memory);
    ++counts[static_cast<std::size_t>(state.ids.at(0))];
  }
  return counts;
}

double chi_squared(const std::vector<index_t>& counts, const doubles& p, index_t draws) {
  double sum = 0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    const double expected = p[i] * static_cast<double>(draws);
    if (expected == 0) {
      if (counts[i] > 0) return infinity;
      continue;
    }
    sum += std::pow(static_cast<double>(counts[i]) - expected, 2) / expected;
  }
  return sum;
}

}  // namespace

TEST_CASE("the schedules are their formulas and exact at their ends") {
  const linear_lambda linear{.beta = 3};
  CHECK(linear(0) == 0);
  CHECK(linear(0.1) == Approx(0.3));
  CHECK(linear(0.5) == 1);
  CHECK(linear_lambda{.beta = 0}(1) == 0);
  const sigmoid_lambda sigmoid{.beta = 8, .centre = 0.5};
  CHECK(sigmoid(0.5) == 0.5);
  CHECK(sigmoid(0.6) == Approx(1 / (1 + std::exp(-0.8))));
  CHECK(sigmoid(0.0) > 0);
  CHECK(sigmoid(1.0) < 1);
  const piecewise_lambda piecewise{.low = 0.3, .high = 0.7};
  CHECK(piecewise(0.3) == 0);
  CHECK(piecewise(0.5) == Approx(0.5));
  CHECK(piecewise(0.7) == 1);
  const piecewise_lambda step{.low = 0.5, .high = 0.5};
  CHECK(step(0.5) == 0);
  CHECK(step(std::nextafter(0.5, 1)) == 1);
  CHECK(constant_lambda{.value = 0.25}(0.9) == 0.25);
  const any_lambda any = piecewise;
  CHECK(any(0.5) == piecewise(0.5));
  CHECK_THROWS_AS(linear_lambda{.beta = -1}.validate(), shape_error);
  CHECK_THROWS_AS(sigmoid_lambda{.beta = not_a_number}.validate(), shape_error);
  CHECK_THROWS_AS((piecewise_lambda{.low = 0.8, .high = 0.2}.validate()), shape_error);
  CHECK_THROWS_AS(constant_lambda{.value = 1.5}.validate(), shape_error);
  CHECK_THROWS_AS(any_lambda(constant_lambda{.value = -0.5}).validate(), shape_error);
  STATIC_REQUIRE(lambda_schedule<any_lambda>);
  const auto own = [](double h) { return h * h; };
  STATIC_REQUIRE(lambda_schedule<decltype(own)>);
}

TEST_CASE("the mixture is geometric and knows its largest") {
  random_source random(9);
  for (const index_t n : {1, 7, 8, 9, 100, 1001}) {
    auto p = gaussian_row(n, 3, random.bits(), 100);
    auto q = stored<float>(gaussian_row(n, 3, random.bits(), -1000));
    if (n > 8) p[3] = -infinity;
    if (n > 8) q[5] = -static_cast<float>(infinity);
    const double p_max = *std::ranges::max_element(p);
    const auto q_max = static_cast<double>(*std::ranges::max_element(q));
    doubles mixed;
    const double max = mix_logits(p.data(), p_max, q.data(), q_max, n, 0.3, mixed);
    CHECK(max == *std::ranges::max_element(mixed));
    for (std::size_t i = 0; i < mixed.size(); ++i) {
      const double expected = 0.7 * (p[i] - p_max) + 0.3 * (static_cast<double>(q[i]) - q_max);
      CHECK((mixed[i] == expected || std::abs(mixed[i] - expected) < 1e-12));
    }
  }
}

TEST_CASE("the mixture of rows in single precision is rounded once") {
  const auto p = stored<float>(gaussian_row(1001, 3, 1, 100));
  const auto q = stored<float>(gaussian_row(1001, 3, 2, -1000));
  const auto p_max = static_cast<double>(*std::ranges::max_element(p));
  const auto q_max = static_cast<double>(*std::ranges::max_element(q));
  floats mixed;
  const double max = mix_logits(p.data(), p_max, q.data(), q_max, 1001, 0.3, mixed);
  CHECK(max == static_cast<double>(*std::ranges::max_element(mixed)));
  for (std::size_t i = 0; i < mixed.size(); ++i) {
    const double expected =
        0.7 * (static_cast<double>(p[i]) - p_max) + 0.3 * (static_cast<double>(q[i]) - q_max);
    CHECK(std::abs(static_cast<double>(mixed[i]) - expected) <= 6.1e-8 * std::abs(expected));
  }
}

namespace {
constexpr index_t large = 30'000;
struct many_pieces : archetype::byte_tokenizer {
  [[nodiscard]] index_t vocab_size() const { return large; }
};
}  // namespace

TEST_CASE("a step over a large vocabulary draws what the definition draws") {
  const index_t n = large;
  const many_pieces pieces;
  random_source random(17);
  hinted_policy<cpu<>, many_pieces, constant_lambda>::scratch memory;
  index_t steps = 0;
  index_t others = 0;
  for (int round = 0; round < 6; ++round) {
    const auto p = stored<float>(gaussian_row(n, 0.7 + 0.5 * round, random.bits()));
    const auto q = stored<float>(gaussian_row(n, 0.7 + 0.5 * round, random.bits()));
    const double lambda = random.uniform();
    doubles mixture;
    for (std::size_t i = 0; i < p.size(); ++i) {
      mixture.push_back((1 - lambda) * static_cast<double>(p[i]) +
                        lambda * static_cast<double>(q[i]));
    }
    for (const auto order : {sampler_order::temperature_first, sampler_order::temperature_last}) {
      auto o = plain();
      o.sampler = {.temperature = 0.3, .top_p = 0.95, .order = order};
      const auto expected = sampled_distribution(mixture.data(), n, o.sampler);
      const hinted_policy policy(cpu{}, pieces, constant_lambda{lambda}, o);
      for (std::uint64_t record = 0; record < 50; ++record) {
        auto state = policy.start(record);
        policy.step(state, std::span<const float>(p), std::span<const float>(q), memory);
        others += state.ids.at(0) != expected.draw(philox{o.seed, record}.uniform(0)) ? 1 : 0;
        ++steps;
      }
    }
  }
  CHECK(others * 200 < steps);  // borders between tokens closer to the draw than 1e-7
}

TEST_CASE("tokens are drawn from the geometric mixture") {
  const doubles teacher = {2, 0.5, -1, 0, 1, -infinity, 0.3};
  const doubles student = {-1, 1, 0.2, 0, 1.5, 3, -infinity};
  const index_t draws = 40'000;
  // Critical values of chi-squared at 1e-4 for up to 6 degrees of freedom.
  constexpr double critical = 27.9;
  for (const double lambda : {0.0, 0.25, 0.7, 1.0}) {
    INFO("lambda " << lambda);
    const auto counts =
        frequencies(policy_of(constant_lambda{lambda}, plain()), teacher, student, draws);
    const auto p = softmax(teacher);
    const auto q = softmax(student);
    doubles m;
    for (std::size_t i = 0; i < p.size(); ++i) {
      m.push_back(lambda == 0   ? std::log(p[i])
                  : lambda == 1 ? std::log(q[i])
                                : (1 - lambda) * std::log(p[i]) + lambda * std::log(q[i]));
    }
    CHECK(chi_squared(counts, softmax(m), draws) < critical);
    auto other = softmax(m);  // the test would notice
    std::swap(other[0], other[4]);
    CHECK(chi_squared(counts, other, draws) > critical);
  }
}

TEST_CASE("under a schedule the draws follow the entropy of the teacher") {
  const doubles teacher = {2, 0.5, -1, 0, 1};
  const doubles student = {-1, 1, 0.2, 0, 1.5};
  const auto p = softmax(teacher);
  double h = 0;
  for (const double x : p) h -= x * std::log(x);
  for (const double norm : {0.0, 4.0}) {
    auto o = plain();
    o.entropy_norm = norm;
    const double lambda = 0.8 * h / (norm > 0 ? norm : std::log(5.0));
    doubles m;
    for (std::size_t i = 0; i < p.size(); ++i) {
      m.push_back((1 - lambda) * teacher[i] + lambda * student[i]);
    }
    const auto policy = policy_of(linear_lambda{.beta = 0.8}, o);
    CHECK(policy.lead(policy.start(1), std::span<const double>(teacher)).lambda == Approx(lambda));
    CHECK(chi_squared(frequencies(policy, teacher, student, 40'000), softmax(m), 40'000) < 23.6);
  }
}

TEST_CASE("lambda 0 is the teacher and lambda 1 the student exactly") {
  random_source random(21);
  hinted_policy<reference<>, archetype::byte_tokenizer, constant_lambda>::scratch memory;
  for (int round = 0; round < 300; ++round) {
    const index_t n = 2 + random.below(250);
    auto teacher = gaussian_row(n, 2, random.bits());
    auto student = gaussian_row(n, 2, random.bits());
    for (index_t k = random.below(n); k > 1; --k) {
      (random.below(2) == 0 ? teacher : student)[static_cast<std::size_t>(random.below(n))] =
          -infinity;
    }
    teacher[0] = student[1] = 1;  // each has something
    auto o = plain();
    o.sampler = {.temperature = 0.8, .top_p = 0.9, .order = sampler_order::temperature_last};
    const std::span<const double> t(teacher), s(student);
    for (const bool follows : {false, true}) {
      const auto policy = policy_of(constant_lambda{follows ? 1.0 : 0.0}, o);
      auto state = policy.start(random.bits());
      policy.step(state, t, s, memory);
      const auto& row = follows ? student : teacher;
      const auto r = sampled_distribution(row.data(), n, o.sampler);
      CHECK(state.ids.at(0) == r.draw(philox{o.seed, state.record}.uniform(0)));
      // The other row is not looked at: not even its NaN.
      auto spoilt = follows ? teacher : student;
      if (!follows) spoilt.assign(spoilt.size(), not_a_number);
      auto again = policy.start(state.record);
      policy.step(again, follows ? t : t, follows ? s : std::span<const double>(spoilt), memory);
      CHECK(again.ids == state.ids);
      if (!follows) CHECK(again.tokens[0].student.status == token_status::non_finite);
    }
  }
}

TEST_CASE("odd rows give the documented stop") {
  const auto policy = policy_of(constant_lambda{0.5}, plain());
  decltype(policy)::scratch memory;
  const auto stop = [&](const doubles& teacher, const doubles& student) {
    auto state = policy.start(3);
    const auto reason = policy.step(state, std::span<const double>(teacher),
                                    std::span<const double>(student), memory);
    CHECK(reason == state.stop);
    CHECK((reason == stop_reason::none) == (state.tokens.size() == 1));
    return reason;
  };
  const doubles good = {1, 2, 3, 4};
  CHECK(stop(good, good) == stop_reason::none);
  for (const auto& [name, bad] : non_finite_rows(4)) {
    INFO(name);
    CHECK(stop(bad, good) == stop_reason::non_finite);
    CHECK(stop(good, bad) == stop_reason::non_finite);
  }
  CHECK(stop({1, -infinity, 2, -infinity}, {-infinity, 1, -infinity, 2}) ==
        stop_reason::no_support);
  CHECK(stop({1, -infinity, 2, -infinity}, {-infinity, 1, 0, 2}) == stop_reason::none);
  CHECK(stop({5}, {7}) == stop_reason::none);  // one token: h is 0, not 0/0
  CHECK_THROWS_AS(stop({}, good), shape_error);
  CHECK_THROWS_AS(stop(good, {}), shape_error);
  CHECK_THROWS_AS(stop(good, {1, 2, 3}), shape_error);
  for (const double lambda : {0.0, 1.0}) {  // whoever leads alone
    const auto alone = policy_of(constant_lambda{lambda}, plain());
    auto state = alone.start(3);
    const doubles longer = {1, 2, 3, 4, 50};
    CHECK_THROWS_AS(alone.step(state, std::span<const double>(good),
                               std::span<const double>(longer), memory),
                    shape_error);
  }
  auto ended = policy.start(1);
  ended.stop = stop_reason::max_tokens;
  CHECK_THROWS_AS(
      policy.step(ended, std::span<const double>(good), std::span<const double>(good), memory),
      shape_error);
}

TEST_CASE("options that make no sense are named") {
  const auto argument = [](auto schedule, const hinted_options& o) {
    try {
      (void)policy_of(schedule, o);
    } catch (const error& e) {
      return e.argument();
    }
    return std::string("nothing");
  };
  hinted_options o;
  CHECK(argument(linear_lambda{}, o) == "nothing");
  CHECK(argument(linear_lambda{-1}, o) == "linear_lambda::beta");
  o.max_tokens = 0;
  CHECK(argument(linear_lambda{}, o) == "hinted_options::max_tokens");
  o = {};
  o.entropy_norm = -1;
  CHECK(argument(linear_lambda{}, o) == "hinted_options::entropy_norm");
  o = {};
  o.sampler.top_p = 0;
  CHECK(argument(linear_lambda{}, o) == "top_p");
  o = {};
  o.repetition.length = 0;
  CHECK(argument(linear_lambda{}, o) == "repetition_options::length");
  const auto wild = policy_of([](double) { return 1.5; });
  auto state = wild.start(1);
  state.ids.push_back(1);
  state.tokens.resize(1);
  const doubles row = {1, 2};
  CHECK_THROWS_AS(wild.lead(state, std::span<const double>(row)), shape_error);
}

TEST_CASE("greedy takes the largest and the smallest id among equals") {
  const auto policy = policy_of(linear_lambda{});
  const auto greedy = [&](const doubles& row) {
    return policy.greedy(std::span<const double>(row));
  };
  CHECK(greedy({1, 3, 2, 3}) == 1);
  CHECK(greedy({-infinity, -5}) == 1);
  for (const auto& [name, bad] : non_finite_rows(5)) {
    INFO(name);
    CHECK(greedy(bad) == -1);
  }
}

// An engine's own loop: two functions that give logits, and nothing of this library's decoder.
TEST_CASE("a loop of one's own gives what the decoder gives") {
  const hash_lm_options model{.seed = 4, .vocab = 30, .context = 200};
  const scrap_tokenizer pieces(30, 8);
  hinted_options o;
  o.sampler.temperature = 1;
  o.delimiter = "#a";
  o.max_tokens = 80;
  o.repetition.times = 0;
  o.seed = 99;
  const hinted_policy policy(cpu{}, pieces, linear_lambda{}, o);
  const decode_job job{.record = 5, .student_prompt = {1, 2, 3}, .teacher_prompt = {7, 8, 1, 2, 3}};

  hash_lm engine(model);
  const auto next_row = [&](stream_id s, std::span<const token_id> tokens) {
    const chunk c{s, tokens};
    REQUIRE(engine.forward({&c, 1}) == forward_status::ok);
    const auto rows = engine.logits(s);
    return floats(rows.row(0), rows.row(0) + rows.cols());
  };
  const stream_id teacher = engine.open();
  const stream_id student = engine.open();
  auto state = policy.start(job.record);
  decltype(policy)::scratch memory;
  floats p = next_row(teacher, job.teacher_prompt);
  floats q = next_row(student, job.student_prompt);
  while (policy.step(state, std::span<const float>(p), std::span<const float>(q), memory) ==
         stop_reason::none) {
    const std::span<const token_id> last = std::span(state.ids).last(1);
    p = state.student_only() ? floats{} : next_row(teacher, last);
    q = next_row(student, last);
  }

  hash_lm other(model);
  hinted_decoder decoder(other, policy);
  const auto result = decoder.decode(job);
  CHECK(result.text.ids == state.ids);
  CHECK(result.text.bytes == state.bytes);
  CHECK(result.text.stop == state.stop);
  CHECK(state.student_only());
  CHECK(state.tokens.size() > 10);
}

TEST_CASE("rows of any scalar type give the token of their values") {
  const doubles teacher = {0.5, -1, 2.25, 2.25, -4};
  const doubles student = {1.5, 0, -2.25, 2, 1};
  const auto token = [&]<class T, class S>(T, S) {
    const auto policy = policy_of(constant_lambda{0.4}, plain());
    typename decltype(policy)::scratch memory;
    const auto t = stored<T>(teacher);
    const auto s = stored<S>(student);
    std::vector<token_id> ids;
    for (std::uint64_t r = 0; r < 50; ++r) {
      auto state = policy.start(r);
      policy.step(state, std::span<const T>(t), std::span<const S>(s), memory);
      ids.push_back(state.ids.at(0));
    }
    return ids;
  };
  const auto expected = token(double{}, double{});
  CHECK(token(float{}, float{}) == expected);
  CHECK(token(half{}, half{}) == expected);
  CHECK(token(bfloat16{}, float{}) == expected);
}

}  // namespace idiolect::test
