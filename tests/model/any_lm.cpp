// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// any_lm and any_tokenizer say and do what the object behind them says and does, whoever owns it.

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <idiolect/idiolect.hpp>
#include <idiolect/model/any_lm.hpp>

#include "support/catch.hpp"

namespace idiolect::test {
namespace {

archetype::markov_lm table(index_t context = 8) {
  std::vector<float> logits(25);
  for (std::size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>((7 * i) % 11);
  return {std::move(logits), 5, context, 4};
}

/// A model that says nothing of itself and has no way back; counts the calls it gets.
struct quiet_lm {
  [[nodiscard]] index_t vocab_size() const { return 3; }
  [[nodiscard]] index_t context_size() const { return 16; }
  stream_id open() {
    require<backend_error>(opened < 1, "quiet_lm", "no stream is free");
    return opened++;
  }
  stream_id fork(stream_id) { return open(); }
  void drop(stream_id) { --opened; }
  [[nodiscard]] index_t length(stream_id) const { return held; }
  forward_status forward(std::span<const chunk> chunks) {
    ++calls;
    if (chunks.size() > 1) return forward_status::aborted;
    held += static_cast<index_t>(chunks[0].tokens.size());
    return forward_status::ok;
  }
  [[nodiscard]] std::span<const float> logits(stream_id) const { return row; }
  [[nodiscard]] bool is_end(token_id t) const { return t > 0; }

  std::array<float, 3> row{1, 2, 3};
  stream_id opened = 0;
  index_t held = 0;
  int calls = 0;
};

/// What a model says of itself at run time goes before what its type says.
struct stuck_lm : quiet_lm {
  bool truncate(stream_id, index_t) { return false; }
  [[nodiscard]] bool can_truncate() const { return false; }
  [[nodiscard]] index_t max_streams() const { return 9; }
  [[nodiscard]] index_t free_streams() const { return 5; }
  [[nodiscard]] index_t max_chunk() const { return 2; }
};

struct device_lm : quiet_lm {
  static constexpr bool device_logits = true;
};
struct double_lm : quiet_lm {
  [[nodiscard]] std::span<const double> logits(stream_id) const { return {}; }
};

static_assert(std::constructible_from<any_lm, quiet_lm>);
static_assert(std::constructible_from<any_lm, std::reference_wrapper<quiet_lm>>);
static_assert(std::constructible_from<any_lm, std::shared_ptr<quiet_lm>>);
static_assert(!std::constructible_from<any_lm, quiet_lm&>);  // a copy nobody asked for
static_assert(!std::constructible_from<any_lm, device_lm> &&
              !std::constructible_from<any_lm, double_lm>);
static_assert(!std::constructible_from<any_lm, int> && !std::copy_constructible<any_lm>);

using traits = model_traits<any_lm>;

}  // namespace

TEST_CASE("any_lm: what a model says of itself") {
  const any_lm quiet{quiet_lm{}};
  CHECK(quiet.vocab_size() == 3);
  CHECK(quiet.context_size() == 16);
  CHECK(quiet.is_end(1));
  CHECK_FALSE(quiet.is_end(0));
  CHECK(traits::max_streams(quiet) == 1);
  CHECK(traits::max_chunk(quiet) == 16);
  CHECK_FALSE(traits::can_truncate(quiet));
  CHECK_FALSE(quiet.invariant_rows());

  const any_lm stuck{stuck_lm{}};
  CHECK(traits::max_streams(stuck) == 9);
  CHECK(traits::free_streams(stuck, 0) == 5);
  CHECK(traits::max_chunk(stuck) == 2);
  CHECK_FALSE(traits::can_truncate(stuck));

  const any_lm archetype{table()};
  CHECK(traits::max_streams(archetype) == 64);
  CHECK(traits::can_truncate(archetype));
  CHECK(archetype.invariant_rows());
  CHECK_FALSE(traits::batch_invariant);  // the type itself promises nothing
}

TEST_CASE("any_lm: the streams that a model does not count are counted") {
  any_lm m{quiet_lm{}};
  CHECK(traits::free_streams(m, 0) == 1);
  const stream_id s = m.open();
  CHECK(traits::free_streams(m, 1) == 0);
  CHECK_THROWS_AS(m.open(), backend_error);
  CHECK_THROWS_AS(m.fork(s), backend_error);
  m.drop(s);
  CHECK(traits::free_streams(m, 0) == 1);
}

TEST_CASE("any_lm: streams, logits and errors are the model's") {
  auto plain = table();
  any_lm any{table()};
  const std::vector<token_id> text{1, 3, 2};
  const stream_id a = plain.open();
  const stream_id b = any.open();
  REQUIRE(plain.forward(std::array{chunk{a, text, want_logits::all}}) == forward_status::ok);
  REQUIRE(any.forward(std::array{chunk{b, text, want_logits::all}}) == forward_status::ok);
  const auto rows = any.logits(b);
  REQUIRE(rows.rows() == 3);
  REQUIRE(rows.cols() == 5);
  for (index_t i = 0; i < 3; ++i) {
    for (index_t j = 0; j < 5; ++j) CHECK(rows(i, j) == plain.logits(a)(i, j));
  }

  const stream_id copy = any.fork(b);
  CHECK(any.truncate(b, 1));
  CHECK(any.length(b) == 1);
  CHECK(any.length(copy) == 3);
  CHECK_THROWS_AS(any.truncate(b, 2), shape_error);
  any.drop(b);
  CHECK_THROWS_AS(any.length(b), backend_error);
  const std::vector<token_id> foreign{5};
  CHECK_THROWS_AS(any.forward(std::array{chunk{copy, foreign}}), target_error);
  const std::vector<token_id> many(6, 0);
  CHECK(any.forward(std::array{chunk{copy, many}}) == forward_status::no_room);
}

TEST_CASE("any_lm: a model without a way back keeps its stream") {
  quiet_lm quiet;
  any_lm any{std::ref(quiet)};
  const stream_id s = any.open();
  const std::vector<token_id> text{0, 1};
  const std::array one{chunk{s, text, want_logits::last}};
  REQUIRE(any.forward(one) == forward_status::ok);
  CHECK_FALSE(any.truncate(s, 1));
  CHECK_THROWS_AS(any.truncate(s, 3), shape_error);
  CHECK(any.length(s) == 2);
  CHECK(any.logits(s).data() == quiet.row.data());  // no copy
  CHECK(any.forward(std::array{one[0], one[0]}) == forward_status::aborted);
  CHECK(quiet.calls == 2);  // a call for a call, whatever is in it
}

TEST_CASE("any_lm: who owns the model") {
  struct owner {
    std::shared_ptr<int> watched = std::make_shared<int>(0);
    quiet_lm model = {};
  };
  const auto all = std::make_shared<owner>();
  const std::weak_ptr<int> watch = all->watched;
  {
    auto shared = std::make_unique<any_lm>(std::shared_ptr<quiet_lm>(all, &all->model));
    any_lm moved = std::move(*shared);
    shared.reset();
    CHECK(moved.vocab_size() == 3);
    CHECK(all.use_count() == 2);
  }
  CHECK(all.use_count() == 1);
  CHECK_FALSE(watch.expired());
  CHECK_THROWS_AS(any_lm{std::shared_ptr<quiet_lm>()}, shape_error);
}

TEST_CASE("any_lm: the decoder writes the same text through it") {
  const archetype::byte_tokenizer bytes;
  const any_tokenizer pieces{std::ref(bytes)};
  hinted_options options;
  options.max_tokens = 6;
  options.seed = 3;
  const auto decoded = [&](auto& model, const auto& tokens) {
    const hinted_policy policy(cpu{}, tokens, linear_lambda{1}, options);
    hinted_decoder decoder(model, policy);
    return decoder.decode({.record = 1, .student_prompt = {1}, .teacher_prompt = {2, 3}});
  };
  auto plain = table(16);
  any_lm any{table(16)};
  const auto a = decoded(plain, bytes);
  const auto b = decoded(any, pieces);
  CHECK(a.text.ids == b.text.ids);
  CHECK_FALSE(a.text.ids.empty());
  CHECK(a.text.bytes == b.text.bytes);
}

TEST_CASE("any_tokenizer: what a tokenizer can do is asked at run time") {
  struct least {
    [[nodiscard]] index_t vocab_size() const { return 7; }
    void encode(std::string_view text, std::vector<token_id>& out) const {
      out.assign(text.size(), 5);
    }
    void append_piece(token_id, std::string& bytes) const { bytes += 'x'; }
  };
  struct perhaps : archetype::turn_tokenizer {
    bool yes = false;
    [[nodiscard]] bool can_chat() const { return yes; }
  };
  const std::vector<chat_turn> turns{{"user", "a"}};
  std::vector<token_id> out;
  std::string piece;

  const any_tokenizer plain{least{}};
  CHECK(plain.vocab_size() == 7);
  plain.encode("ab", out);
  CHECK(out == std::vector<token_id>{5, 5});
  plain.append_piece(1, piece);
  CHECK(piece == "x");
  CHECK_FALSE(plain.can_continue());
  CHECK_FALSE(plain.can_chat());
  CHECK_THROWS_AS(plain.encode_text("a", out), backend_error);
  CHECK_THROWS_AS(plain.encode_chat(turns, out), backend_error);
  CHECK(out.size() == 2);

  const archetype::turn_tokenizer chat;
  const any_tokenizer any{std::make_shared<const archetype::turn_tokenizer>()};
  const any_tokenizer copy = any;
  CHECK(copy.can_continue());
  CHECK(copy.can_chat());
  std::vector<token_id> expected;
  chat.encode_chat(turns, expected);
  chat.encode_text("b", expected);
  out.clear();
  copy.encode_chat(turns, out);
  copy.encode_text("b", out);
  CHECK(out == expected);

  CHECK_FALSE(any_tokenizer{perhaps{}}.can_chat());
  perhaps now;
  now.yes = true;
  CHECK(any_tokenizer{std::move(now)}.can_chat());
}

}  // namespace idiolect::test
