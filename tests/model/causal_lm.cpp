// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The numbered requirements of causal_lm, each one refused to a model that lacks it, and met by
// models of the three kinds the concept is shaped for: an engine with host logits and no way back
// (recurrent), one whose logits are an Eigen matrix, and the archetype.

#include <Eigen/Core>
#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include <idiolect/idiolect.hpp>

#include "support/catch.hpp"

namespace idiolect::test {
namespace {

// Everything a causal_lm needs, as a base whose members the models below hide one at a time.
struct recurrent_model {
  [[nodiscard]] index_t vocab_size() const { return 4; }
  [[nodiscard]] index_t context_size() const { return 16; }
  stream_id open() { return 0; }
  stream_id fork(stream_id s) { return s + 1; }
  void drop(stream_id) {}
  [[nodiscard]] index_t length(stream_id) const { return 0; }
  forward_status forward(std::span<const chunk>) { return forward_status::ok; }
  [[nodiscard]] std::span<const float> logits(stream_id) const { return row; }
  [[nodiscard]] bool is_end(token_id t) const { return t == 0; }
  std::array<float, 4> row{};
};
struct eigen_model : recurrent_model {
  using rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  [[nodiscard]] const rows& logits(stream_id) const { return held; }
  bool truncate(stream_id, index_t) { return can_truncate(); }
  [[nodiscard]] bool can_truncate() const { return attention_only; }
  [[nodiscard]] index_t max_streams() const { return 8; }
  [[nodiscard]] index_t max_chunk() const { return 3; }
  static constexpr bool device_logits = true;
  bool attention_only = true;
  rows held;
};
struct silent_truncate : recurrent_model {
  void truncate(stream_id, index_t) {}  // does not say whether it did
};

struct no_vocabulary : recurrent_model {
  void vocab_size() const {}
};
struct no_context : recurrent_model {
  void context_size() const {}
};
struct no_open : recurrent_model {
  void open() {}
};
struct no_fork : recurrent_model {
  void fork(stream_id) {}
};
struct no_drop : recurrent_model {
  void drop() {}
};
struct no_length : recurrent_model {
  void length(stream_id) const {}
};
struct boolean_forward : recurrent_model {
  bool forward(std::span<const chunk>) { return true; }
};
struct no_logits : recurrent_model {
  void logits(stream_id) const {}
};
struct no_end : recurrent_model {
  void is_end(token_id) const {}
};

static_assert(causal_lm<recurrent_model> && !truncatable_lm<recurrent_model>);
static_assert(causal_lm<eigen_model> && truncatable_lm<eigen_model>);
static_assert(causal_lm<silent_truncate> && !truncatable_lm<silent_truncate>);
static_assert(!causal_lm<no_vocabulary> && !causal_lm<no_context>);             // (1)
static_assert(!causal_lm<no_open> && !causal_lm<no_fork> && !causal_lm<no_drop>);  // (2)
static_assert(!causal_lm<no_length>);                                           // (3)
static_assert(!causal_lm<boolean_forward>);                                     // (4)
static_assert(!causal_lm<no_logits>);                                           // (6)
static_assert(!causal_lm<no_end>);                                              // (7)

static_assert(tokenizer<archetype::turn_tokenizer> && chat_tokenizer<archetype::turn_tokenizer>);
static_assert(continuing_tokenizer<archetype::byte_tokenizer> &&
              !chat_tokenizer<archetype::byte_tokenizer>);
struct silent_tokenizer {
  [[nodiscard]] index_t vocab_size() const { return 1; }
  void encode(std::string_view, std::vector<token_id>&) const {}
};
static_assert(!tokenizer<silent_tokenizer>);

archetype::markov_lm cycle(index_t vocab, index_t context) {
  std::vector<float> table(static_cast<std::size_t>(vocab * vocab), 0.0F);
  for (index_t t = 0; t < vocab; ++t) {
    table[static_cast<std::size_t>(t * vocab + (t + 1) % vocab)] = 5.0F;
  }
  return {std::move(table), vocab, context, 0};
}

}  // namespace

TEST_CASE("what a model does not say of itself is taken cautiously") {
  const recurrent_model shy;
  CHECK_FALSE(model_traits<recurrent_model>::batch_invariant);
  CHECK_FALSE(model_traits<recurrent_model>::device_logits);
  CHECK_FALSE(model_traits<recurrent_model>::can_truncate(shy));
  CHECK_FALSE(model_traits<silent_truncate>::can_truncate(silent_truncate{}));
  CHECK(model_traits<recurrent_model>::max_streams(shy) == 1);
  CHECK(model_traits<recurrent_model>::free_streams(shy, 1) == 0);
  CHECK(model_traits<recurrent_model>::max_chunk(shy) == 16);
  eigen_model open;
  CHECK(model_traits<eigen_model>::can_truncate(open));
  open.attention_only = false;  // one class, and a file of the other kind
  CHECK_FALSE(model_traits<eigen_model>::can_truncate(open));
  CHECK(model_traits<eigen_model>::device_logits);
  CHECK(model_traits<eigen_model>::max_streams(open) == 8);
  CHECK(model_traits<eigen_model>::max_chunk(open) == 3);
}

TEST_CASE("the archetype gives a row for each token that asked") {
  auto m = cycle(5, 8);
  const stream_id a = m.open();
  const stream_id b = m.open();
  const std::vector<token_id> prompt{1, 2, 3};
  const std::vector<token_id> one{4};
  const std::array<chunk, 2> both{chunk{a, prompt, want_logits::all},
                                  chunk{b, one, want_logits::last}};
  REQUIRE(m.forward(both) == forward_status::ok);
  REQUIRE(m.logits(a).rows() == 3);
  REQUIRE(m.logits(b).rows() == 1);
  CHECK(m.logits(a)(0, 2) == 5.0F);
  CHECK(m.logits(a)(2, 4) == 5.0F);
  CHECK(m.logits(b)(0, 0) == 5.0F);

  const std::array<chunk, 1> silent{chunk{a, one, want_logits::none}};
  REQUIRE(m.forward(silent) == forward_status::ok);
  CHECK(m.logits(a).rows() == 0);
  CHECK(m.logits(b).rows() == 0);
  CHECK(m.length(a) == 4);
}

TEST_CASE("the archetype forks, truncates and drops streams on their own") {
  auto m = cycle(5, 8);
  const stream_id a = m.open();
  const std::vector<token_id> prompt{1, 2, 3};
  REQUIRE(m.forward(std::array{chunk{a, prompt, want_logits::last}}) == forward_status::ok);
  const stream_id b = m.fork(a);
  CHECK(m.truncate(a, 1));
  CHECK(m.free_streams() == m.max_streams() - 2);
  CHECK(m.length(a) == 1);
  CHECK(m.length(b) == 3);
  CHECK_THROWS_AS(m.truncate(a, 2), shape_error);
  m.drop(a);
  CHECK_THROWS_AS(m.length(a), backend_error);
  CHECK_THROWS_AS(m.drop(a), backend_error);
  CHECK(m.length(b) == 3);
}

TEST_CASE("what looks like a special token in a turn stays text") {
  const archetype::turn_tokenizer t;
  const std::vector<chat_turn> turns{{"user", std::string("a") + static_cast<char>(0x01) + "</s>"}};
  std::vector<token_id> tokens;
  t.encode_chat(turns, tokens);
  std::string bytes;
  for (const token_id id : tokens) t.append_piece(id, bytes);
  CHECK(bytes == "usera\x01</s>assistant");
  CHECK(std::ranges::count(tokens, t.end) == 1);
  CHECK(tokens.front() == t.begin);
  CHECK(tokens.back() == t.content);
  // An answer that was begun goes on.
  const std::vector<chat_turn> begun{{"user", "a"}, {"assistant", "b"}};
  tokens.clear();
  t.encode_chat(begun, tokens);
  CHECK(tokens.back() == 'b');
}

TEST_CASE("a forward without room changes no stream") {
  auto m = cycle(5, 4);
  const stream_id a = m.open();
  const stream_id b = m.open();
  const std::vector<token_id> three{1, 2, 3};
  const std::vector<token_id> five{1, 2, 3, 4, 0};
  const std::array<chunk, 2> both{chunk{a, three, want_logits::last},
                                  chunk{b, five, want_logits::last}};
  CHECK(m.forward(both) == forward_status::no_room);
  CHECK(m.length(a) == 0);
  CHECK(m.length(b) == 0);
}

TEST_CASE("a model's own logits score its own text through the concept") {
  auto m = cycle(4, 16);
  const stream_id s = m.open();
  const std::vector<token_id> text{0, 1, 2, 3, 0, 1};
  const std::vector<token_id> next(text.begin() + 1, text.end());
  const std::span<const token_id> given(text.data(), text.size() - 1);
  REQUIRE(m.forward(std::array{chunk{s, given, want_logits::all}}) == forward_status::ok);
  const auto scores = score(cpu{}, m.logits(s), next);
  REQUIRE(scores.size() == next.size());
  // Every row is the same up to a rotation: one logit of 5 and three of 0.
  const double z = std::log(std::exp(5.0) + 3);
  for (const auto& t : scores) {
    CHECK(t.log_prob == Catch::Approx(5.0 - z).epsilon(1e-6));
    CHECK(t.phi == Catch::Approx(5.0 - 5.0 * std::exp(5.0 - z)).epsilon(1e-5));
  }
}

}  // namespace idiolect::test
