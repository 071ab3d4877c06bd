// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Generation with many streams: the same text as one by one, every way to stop, and samples that
// the model itself finds in its own distribution.

#include <cmath>
#include <vector>

#include <idiolect/model/archetypes.hpp>

#include "support/catch.hpp"
#include "tiny_llama/generate.hpp"
#include "tiny_llama/model.hpp"

namespace {

using idiolect::index_t;
using idiolect::token_id;
namespace tl = tiny_llama;

using tokens = std::vector<token_id>;

const tl::config shape{
    .dim = 24, .hidden_dim = 40, .heads = 4, .kv_heads = 2, .vocab_size = 17, .context_size = 40};

tl::weights<float> weights() {
  return tl::random_weights<float>(shape, 5, {.embedding_deviation = 0.4, .gain = 1.0});
}

std::vector<tokens> prompts_of(std::size_t count) {
  std::vector<tokens> prompts;
  for (std::size_t i = 0; i < count; ++i) {
    tokens prompt = {1};
    for (std::size_t k = 0; k < i % 9; ++k)
      prompt.push_back(static_cast<token_id>(3 + (i + k) % 14));
    prompts.push_back(prompt);
  }
  return prompts;
}

TEST_CASE("tiny llama: a record's text does not depend on the others", "[tiny_llama]") {
  const auto prompts = prompts_of(40);
  const tl::generation_options alone{.max_tokens = 25, .seed = 3, .streams = 1};
  tl::model<float> m(weights());
  const auto expected = tl::generate(m, prompts, alone);
  REQUIRE(expected.size() == prompts.size());
  index_t ended = 0;
  for (const auto& g : expected)
    ended += g.stop == tl::generation_stop::end;
  CHECK(ended > 5);
  CHECK(ended < 40);

  for (const index_t streams : {7, 64}) {
    for (const index_t max_chunk : {5, 1000}) {  // prompts are read in pieces, or at once
      CAPTURE(streams, max_chunk);
      auto options = alone;
      options.streams = streams;
      tl::model<float> fresh(weights(), {.max_streams = 12, .max_chunk = max_chunk});
      const auto again = tl::generate(fresh, prompts, options);
      for (std::size_t i = 0; i < prompts.size(); ++i) {
        CAPTURE(i);
        CHECK(again[i].tokens == expected[i].tokens);
        CHECK(again[i].stop == expected[i].stop);
      }
    }
  }
  auto later = alone;
  later.first_record = 30;
  const auto tail = tl::generate(m, std::span(prompts).subspan(30), later);
  CHECK(tail[4].tokens == expected[34].tokens);
  auto other = alone;
  other.seed = 4;
  CHECK(tl::generate(m, prompts, other)[0].tokens != expected[0].tokens);
}

TEST_CASE("tiny llama: generation stops for a reason", "[tiny_llama]") {
  tl::model<float> m(weights(), {.end_tokens = {}});
  const std::vector<tokens> prompts = {{1, 5, 6}};
  const auto run = [&](index_t most) {
    return tl::generate(m, prompts, {.max_tokens = most}).front();
  };
  CHECK(run(7).tokens.size() == 7);
  CHECK(run(7).stop == tl::generation_stop::max_tokens);
  CHECK(run(1000).tokens.size() == 38);  // 40 read, and one drawn after the last
  CHECK(run(1000).stop == tl::generation_stop::context_full);
  CHECK(m.open() == 0);  // all streams were given back

  const std::vector<tokens> empty = {{1}, {}};
  CHECK_THROWS_AS(tl::generate(m, empty), idiolect::shape_error);
  const std::vector<tokens> endless = {tokens(41, 1)};
  CHECK_THROWS_AS(tl::generate(m, endless), idiolect::shape_error);

  tl::model<float> small(weights(), {.cache_tokens = 32, .end_tokens = {}});
  CHECK_THROWS_AS(tl::generate(small, prompts_of(9)), idiolect::backend_error);
  CHECK(small.open() == 0);  // also after an error

  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  idiolect::archetype::markov_lm broken({0, nan, 0, 0}, 2, 9, 1);
  const std::vector<tokens> one = {{0}};
  CHECK(tl::generate(broken, one).front().stop == tl::generation_stop::not_finite);
}

TEST_CASE("tiny llama: greedy generation takes the largest logit", "[tiny_llama]") {
  tl::model<float> m(weights());
  const std::vector<tokens> prompts = {{1, 9, 4}};
  const auto g = tl::generate(m, prompts, {.sampler = {.temperature = 0}, .max_tokens = 20});
  tokens text = prompts.front();
  for (const token_id t : g.front().tokens) {
    const auto s = m.open();
    const idiolect::chunk all{s, text};
    REQUIRE(m.forward({&all, 1}) == idiolect::forward_status::ok);
    const auto z = m.logits(s);
    CHECK(std::max_element(z.row(0), z.row(0) + z.cols()) - z.row(0) == t);
    m.drop(s);
    text.push_back(t);
  }
}

TEST_CASE("tiny llama: own samples have a CLL of zero mean", "[tiny_llama]") {
  tl::model<float> m(weights());
  const std::vector<tokens> prompts(400, tokens{1});
  const auto texts = tl::generate(m, prompts, {.max_tokens = 30, .seed = 8});
  double phi = 0;
  double variance = 0;
  for (const auto& g : texts) {
    tokens text = {1};
    text.insert(text.end(), g.tokens.begin(), g.tokens.end());
    const auto s = m.open();
    const idiolect::chunk all{s, std::span(text).first(text.size() - 1),
                              idiolect::want_logits::all};
    REQUIRE(m.forward({&all, 1}) == idiolect::forward_status::ok);
    const auto z = m.logits(s);
    for (index_t i = 0; i < z.rows(); ++i) {
      double total = 0;
      double mean = 0;
      double square = 0;
      for (index_t j = 0; j < z.cols(); ++j) {
        const double e = std::exp(static_cast<double>(z(i, j)));
        total += e;
        mean += e * z(i, j);
        square += e * z(i, j) * z(i, j);
      }
      mean /= total;
      phi += z(i, text[static_cast<std::size_t>(i) + 1]) - mean;
      variance += square / total - mean * mean;
    }
    m.drop(s);
  }
  CHECK(std::abs(phi) < 3 * std::sqrt(variance));
  CHECK(variance > 100);
}

}  // namespace
