// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Training of the tiny Llama: the backward pass against finite differences, AdamW against a plain
// version of itself, and that steps lead somewhere.

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include <idiolect/core/executor.hpp>
#include <idiolect/loss/gates.hpp>

#include "support/catch.hpp"
#include "tiny_llama/adamw.hpp"
#include "tiny_llama/training.hpp"
#include "tiny_llama/weights.hpp"

namespace {

using idiolect::index_t;
using idiolect::token_id;
namespace tl = tiny_llama;

// Odd sizes, grouped heads, and more than one layer.
tl::config small_shape(bool tied) {
  return {.dim = 24,
          .hidden_dim = 10,
          .layers = 2,
          .heads = 3 * 2,
          .kv_heads = 3,
          .vocab_size = 7,
          .context_size = 9,
          .tied = tied};
}

// Texts of different lengths, one of them empty, some rows without a target.
tl::batch small_batch(index_t vocab_size) {
  tl::batch b;
  const idiolect::philox draws{5, 1};
  std::uint64_t at = 0;
  for (const int length : {6, 1, 10, 3}) {
    std::vector<token_id> text;
    for (int i = 0; i < length; ++i) {
      text.push_back(
          static_cast<token_id>(draws.below(static_cast<std::uint64_t>(vocab_size), at++)));
    }
    b.append(text, length == 10 ? 4 : 0);
  }
  return b;
}

tl::batch random_batch(index_t vocab_size, int sequences, int length, std::uint64_t seed) {
  tl::batch b;
  for (int s = 0; s < sequences; ++s) {
    const idiolect::philox draws{seed, static_cast<std::uint64_t>(s)};
    std::vector<token_id> text = {1};
    for (int i = 0; i < length; ++i) {  // each token tells much about the next
      const auto step = draws.below(3, static_cast<std::uint64_t>(i));
      text.push_back(static_cast<token_id>((text.back() * 2 + static_cast<int>(step)) %
                                           static_cast<int>(vocab_size)));
    }
    b.append(text);
  }
  return b;
}

// Norms that are not 1 and weights large enough for every path to matter.
tl::weights<double> lively_weights(const tl::config& shape) {
  auto w = tl::random_weights<double>(shape, 3, {.embedding_deviation = 0.7, .gain = 1.5});
  const idiolect::philox draws{9, 9};
  for (const auto kind : tl::all_tensors) {
    if (!tl::is_norm(kind)) continue;
    const auto first = w.offset(kind);
    for (index_t i = first; i < first + tl::shape_of(shape, kind).size(); ++i) {
      w.flat()[static_cast<std::size_t>(i)] = 0.5 + draws.uniform(static_cast<std::uint64_t>(i));
    }
  }
  return w;
}

template <class Real>
bool same_bits(std::span<const Real> a, std::span<const Real> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

TEST_CASE("tiny llama: the backward pass agrees with finite differences", "[tiny_llama]") {
  const bool tied = GENERATE(true, false);
  CAPTURE(tied);
  const auto shape = small_shape(tied);
  auto w = lively_weights(shape);
  const auto b = small_batch(shape.vocab_size);
  tl::weights<double> gradient;
  tl::training_workspace<double> workspace;
  const idiolect::serial_executor serial;
  const auto value = [&] {
    tl::weights<double> unused;
    return tl::forward_backward(w, b, unused, workspace, idiolect::nll{}, {}, serial).loss;
  };
  tl::forward_backward(w, b, gradient, workspace, idiolect::nll{}, {}, serial);

  for (const auto kind : tl::all_tensors) {
    const auto first = static_cast<std::size_t>(w.offset(kind));
    const auto size = static_cast<std::size_t>(tl::shape_of(shape, kind).size());
    double largest = 0;
    for (std::size_t i = first; i < first + size; ++i) {
      const double kept = w.flat()[i];
      const double h = 1e-5;
      w.flat()[i] = kept + h;
      const double above = value();
      w.flat()[i] = kept - h;
      const double below = value();
      w.flat()[i] = kept;
      CAPTURE(static_cast<int>(kind), i - first);
      const double slope = (above - below) / (2 * h);
      REQUIRE_THAT(gradient.flat()[i], Catch::Matchers::WithinAbs(slope, 1e-7));
      largest = std::max(largest, std::abs(slope));
    }
    CAPTURE(static_cast<int>(kind));
    if (size > 0) CHECK(largest > 1e-3);  // or the comparison says nothing
  }
}

TEST_CASE("tiny llama: a gradient has the same bits for any number of threads", "[tiny_llama]") {
  const tl::config shape{.dim = 24, .hidden_dim = 40, .heads = 4, .kv_heads = 2, .vocab_size = 19};
  const auto w = tl::random_weights<float>(shape, 1);
  const auto b = random_batch(shape.vocab_size, 21, 37, 2);
  tl::weights<float> one;
  tl::weights<float> other;
  tl::training_workspace<float> workspace;
  const auto report =
      tl::forward_backward(w, b, one, workspace, idiolect::idft{}, {}, idiolect::serial_executor{});
  for (const int threads : {2, 3}) {
    tl::training_workspace<float> fresh;
    const auto again = tl::forward_backward(w, b, other, fresh, idiolect::idft{}, {},
                                            idiolect::thread_executor{threads});
    CHECK(again.loss == report.loss);
    CHECK(same_bits<float>(one.flat(), other.flat()));
  }
  // A workspace that another batch has been through does not matter either.
  const auto shorter = random_batch(shape.vocab_size, 3, 11, 4);
  tl::forward_backward(w, shorter, other, workspace, idiolect::idft{}, {},
                       idiolect::serial_executor{});
  tl::forward_backward(w, b, other, workspace, idiolect::idft{}, {}, idiolect::serial_executor{});
  CHECK(same_bits<float>(one.flat(), other.flat()));
}

TEST_CASE("tiny llama: a loss of the caller sees the logits and gives the gradient",
          "[tiny_llama]") {
  const auto shape = small_shape(true);
  const auto w = tl::convert<float>(lively_weights(shape));
  const auto b = small_batch(shape.vocab_size);
  tl::weights<float> gradient;
  tl::training_workspace<float> workspace;
  const auto rows = tl::forward_backward(
      w, b, gradient, workspace,
      [&](idiolect::matrix_view<float> z, std::span<const token_id> targets) {
        CHECK(z.cols() == shape.vocab_size);
        CHECK(static_cast<index_t>(targets.size()) == z.rows());
        for (index_t i = 0; i < z.rows(); ++i)
          std::fill_n(z.row(i), z.cols(), 0.0f);
        return z.rows();
      },
      idiolect::serial_executor{});
  CHECK(rows == b.rows());
  CHECK(tl::global_norm(gradient) == 0);
}

TEST_CASE("tiny llama: a batch that does not fit is refused", "[tiny_llama]") {
  const auto shape = small_shape(true);
  const auto w = tl::random_weights<float>(shape, 1);
  tl::weights<float> gradient;
  tl::training_workspace<float> workspace;
  const auto run = [&](const tl::batch& b) {
    return tl::forward_backward(w, b, gradient, workspace, idiolect::nll{}, {},
                                idiolect::serial_executor{});
  };
  tl::batch b;
  CHECK(run(b).loss == 0);
  CHECK(tl::global_norm(gradient) == 0);

  b.append(std::vector<token_id>{1, 7, 2});
  CHECK_THROWS_AS(run(b), idiolect::target_error);
  b.clear();
  b.append(std::vector<token_id>(11, 1));  // 10 rows, context 9
  CHECK_THROWS_WITH(run(b), Catch::Matchers::ContainsSubstring("10 tokens, the context 9"));
  b.clear();
  b.append(std::vector<token_id>(4, 1));
  b.offsets.back() = 2;
  CHECK_THROWS_AS(run(b), idiolect::shape_error);
  b.offsets.back() = 3;
  b.targets.pop_back();
  CHECK_THROWS_AS(run(b), idiolect::shape_error);
}

TEST_CASE("tiny llama: AdamW agrees with its definition", "[tiny_llama]") {
  const auto shape = small_shape(false);
  auto w = tl::random_weights<double>(shape, 1);
  const auto begin = w;
  tl::adamw_state<double> state;
  const tl::adamw_options options{.learning_rate = 0.02, .weight_decay = 0.3, .max_norm = 2.0};
  const auto n = static_cast<std::size_t>(w.size());
  std::vector<double> x(begin.flat().begin(), begin.flat().end());
  std::vector<double> m(n, 0);
  std::vector<double> v(n, 0);
  std::vector<bool> decays(n);
  for (const auto kind : tl::all_tensors) {
    for (index_t i = 0; i < tl::shape_of(shape, kind).size(); ++i) {
      decays[static_cast<std::size_t>(w.offset(kind) + i)] = !tl::is_norm(kind);
    }
  }
  for (int step = 1; step <= 5; ++step) {
    tl::weights<double> g(shape);
    double squares = 0;
    for (std::size_t i = 0; i < n; ++i) {  // clipped in odd steps only
      g.flat()[i] = std::sin(static_cast<double>(i) * step) * (step % 2 ? 1.0 : 0.01);
      squares += g.flat()[i] * g.flat()[i];
    }
    const double norm = std::sqrt(squares);
    CHECK_THAT(tl::adamw_step(w, g, state, options), Catch::Matchers::WithinAbs(norm, 1e-9));
    const double clip = norm > 2.0 ? 2.0 / norm : 1.0;
    for (std::size_t i = 0; i < n; ++i) {
      const double clipped = g.flat()[i] * clip;
      m[i] = 0.9 * m[i] + 0.1 * clipped;
      v[i] = 0.99 * v[i] + 0.01 * clipped * clipped;
      const double mean = m[i] / (1 - std::pow(0.9, step));
      const double square = v[i] / (1 - std::pow(0.99, step));
      if (decays[i]) x[i] -= 0.02 * 0.3 * x[i];
      x[i] -= 0.02 * mean / (std::sqrt(square) + 1e-8);
    }
  }
  for (std::size_t i = 0; i < n; ++i) {
    CAPTURE(i);
    REQUIRE_THAT(w.flat()[i], Catch::Matchers::WithinAbs(x[i], 1e-12));
  }
  auto broken = begin;
  broken.flat()[3] = std::numeric_limits<double>::quiet_NaN();
  const auto before = w;
  CHECK_FALSE(std::isfinite(tl::adamw_step(w, broken, state, options)));
  CHECK(same_bits<double>(before.flat(), w.flat()));
  CHECK(state.steps == 5);
}

TEST_CASE("tiny llama: the learning rate rises and falls as scheduled", "[tiny_llama]") {
  CHECK(tl::cosine_schedule(0, 100, 2.0) == 2.0);
  CHECK(tl::cosine_schedule(0, 100, 2.0, 4) == 0.5);
  CHECK(tl::cosine_schedule(3, 100, 2.0, 4) == 2.0);
  CHECK_THAT(tl::cosine_schedule(52, 100, 2.0, 4), Catch::Matchers::WithinAbs(1.0, 1e-12));
  CHECK_THAT(tl::cosine_schedule(100, 100, 2.0, 4, 0.1), Catch::Matchers::WithinAbs(0.2, 1e-12));
}

TEST_CASE("tiny llama: a short training reduces the loss", "[tiny_llama]") {
  const tl::config shape{.dim = 32, .hidden_dim = 48, .heads = 4, .kv_heads = 2, .vocab_size = 11};
  auto w = tl::random_weights<float>(shape, 1);
  tl::weights<float> gradient;
  tl::training_workspace<float> workspace;
  tl::adamw_state<float> state;
  tl::adamw_options options;
  double first = 0;
  double last = 0;
  constexpr index_t steps = 60;
  for (index_t step = 0; step < steps; ++step) {
    const auto b = random_batch(shape.vocab_size, 16, 24, static_cast<std::uint64_t>(step));
    last = tl::forward_backward(w, b, gradient, workspace, idiolect::nll{}, {},
                                idiolect::serial_executor{})
               .mean_nll;
    if (step == 0) first = last;
    options.learning_rate = tl::cosine_schedule(step, steps, 1e-2, 5);
    tl::adamw_step(w, gradient, state, options);
  }
  CHECK_THAT(first, Catch::Matchers::WithinAbs(std::log(11.0), 0.3));
  CHECK(last < 1.25);  // three next tokens are equally likely: log 3 = 1.10 is the floor
}

}  // namespace
