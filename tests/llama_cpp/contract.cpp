// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// What causal_lm asks of a model, asked of llama.cpp: with one memory for all streams and with one
// for each.

#include "support.hpp"

namespace idiolect::test {
namespace {

void check_rows(matrix_view<const float> got, const std::vector<row>& all, std::size_t first) {
  REQUIRE(got.rows() == static_cast<index_t>(all.size() - first));
  const auto rows = copy(got);
  for (std::size_t i = 0; i < rows.size(); ++i) CHECK(distance(rows[i], all[first + i]) < rounding);
}

}  // namespace

TEST_CASE("llama_lm gives the rows that were asked for in whatever order") {
  const auto file = fixture("stories");
  if (!file) return;
  for (const bool unified : {true, false}) {
    CAPTURE(unified);
    // A micro-batch holds parts of several streams, and llama.cpp computes rows in another order.
    for (const unsigned micro : {512U, 4U}) {
      const auto engine = context(file, {2048, 5, unified, 512, micro});
      llama_lm m(engine.get());
      const std::array texts{some_text(7, 1), some_text(12, 2), some_text(3, 3), some_text(5, 4)};
      std::vector<std::vector<row>> alone;
      for (const auto& t : texts) alone.push_back(rows_alone(m, t));
      std::array<stream_id, 4> s{};
      for (auto& id : s) id = m.open();

      const std::array chunks{
          chunk{s[2], texts[2], want_logits::all}, chunk{s[0], texts[0], want_logits::last},
          chunk{s[3], texts[3], want_logits::none}, chunk{s[1], texts[1], want_logits::all}};
      REQUIRE(m.forward(chunks) == forward_status::ok);
      CHECK(m.logits(s[3]).rows() == 0);
      check_rows(m.logits(s[1]), alone[1], 0);
      check_rows(m.logits(s[2]), alone[2], 0);
      check_rows(m.logits(s[0]), alone[0], texts[0].size() - 1);
      for (std::size_t i = 0; i < 4; ++i) CHECK(m.length(s[i]) == std::ssize(texts[i]));

      // The next call has its own rows, and an empty chunk none.
      const tokens more{300, 301};
      const auto longer = rows_alone(m, joined(texts[3], more));
      REQUIRE(m.forward(std::array{chunk{s[3], more, want_logits::last},
                                   chunk{s[1], {}, want_logits::all}}) == forward_status::ok);
      check_rows(m.logits(s[3]), longer, longer.size() - 1);
      for (const std::size_t i : {0U, 1U, 2U}) CHECK(m.logits(s[i]).rows() == 0);
      CHECK(m.length(s[1]) == 12);
    }
  }
}

TEST_CASE("llama_lm forks and cuts and drops streams on their own") {
  const auto file = fixture("stories");
  if (!file) return;
  for (const bool unified : {true, false}) {
    CAPTURE(unified);
    const auto engine = context(file, {2048, 5, unified});
    llama_lm m(engine.get());
    const tokens begin = some_text(10), left{300, 301}, right{400, 401, 402};
    const auto both = rows_alone(m, joined(begin, left));
    const auto other = rows_alone(m, joined(begin, right));

    const stream_id a = m.open();
    REQUIRE(give(m, a, begin) == forward_status::ok);
    const stream_id b = m.fork(a);
    const stream_id c = m.fork(b);  // of a copy that no forward has seen yet
    CHECK(m.length(c) == 10);
    REQUIRE(give(m, a, left) == forward_status::ok);
    check_rows(m.logits(a), both, both.size() - 1);
    m.drop(a);
    REQUIRE(m.forward(std::array{chunk{b, right}, chunk{c, left}}) == forward_status::ok);
    check_rows(m.logits(b), other, other.size() - 1);
    check_rows(m.logits(c), both, both.size() - 1);

    REQUIRE(m.can_truncate());
    REQUIRE(m.truncate(b, 10));
    CHECK(m.length(b) == 10);
    CHECK(m.length(c) == 12);
    REQUIRE(give(m, b, left) == forward_status::ok);
    check_rows(m.logits(b), both, both.size() - 1);
    REQUIRE(m.truncate(b, 12));
    REQUIRE(m.truncate(b, 0));
    REQUIRE(give(m, b, joined(begin, right)) == forward_status::ok);
    check_rows(m.logits(b), other, other.size() - 1);
    CHECK_THROWS_AS(m.truncate(b, 14), shape_error);
    CHECK_THROWS_AS(m.truncate(b, -1), shape_error);
    CHECK(m.length(m.fork(m.open())) == 0);
  }
}

TEST_CASE("llama_lm keeps its ids low and leaves the sequences of others alone") {
  const auto file = fixture("stories");
  if (!file) return;
  const auto engine = context(file);
  llama_lm m(engine.get());
  CHECK(m.max_streams() == 4);
  CHECK(m.max_chunk() == 512);
  CHECK(m.context_size() == 1024);
  CHECK((m.open() == 0 && m.open() == 1 && m.open() == 2));
  m.drop(1);
  CHECK(m.free_streams() == 2);
  CHECK(m.open() == 1);
  m.drop(1);

  // The host holds sequence 1: the same text twice, once beside us and once within.
  tokens text = some_text(6);
  std::vector<llama_pos> at{0, 1, 2, 3, 4, 5};
  std::vector<int> one(6, 1);
  std::vector<llama_seq_id> ids(6, 1);
  std::vector<llama_seq_id*> id;
  for (auto& i : ids) id.push_back(&i);
  const llama_batch batch{6, text.data(), nullptr, at.data(), one.data(), id.data(), nullptr};
  REQUIRE(llama_decode(engine.get(), batch) == 0);
  CHECK(m.free_streams() == 1);
  CHECK(m.open() == 3);
  CHECK_THROWS_WITH(m.open(), Catch::Matchers::ContainsSubstring("no sequence is free") &&
                                  Catch::Matchers::ContainsSubstring("host"));
  CHECK(llama_memory_seq_pos_max(llama_get_memory(engine.get()), 1) == 5);

  // A sequence of ours that somebody else moved is noticed before anything is computed.
  REQUIRE(give(m, 3, text) == forward_status::ok);
  llama_memory_seq_rm(llama_get_memory(engine.get()), 3, 4, -1);
  CHECK_THROWS_WITH(give(m, 3, {300}), Catch::Matchers::ContainsSubstring("somebody else"));
}

TEST_CASE("two contexts of one model do not know each other") {
  const auto file = fixture("stories");
  if (!file) return;
  const auto first = context(file), second = context(file, {512, 2, false});
  llama_lm a(first.get()), b(second.get());
  const tokens text = some_text(9);
  const auto alone = rows_alone(a, text);
  const stream_id s = a.open(), t = b.open();
  REQUIRE(give(a, s, text, want_logits::all) == forward_status::ok);
  REQUIRE(give(b, t, some_text(20, 5)) == forward_status::ok);
  check_rows(a.logits(s), alone, 0);
  llama_lm moved = std::move(a);
  CHECK(moved.length(s) == 9);
  check_rows(moved.logits(s), alone, 0);
}

TEST_CASE("unused tokens at the end of a padded vocabulary are cut off model and tokenizer alike") {
  const auto file = fixture("chat_chatml"), plain = fixture("stories");
  if (!file) return;
  const auto engine = context(file), plain_engine = context(plain);
  llama_lm m(engine.get()), unpadded(plain_engine.get());
  CHECK(llama_vocab_n_tokens(llama_model_get_vocab(file.get())) == 529);
  CHECK(m.vocab_size() == 523);
  CHECK(llama_tokenizer(file.get()).vocab_size() == 523);
  const tokens text = some_text(5);
  const auto expected = rows_alone(unpadded, text);
  const stream_id s = m.open();
  REQUIRE(give(m, s, text, want_logits::all) == forward_status::ok);
  CHECK(m.logits(s).cols() == 523);
  CHECK(m.logits(s).stride() == 529);
  for (index_t i = 0; i < 5; ++i) {
    const row got(m.logits(s).row(i), m.logits(s).row(i) + 512);
    CHECK(distance(got, expected[static_cast<std::size_t>(i)]) < rounding);
  }
}

}  // namespace idiolect::test
