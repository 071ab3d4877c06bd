// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// A module as a causal_lm: streams, forks and cuts beside the module called directly, what it
// refuses, and texts that the decoder writes with it.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <idiolect/hinted/decoder.hpp>
#include <idiolect/hinted/lambda.hpp>
#include <idiolect/hinted/policy.hpp>
#include <idiolect/model/archetypes.hpp>

#include "support.hpp"
#include "tiny_attention.hpp"

namespace idiolect::test {
namespace {

using Catch::Matchers::ContainsSubstring;
using tokens = std::vector<token_id>;

constexpr index_t vocab = 256;

// The same module, asked for some rows alone. It counts the rows it makes.
struct frugal_attention {
  using cache = tiny_attention::cache;
  static constexpr bool batch_invariant = true;
  tiny_attention all;
  index_t rows = 0;

  torch::Tensor forward(const torch::Tensor& t, cache& c, index_t first) {
    const auto logits = all.forward(t, c).slice(1, first);
    rows += logits.size(1);
    return logits;
  }
};

// What a recurrent model says of itself.
struct uncuttable_attention : tiny_attention {
  bool truncate(cache&, index_t) { return false; }
};

using model = torch_lm<tiny_attention>;
static_assert(truncatable_lm<model> && !model_traits<model>::batch_invariant);
static_assert(causal_lm<torch_lm<frugal_attention>> && !truncatable_lm<torch_lm<frugal_attention>>);
static_assert(model_traits<torch_lm<frugal_attention>>::batch_invariant);

torch_lm_options options(index_t streams = 16) {
  return {.vocab = vocab, .context = 40, .end_tokens = {0}, .max_streams = streams};
}

template <class Model>
forward_status append(Model& m, stream_id s, const tokens& t,
                      want_logits want = want_logits::last) {
  const chunk one{s, t, want};
  return m.forward(std::span(&one, 1));
}

// The rows after each of the tokens, from one call of the module.
torch::Tensor direct(tiny_attention module, const tokens& t) {
  tiny_attention::cache c;
  const auto ids =
      at::empty({1, static_cast<index_t>(t.size())}, at::TensorOptions().dtype(at::kLong));
  std::copy(t.begin(), t.end(), static_cast<std::int64_t*>(ids.data_ptr()));
  return module.forward(ids, c).squeeze(0).to(at::kFloat);
}

template <class Model>
double distance_from(const Model& m, stream_id s, const torch::Tensor& rows) {
  const auto view = m.logits(s);
  REQUIRE(view.rows() == rows.size(0));
  REQUIRE(view.cols() == rows.size(1));
  const auto copy = rows.contiguous();
  const auto* const expected = static_cast<const float*>(copy.data_ptr());
  double worst = 0;
  for (index_t i = 0; i < view.rows(); ++i) {
    for (index_t j = 0; j < view.cols(); ++j) {
      worst = std::max(worst,
                       std::abs(static_cast<double>(view(i, j)) - expected[i * view.cols() + j]));
    }
  }
  return worst;
}

TEST_CASE("streams of a module give the module's rows") {
  const auto module = random_attention(vocab, 1);
  const tokens text{5, 9, 200, 7, 7, 31, 2, 90};
  const auto rows = direct(module, text);
  const auto check = [&](auto m) {
    const stream_id whole = m.open();
    const stream_id steps = m.open();
    REQUIRE(append(m, whole, text, want_logits::all) == forward_status::ok);
    CHECK(distance_from(m, whole, rows) < 1e-5);
    for (std::size_t i = 0; i < text.size(); ++i) {
      REQUIRE(append(m, steps, {text[i]}) == forward_status::ok);
      CHECK(distance_from(m, steps, rows.narrow(0, static_cast<index_t>(i), 1)) < 1e-5);
    }
    CHECK(m.length(steps) == 8);
    CHECK(m.logits(whole).rows() == 0);  // of the last call

    // Several streams in one call, each with its own wish.
    const stream_id fork = m.fork(whole);
    const tokens two{4, 6}, three{1, 2, 3};
    const std::vector<chunk> chunks{{whole, two, want_logits::last},
                                    {fork, three, want_logits::all},
                                    {steps, two, want_logits::none}};
    REQUIRE(m.forward(chunks) == forward_status::ok);
    tokens with_two = text, with_three = text;
    with_two.insert(with_two.end(), two.begin(), two.end());
    with_three.insert(with_three.end(), three.begin(), three.end());
    CHECK(distance_from(m, whole, direct(module, with_two).slice(0, -1)) < 1e-5);
    CHECK(distance_from(m, fork, direct(module, with_three).slice(0, -3)) < 1e-5);
    CHECK(m.logits(steps).rows() == 0);
    CHECK(m.length(steps) == 10);
    return m;
  };
  check(model(module, options()));
  auto frugal = check(torch_lm<frugal_attention>({module}, options()));
  CHECK(frugal.module().rows == 8 + 8 + 1 + 3);
}

TEST_CASE("a stream can be cut where the module can cut") {
  const auto module = random_attention(vocab, 2);
  const tokens text{5, 9, 200, 7};
  model m(module, options());
  const stream_id s = m.open();
  REQUIRE(append(m, s, text) == forward_status::ok);
  const stream_id fork = m.fork(s);
  CHECK(m.truncate(s, 2));
  CHECK(m.length(s) == 2);
  REQUIRE(append(m, s, {8}) == forward_status::ok);
  CHECK(distance_from(m, s, direct(module, {5, 9, 8}).slice(0, -1)) < 1e-5);
  REQUIRE(append(m, fork, {8}) == forward_status::ok);
  CHECK(distance_from(m, fork, direct(module, {5, 9, 200, 7, 8}).slice(0, -1)) < 1e-5);
  CHECK(m.truncate(s, 0));
  REQUIRE(append(m, s, {3}) == forward_status::ok);
  CHECK(distance_from(m, s, direct(module, {3})) < 1e-5);
  CHECK_THROWS_AS(m.truncate(s, 5), shape_error);

  torch_lm<uncuttable_attention> fixed({module}, options());
  const stream_id t = fixed.open();
  REQUIRE(append(fixed, t, text) == forward_status::ok);
  CHECK_FALSE(fixed.truncate(t, 2));
  CHECK(fixed.length(t) == 4);
  CHECK(fixed.truncate(t, 4));
}

TEST_CASE("modules of other types and devices of origin give fp32 rows") {
  const auto module = random_attention(vocab, 3, at::kDouble);
  model m(module, options());
  const stream_id s = m.open();
  REQUIRE(append(m, s, {1, 2, 3}, want_logits::all) == forward_status::ok);
  CHECK(distance_from(m, s, direct(module, {1, 2, 3})) < 1e-6);
}

// Does what it is told once, then works.
struct troubled_attention : tiny_attention {
  int calls = 0;
  int fails_at = -1;
  index_t extra_columns = 0;

  torch::Tensor forward(const torch::Tensor& t, cache& c) {
    auto logits = tiny_attention::forward(t, c);
    if (calls++ == fails_at) throw std::runtime_error("no more memory");
    return extra_columns > 0 ? at::cat({logits, logits}, 2) : logits;
  }
};

TEST_CASE("trouble leaves all streams as they were") {
  const auto module = random_attention(vocab, 4);
  torch_lm<troubled_attention> m({{module}, 0, 3}, options());
  const stream_id a = m.open(), b = m.open();
  REQUIRE(append(m, a, {1}) == forward_status::ok);
  REQUIRE(append(m, b, {2}) == forward_status::ok);
  const tokens next{3};
  const std::vector<chunk> both{{a, next}, {b, next}};
  CHECK_THROWS_WITH(m.forward(both), "no more memory");  // after the first chunk went through
  CHECK(m.length(a) == 1);
  REQUIRE(m.forward(both) == forward_status::ok);
  CHECK(distance_from(m, a, direct(module, {1, 3}).slice(0, -1)) < 1e-5);

  CHECK(append(m, a, tokens(39, 1)) == forward_status::no_room);
  CHECK(m.length(a) == 2);
  CHECK_THROWS_AS(append(m, a, {256}), target_error);
  CHECK_THROWS_AS(append(m, a, {-1}), target_error);
  CHECK_THROWS_AS(append(m, 7, {1}), backend_error);

  m.module().extra_columns = 1;
  const auto e = raised([&] { (void)append(m, a, {1}); });
  CHECK_THAT(e.what(), ContainsSubstring("[1, 1, 512]") && ContainsSubstring("[1, 1, 256]"));
  CHECK(m.length(a) == 2);

  CHECK(raised([&] { model({}, {.vocab = 0, .context = 1}); }).argument() == "vocab");
  CHECK(raised([&] { model({}, {.vocab = 1, .context = 0}); }).argument() == "context");
}

TEST_CASE("streams are counted and their numbers used again") {
  model m(random_attention(vocab, 5), options(3));
  CHECK(m.free_streams() == 3);
  const stream_id a = m.open(), b = m.open();
  const stream_id c = m.fork(b);
  CHECK(m.free_streams() == 0);
  CHECK(raised<backend_error>([&] { (void)m.open(); }).argument() == "torch_lm");
  CHECK_THROWS_AS(m.fork(a), backend_error);
  m.drop(b);
  CHECK(m.free_streams() == 1);
  CHECK_THROWS_AS(m.drop(b), backend_error);
  CHECK(m.open() == b);
  m.drop(a), m.drop(b), m.drop(c);
  CHECK(m.free_streams() == 3);
}

TEST_CASE("no graph is built") {
  auto module = random_attention(vocab, 6);
  module.head.requires_grad_(true);
  model m(module, options());
  const stream_id s = m.open();
  REQUIRE(append(m, s, {1, 2}) == forward_status::ok);
  CHECK(at::GradMode::is_enabled());
}

TEST_CASE("the decoder writes what the module says") {
  const auto module = random_attention(vocab, 7);
  const std::vector<tokens> prompts{{10, 20, 30}, {10, 20, 30, 40}, {99}};

  // Greedily, by calling the module on the whole text again and again.
  std::vector<tokens> expected;
  for (const tokens& prompt : prompts) {
    tokens text = prompt, written;
    for (int i = 0; i < 12; ++i) {
      const auto row = direct(module, text).select(0, -1);
      const auto t = static_cast<token_id>(row.argmax().item<std::int64_t>());
      written.push_back(t);
      text.push_back(t);
      if (t == 0) break;
    }
    expected.push_back(written);
  }

  // [decode]
  idiolect::torch_lm model(module, {.vocab = 256, .context = 40, .end_tokens = {0}});
  idiolect::archetype::byte_tokenizer pieces;  // yours
  idiolect::hinted_options limits;
  limits.max_tokens = 12;
  idiolect::hinted_policy policy(idiolect::cpu{}, pieces, idiolect::linear_lambda{}, limits);
  idiolect::hinted_decoder decoder(model, policy, {.shared_beginning = 2});

  std::uint64_t next = 0;
  std::vector<idiolect::decode_result> results(prompts.size());
  decoder.run(
      [&]() -> std::optional<idiolect::decode_job> {
        if (next == prompts.size()) return std::nullopt;
        idiolect::decode_job job{.record = next, .student_prompt = prompts[next], .rollout = true};
        job.rollout_sampler.temperature = 0;  // the likeliest token
        ++next;
        return job;
      },
      [&](idiolect::decode_result r) { results[r.job.record] = std::move(r); });
  // [decode]

  for (std::size_t i = 0; i < prompts.size(); ++i) {
    CHECK(results[i].text.ids == expected[i]);
  }
  CHECK(decoder.counts().shared_tokens > 0);  // through fork
  CHECK(model.free_streams() == model.max_streams());
}

}  // namespace
}  // namespace idiolect::test
