// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The code of docs/guide, region by region.

#include <Eigen/Core>
#include <cmath>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <idiolect/idiolect.hpp>

#include "support/catch.hpp"

namespace {

using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

matrix some_logits(int rows, int vocab) {
  matrix z(rows, vocab);
  const idiolect::philox random{.seed = 7};
  for (int i = 0; i < z.size(); ++i) {
    z.data()[i] = static_cast<float>(6 * random.uniform(static_cast<std::uint64_t>(i)));
  }
  return z;
}

}  // namespace

TEST_CASE("guide: score") {
  const matrix logits = some_logits(3, 50);
  std::ostringstream out;
  // [score]
  std::vector<int> targets = {3, 14, 15};  // row i of the logits predicts targets[i]
  std::vector<idiolect::token_score> tokens = idiolect::score(idiolect::cpu{}, logits, targets);
  for (const auto& t : tokens)
    out << t.log_prob << " + " << t.entropy << " = " << t.phi << " nats\n";

  idiolect::sequence_score text = idiolect::score_sequence(tokens);
  out << "mean phi " << text.mean_phi() << ", z " << text.z() << ", p " << text.p_value() << '\n';
  // [score]
  CHECK(tokens[1].phi == Catch::Approx(tokens[1].log_prob + tokens[1].entropy));
  CHECK(out.str().find("nats") != std::string::npos);
}

TEST_CASE("guide: score text that a sampler wrote") {
  const matrix logits = some_logits(3, 50);
  const std::vector<int> targets = {3, 14, 15};
  // [sampler]
  idiolect::score_options options;
  options.sampler = idiolect::sampler_options{.temperature = 0.3, .top_p = 0.95};
  auto tokens = idiolect::score(idiolect::cpu{}, logits, targets, options);
  // [sampler]
  const auto plain = idiolect::score(idiolect::cpu{}, logits, targets);
  CHECK(tokens[0].log_prob == plain[0].log_prob);
  CHECK(tokens[0].phi < plain[0].phi);
}

TEST_CASE("guide: views") {
  // [views]
  std::vector<float> memory(4 * 64);                             // any row-major memory,
  idiolect::matrix_view<float> padded(memory.data(), 4, 50, 64);  // 50 columns, rows 64 apart
  matrix eigen(4, 50);                                           // row-major Eigen, as it is
  Eigen::MatrixXf columns(50, 4);                                // Eigen's default: one column a token
  auto as_rows = idiolect::columns_as_rows(columns);
  // [views]
  CHECK(idiolect::view(eigen).data() == eigen.data());
  CHECK(padded.row(1) == memory.data() + 64);
  CHECK(as_rows.rows() == 4);
  CHECK(as_rows.data() == columns.data());
}

TEST_CASE("guide: train") {
  const matrix logits = some_logits(6, 50);
  const std::vector<int> targets = {1, 2, 3, 4, -100, 6};
  const long tokens_in_the_step = 5;
  const double progress = 0.5;
  // [train]
  idiolect::linear_schedule schedule{.warmup = 0.1, .transition = 0.2};  // fractions of training
  idiolect::idft loss{.strength = schedule(progress)};                   // progress from 0 to 1

  idiolect::loss_options options;
  options.reduce = idiolect::reduction::mean_over(tokens_in_the_step);
  options.accumulate = true;  // several micro-batches, one gradient
  matrix gradient = matrix::Zero(logits.rows(), logits.cols());
  auto report = idiolect::loss_and_gradient(idiolect::cpu{}, logits, targets, loss, gradient, options);
  // [train]
  CHECK(report.valid == 5);
  CHECK(loss.strength == 1.0);
  CHECK(gradient.row(4).isZero());
  CHECK(gradient.row(0).sum() == Catch::Approx(0).margin(1e-6));
}

TEST_CASE("guide: keep the closing tokens alive") {
  const matrix logits = some_logits(2, 50);
  const std::vector<int> targets = {7, 2};
  // [protect]
  const idiolect::token_id end_of_sequence = 2;
  auto loss = idiolect::protect({end_of_sequence}, 1.0, idiolect::idft{});

  idiolect::loss_options options;
  options.end_tokens = std::span(&end_of_sequence, 1);
  auto report = idiolect::loss(idiolect::cpu{}, logits, targets, loss, options);
  double p_end = report.end_prob.mean;  // watch it: an answer that cannot close is no answer
  // [protect]
  CHECK(p_end > 0);
  CHECK(report.weight.max == Catch::Approx(1));
}

// [own_gate]
struct confident_only {  // train a token only where the model's entropy is below a bound
  double bound = 1.0;    // nats

  template <class Stats>
  IDIOLECT_HD typename Stats::real weight(const Stats& s) const {
    return s.entropy() < bound ? 1 : 0;
  }
};
// [own_gate]

// [own_loss]
struct nll_with_z_loss {  // f = -log p + k lse^2, which keeps the logits from drifting
  double k = 1e-4;

  template <std::floating_point Real, idiolect::moments Set>
  IDIOLECT_HD idiolect::loss_terms<Real> evaluate(const idiolect::row_stats<Real, Set>& s) const {
    const Real lse = s.lse();
    return {.value = -s.log_prob() + static_cast<Real>(k) * lse * lse,
            .a = 1,                                    // -df/dl
            .b = 0,                                    // -df/dH
            .c = 2 * static_cast<Real>(k) * lse};      // df/dlse
  }
};
// [own_loss]

TEST_CASE("guide: a gate and a loss of one's own") {
  const matrix logits = some_logits(3, 50);
  const std::vector<int> targets = {3, 14, 15};
  // [use_own]
  auto gated = idiolect::loss(idiolect::cpu{}, logits, targets, confident_only{.bound = 0.5});
  auto free = idiolect::loss(idiolect::cpu{}, logits, targets, nll_with_z_loss{});
  auto quick = idiolect::loss(idiolect::cpu{}, logits, targets,
                              [](const auto& s) { return s.phi() > -3 ? 1.0 : 0.1; });
  // [use_own]
  static_assert(idiolect::gate<confident_only> && idiolect::token_loss<nll_with_z_loss>);
  CHECK(gated.loss == 0);  // these rows are far less sure than half a nat
  CHECK(free.loss > idiolect::loss(idiolect::cpu{}, logits, targets, idiolect::nll{}).loss);
  CHECK(quick.loss > 0);
}

TEST_CASE("guide: executors") {
  const matrix logits = some_logits(64, 50);
  const std::vector<int> targets(64, 3);
  // [executor]
  auto serial = idiolect::loss(idiolect::cpu{}, logits, targets, idiolect::idft{});

  idiolect::thread_executor pool(2);  // make it once; copies share its threads
  auto threaded = idiolect::loss(idiolect::cpu{pool}, logits, targets, idiolect::idft{});

  // The host's own pool: anything that calls f(0), ..., f(n - 1) and returns when all are done.
  auto mine = idiolect::executor_from{[](std::int64_t n, auto&& f) {
    std::thread half([&] { for (std::int64_t i = 0; i < n / 2; ++i) f(i); });
    for (std::int64_t i = n / 2; i < n; ++i) f(i);
    half.join();
  }};
  auto hosted = idiolect::loss(idiolect::cpu{mine}, logits, targets, idiolect::idft{});
  // [executor]
  CHECK(serial.loss == threaded.loss);  // the same bits, not nearly the same
  CHECK(serial.loss == hosted.loss);
}

TEST_CASE("guide: errors") {
  const matrix logits = some_logits(3, 50);
  std::string message;
  // [errors]
  try {
    (void)idiolect::loss(idiolect::cpu{}, logits, std::vector<int>{3, 50, 15}, idiolect::nll{});
  } catch (const idiolect::target_error& e) {
    message = e.what();  // idiolect: targets (row 1): target 50 is outside the vocabulary of 50 ...
  }
  // [errors]
  CHECK(message.find("targets (row 1): target 50 is outside the vocabulary of 50") !=
        std::string::npos);
}

TEST_CASE("guide: a model through the concept") {
  // [model]
  std::vector<float> table(16, 0.0F);  // stands for your model's weights
  idiolect::archetype::markov_lm model(table, /*vocab=*/4, /*context=*/32, /*end=*/0);
  static_assert(idiolect::causal_lm<idiolect::archetype::markov_lm>);

  idiolect::stream_id stream = model.open();
  std::vector<idiolect::token_id> text = {1, 2, 3, 1};
  idiolect::chunk all_but_last{stream, std::span(text).first(3), idiolect::want_logits::all};
  if (model.forward(std::span(&all_but_last, 1)) == idiolect::forward_status::ok) {
    auto tokens = idiolect::score(idiolect::cpu{}, model.logits(stream), std::span(text).last(3));
    // [model]
    REQUIRE(tokens.size() == 3);
    CHECK(tokens[0].phi == Catch::Approx(0).margin(1e-12));  // a uniform row: every token is average
  } else {
    FAIL();
  }
}

TEST_CASE("guide: hinted decoding in a loop of one's own") {
  const idiolect::archetype::byte_tokenizer tokenizer;
  const matrix teacher_rows = some_logits(8, 256);
  const matrix student_rows = some_logits(8, 256);
  const auto teacher_logits = [&](std::size_t i) { return std::span(teacher_rows.row(static_cast<int>(i)).data(), 256); };
  const auto student_logits = [&](std::size_t i) { return std::span(student_rows.row(static_cast<int>(i)).data(), 256); };
  // [engine]
  idiolect::hinted_options options;  // temperature 0.3 after top-p 0.95, as the authors' demo
  options.delimiter = "####";        // from here on the student answers alone
  options.end_tokens = {2};
  options.max_tokens = 8;
  idiolect::hinted_policy policy(idiolect::cpu{}, tokenizer, idiolect::linear_lambda{.beta = 3}, options);

  decltype(policy)::scratch memory;
  idiolect::hinted_state text = policy.start(/*record=*/17);  // keys its random numbers, with the seed
  while (text.stop == idiolect::stop_reason::none) {
    // Your engine: the last row of each context. Both then take text.ids.back().
    std::span<const float> teacher = teacher_logits(text.tokens.size());
    std::span<const float> student = student_logits(text.tokens.size());
    policy.step(text, teacher, student, memory);
  }
  // text.bytes, text.stop, and for each of text.tokens: lambda, both log-probabilities, phi, who led
  // [engine]
  CHECK(text.tokens.size() <= 8);
  CHECK(text.stop != idiolect::stop_reason::none);
  CHECK(text.tokens[0].lambda == 0);  // the first token is the teacher's
}
