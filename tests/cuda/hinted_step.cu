// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Hinted decoding on a device beside the host's policy, with the same rows: one step over rows of
// every type, and whole texts.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <idiolect/backend/cuda/hinted_policy.cuh>
#include <idiolect/backend/cuda/hinted_step.cuh>
#include <idiolect/backend/reference/reference.hpp>
#include <idiolect/hinted/decoder.hpp>
#include <idiolect/hinted/mixture.hpp>
#include <idiolect/hinted/policy.hpp>
#include <idiolect/stats/sampling.hpp>

#include "cuda/support.hpp"
#include "hinted/hash_lm.hpp"
#include "hinted/settings.hpp"
#include "support/rows.hpp"

namespace idiolect::test {
namespace {

constexpr double close_enough = 1e-5;  // statistics in single precision

/// Requests over rows drawn at random, on the host and on the device.
template <class T>
struct problem {
  index_t vocab;
  std::vector<std::vector<T>> rows;
  std::vector<device_array<T>> device_rows;
  std::vector<hinted_request<T>> requests;
  std::vector<hinted_request<T>> device_requests;

  /// A row that begins `shift` elements behind an aligned place. Returns both pointers.
  std::pair<const T*, const T*> add(const row_values& values, index_t shift) {
    auto row = stored<T>(values);
    row.insert(row.begin(), static_cast<std::size_t>(shift), T{});
    rows.push_back(std::move(row));
    device_rows.emplace_back(rows.back());
    return {rows.back().data() + shift, device_rows.back().data() + shift};
  }
};

template <class T>
problem<T> random_problem(index_t vocab, index_t requests, std::uint64_t seed) {
  random_source random(seed);
  problem<T> p{vocab, {}, {}, {}, {}};
  p.rows.reserve(static_cast<std::size_t>(2 * requests));
  for (index_t k = 0; k < requests; ++k) {
    const double scale = std::exp(random.uniform(-1, 1.5));
    auto teacher = gaussian_row(vocab, scale, random.bits(), random.uniform(-20, 20));
    auto student = gaussian_row(vocab, scale, random.bits(), random.uniform(-20, 20));
    for (std::size_t i = 0; i < teacher.size(); ++i) student[i] = (student[i] + teacher[i]) / 2;
    if (random.below(8) == 0) {  // masked
      for (std::size_t i = 1; i < teacher.size(); i += 2) {
        (random.below(2) == 0 ? teacher : student)[i] = -infinity;
      }
    }
    if (random.below(16) == 0) teacher[teacher.size() / 2] = not_a_number;
    if (random.below(16) == 0) student[student.size() / 3] = infinity;
    hinted_request<T> r;
    r.size = vocab;
    r.place = k;
    r.record = random.bits();
    r.position = static_cast<std::uint64_t>(random.below(5));
    r.sampler = random_sampler(random);
    const index_t kind = random.below(12);
    r.student_only = kind > 9;
    if (kind == 0) r.task = hinted_task::greedy;
    if (kind == 1) r.task = hinted_task::student_score;
    r.token = static_cast<token_id>(random.below(vocab));
    hinted_request<T> d = r;
    if (!r.student_only) std::tie(r.teacher, d.teacher) = p.add(teacher, random.below(9));
    if (kind != 2) std::tie(r.student, d.student) = p.add(student, random.below(9));
    p.requests.push_back(r);
    p.device_requests.push_back(d);
  }
  return p;
}

/// Requests, answers and workspace on the device.
template <class T>
struct device_step {
  explicit device_step(const problem<T>& p)
      : vocab(p.vocab),
        requests(p.device_requests),
        answers(requests.size()),
        workspace(static_cast<index_t>(hinted_workspace_bytes<T>(requests.size(), vocab, true))) {}

  template <class Schedule>
  void enqueue(const hinted_rule<Schedule>& rule, cudaStream_t stream = nullptr) const {
    const idiolect::cuda where{stream, {workspace.data(), workspace.bytes()}};
    hinted_step(where, requests.data(), answers.data(), requests.size(), requests.size(), vocab,
                rule, true);
  }

  index_t vocab;
  device_array<hinted_request<T>> requests;
  device_array<hinted_answer> answers;
  device_array<unsigned char> workspace;
};

/// How far the draw lies from the numbers that give `token`, in the distribution drawn from.
template <class T>
double distance_of(const hinted_request<T>& r, double lambda, double u, token_id token) {
  std::vector<double> m;
  double teacher_max = -infinity;
  double student_max = -infinity;
  for (index_t i = 0; i < r.size; ++i) {
    if (r.teacher != nullptr) teacher_max = std::max(teacher_max, double{load(r.teacher[i])});
    if (r.student != nullptr) student_max = std::max(student_max, double{load(r.student[i])});
  }
  const mixed_logit<T, T> mix{teacher_max, student_max, lambda};
  for (index_t i = 0; i < r.size; ++i) {
    m.push_back(lambda == 0   ? double{load(r.teacher[i])}
                : lambda == 1 ? double{load(r.student[i])}
                              : double{mix(r.teacher[i], r.student[i])});
  }
  const auto d = sampled_distribution(m.data(), r.size, r.sampler);
  double before = 0;
  for (std::size_t i = 0; i < d.tokens.size(); ++i) {
    if (d.tokens[i] == token) return std::max({0.0, before - u, u - (before + d.probs[i])});
    before += d.probs[i];
  }
  return infinity;
}

bool near(double a, double b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return a == b || std::abs(a - b) <= close_enough * std::max(1.0, std::abs(b));
}

template <class T>
void compare_steps(index_t vocab, index_t count, index_t& draws, index_t& others) {
  const auto p = random_problem<T>(vocab, count, static_cast<std::uint64_t>(vocab));
  const scrap_tokenizer pieces(1, 1);
  hinted_options options;
  options.seed = 5;
  const hinted_policy policy(reference{}, pieces, any_lambda(linear_lambda{.beta = 1.2}), options);
  const device_step<T> device(p);
  device.enqueue(policy.rule());
  const auto found = device.answers.download();
  typename decltype(policy)::scratch memory;
  for (std::size_t k = 0; k < found.size(); ++k) {
    const auto& r = p.requests[k];
    const hinted_answer expected = policy.answer(r, memory);
    const hinted_answer& a = found[k];
    INFO("request " << k << " of " << vocab << " logits, " << sizeof(T) << " bytes each");
    REQUIRE(a.status == expected.status);
    if (a.status != hinted_status::ok) continue;
    if (r.task == hinted_task::greedy) CHECK(a.token.token == expected.token.token);
    if (r.task == hinted_task::next_token) {
      CHECK(near(a.token.lambda, expected.token.lambda));
      ++draws;
      if (a.token.token != expected.token.token) {
        ++others;
        const double u = policy.rule().draw(r.record, r.position);
        CHECK(distance_of(r, a.token.lambda, u, a.token.token) < 1e-6);
        continue;  // its scores are of another token
      }
      CHECK(near(a.token.teacher_log_prob, expected.token.teacher_log_prob));
    }
    const token_score& x = a.token.student;
    const token_score& y = expected.token.student;
    CHECK(x.status == y.status);
    CHECK(near(x.log_prob, y.log_prob));
    CHECK(near(x.entropy, y.entropy));
    CHECK(near(x.varentropy, y.varentropy));
    CHECK(near(x.phi, y.phi));
  }
}

/// A hash_lm whose logits are on the device.
class device_hash_lm : public hash_lm {
 public:
  using hash_lm::hash_lm;
  static constexpr bool device_logits = true;

  // Waits for what reads the rows before, as cudaFree does.
  [[nodiscard]] matrix_view<const float> logits(stream_id s) const {
    const auto rows = hash_lm::logits(s);
    memory_[s] = std::make_unique<device_matrix<float>>(
        std::vector<float>(rows.data(), rows.data() + rows.rows() * rows.cols()), rows.rows(),
        rows.cols(), placement{.padding = (4 - rows.cols() % 4) % 4});
    return memory_[s]->input();
  }

 private:
  mutable std::map<stream_id, std::unique_ptr<device_matrix<float>>> memory_;
};

outcome decode_on_device(const setting& s, decoder_options options) {
  device_hash_lm model(s.model);
  const scrap_tokenizer tokenizer(s.model.vocab, s.tokenizer_seed);
  const hinted_options& decoding = s.options;
  const any_lambda schedule = s.schedule;
  const cudaStream_t stream = nullptr;
  // [device_decoding]
  // `model` has `static constexpr bool device_logits = true;` and enqueues its work on `stream`.
  using policy_type = idiolect::cuda_hinted_policy<float, scrap_tokenizer, idiolect::any_lambda>;
  idiolect::hinted_capacity capacity{.parallel = options.parallel, .vocab = model.vocab_size()};
  capacity.deferred = options.defer_student;
  idiolect::device_workspace workspace{nullptr, policy_type::workspace_bytes(capacity)};
  idiolect::check(cudaMalloc(&workspace.data, workspace.bytes), "workspace");

  idiolect::cuda where{stream, workspace};
  const policy_type policy(where, tokenizer, schedule, decoding, capacity);
  // idiolect::hinted_decoder decoder(model, policy, options), as with a policy on the host
  // [device_decoding]
  const auto found = decode_with(model, policy, s, std::move(options));
  check(cudaFree(workspace.data), "workspace");
  return found;
}

}  // namespace

TEST_CASE("steps on a device are the host's") {
  if (no_device()) return;
  index_t draws = 0;
  index_t others = 0;
  for (const index_t vocab : {1, 2, 37, 1000, 4096, 32'001, 151'936}) {
    const index_t count = vocab > 5000 ? 24 : 96;
    compare_steps<bfloat16>(vocab, count, draws, others);
    compare_steps<half>(vocab, count, draws, others);
    compare_steps<float>(vocab, count, draws, others);
    compare_steps<double>(vocab, count, draws, others);
  }
  std::cout << "steps on a device: " << others << " of " << draws
            << " tokens differ from the host's, each within 1e-6 of a border\n";
  CHECK(others * 100 < draws);
}

TEST_CASE("a captured step gives the same bits at every replay") {
  if (no_device()) return;
  const auto p = random_problem<bfloat16>(32'000, 40, 3);
  const device_step<bfloat16> device(p);
  const hinted_rule<linear_lambda> rule{.schedule = {.beta = 1.2}};
  device.enqueue(rule);
  const auto expected = device.answers.download();
  const test_stream stream;
  const captured_graph graph(stream.get(), [&] { device.enqueue(rule, stream.get()); });
  for (int round = 0; round < 3; ++round) {
    graph.replay();
    const auto found = device.answers.download();
    for (std::size_t k = 0; k < found.size(); ++k) {
      CHECK(found[k].status == expected[k].status);
      CHECK(found[k].token.token == expected[k].token.token);
      const auto same = [](double x, double y) { return std::memcmp(&x, &y, sizeof x) == 0; };
      CHECK(same(found[k].token.lambda, expected[k].token.lambda));
      CHECK(same(found[k].token.student.phi, expected[k].token.student.phi));
      CHECK(same(found[k].token.student.varentropy, expected[k].token.student.varentropy));
    }
  }
}

TEST_CASE("texts decoded on a device are the plain decoder's and depend on nothing in flight") {
  if (no_device()) return;
  index_t texts = 0;
  index_t different = 0;
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    const setting s = random_setting(seed, 12);
    INFO("setting " << seed);
    const auto found = decode_on_device(s, {.parallel = 7});
    CHECK(difference(decode_on_device(s, {.parallel = 1}), found) == "");
    CHECK(difference(decode_on_device(s, {.parallel = 16, .defer_student = true, .max_lag = 4}),
                     found) == "");
    for (const auto& [record, expected] : decode_plainly(s, 1e-4)) {
      ++texts;
      const std::string wrong = difference(found.results.at(record), expected, close_enough);
      if (wrong.empty()) continue;
      INFO("record " << record << " differs in " << wrong);
      CHECK(expected.near_tie);
      ++different;
    }
  }
  std::cout
      << "texts on a device: " << different << " of " << texts
      << " differ from the plain decoder's, each with a draw or a cut within 1e-4 of another\n";
}

TEST_CASE("what a policy on a device has no memory for is named") {
  if (no_device()) return;
  const scrap_tokenizer pieces(10, 1);
  using policy_type = cuda_hinted_policy<float, scrap_tokenizer, linear_lambda>;
  const hinted_capacity capacity{.parallel = 2, .vocab = 10};
  const device_array<unsigned char> workspace(
      static_cast<index_t>(policy_type::workspace_bytes(capacity)));
  const auto argument = [&](device_workspace w, hinted_capacity c, auto&& f) {
    try {
      const policy_type policy({nullptr, w}, pieces, linear_lambda{}, {}, c);
      hinted_answer a;
      hinted_request<float> r;
      r.size = 10;
      const device_array<float> row(std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
      r.teacher = row.data();
      r.position = 1;
      f(r);
      policy.answer({&r, 1}, {&a, 1});
    } catch (const error& e) {
      return e.argument();
    }
    return std::string("nothing");
  };
  const device_workspace whole{workspace.data(), workspace.bytes()};
  const auto with_student = [](auto& r) { r.student = r.teacher; };
  CHECK(argument(whole, capacity, with_student) == "nothing");
  CHECK(argument({whole.data, whole.bytes - 1}, capacity, with_student) == "workspace");
  CHECK(argument(whole, {.parallel = 2}, with_student) == "hinted_capacity");
  CHECK(argument(whole, capacity, [](auto&) {}) == "hinted_capacity::deferred");
  CHECK(argument(whole, capacity, [&](auto& r) { with_student(r), r.place = 2; }) ==
        "hinted_capacity::parallel");
  CHECK(argument(whole, capacity, [&](auto& r) { with_student(r), r.size = 11; }) ==
        "hinted_capacity::vocab");
}

}  // namespace idiolect::test
