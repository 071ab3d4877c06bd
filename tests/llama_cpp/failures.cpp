// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// What goes wrong: calls that are refused before anything happens, memory that is full, calls that
// are aborted, and models that cannot do it.

#include <idiolect/backend/cpu/cpu.hpp>
#include <idiolect/hinted/sample.hpp>

#include "support.hpp"

namespace idiolect::test {
namespace {

using Catch::Matchers::ContainsSubstring;

// llama.cpp asks before each operation of the graph: ends the call at operation `left`.
struct abort_after {
  explicit abort_after(llama_context* c, int operations) : context(c), left(operations) {
    llama_set_abort_callback(
        c, [](void* p) { return --*static_cast<int*>(p) < 0; }, &left);
  }
  ~abort_after() { llama_set_abort_callback(context, nullptr, nullptr); }
  abort_after(const abort_after&) = delete;
  abort_after& operator=(const abort_after&) = delete;
  llama_context* context;
  int left;
};

}  // namespace

TEST_CASE("llama_lm refuses what is wrong before anything is appended") {
  const auto file = fixture("stories");
  if (!file) return;
  const auto engine = context(file, {256, 2, true, 64, 64});
  llama_lm m(engine.get());
  const stream_id a = m.open(), b = m.open();
  const tokens text = some_text(10), bad{300, 512}, negative{-1}, long_text = some_text(60);
  REQUIRE(give(m, a, text) == forward_status::ok);

  CHECK_THROWS_WITH(m.open(), ContainsSubstring("no sequence is free"));
  CHECK_THROWS_WITH(m.fork(a), ContainsSubstring("n_seq_max"));
  CHECK_THROWS_AS(m.forward(std::array{chunk{b, text}, chunk{a, bad}}), target_error);
  CHECK_THROWS_WITH(give(m, a, bad), ContainsSubstring("512"));
  CHECK_THROWS_AS(give(m, a, negative), target_error);
  CHECK_THROWS_WITH(m.forward(std::array{chunk{a, text}, chunk{b, text}, chunk{a, text}}),
                    ContainsSubstring("stream 0 stands twice"));
  CHECK_THROWS_AS(m.forward(std::array{chunk{a, long_text}, chunk{b, text}}), backend_error);
  CHECK_THROWS_WITH(m.forward(std::array{chunk{a, text}, chunk{7, text}}),
                    ContainsSubstring("7 is not open"));
  CHECK_THROWS_AS(m.length(-1), backend_error);
  CHECK_THROWS_AS(m.logits(2), backend_error);
  CHECK(m.length(a) == 10);
  CHECK(m.length(b) == 0);
  CHECK(m.logits(a).rows() == 1);

  // A stream of 256 tokens is full. Its neighbour is not touched by the attempt.
  for (int i = 0; i < 4; ++i) REQUIRE(give(m, a, some_text(60)) == forward_status::ok);
  REQUIRE(m.length(a) == 250);
  CHECK(m.forward(std::array{chunk{a, text}, chunk{b, text}}) == forward_status::no_room);
  CHECK(m.length(a) == 250);
  CHECK(m.length(b) == 0);
  CHECK(m.logits(a).rows() == 0);
  m.drop(b);
  CHECK_THROWS_AS(m.drop(b), backend_error);
  CHECK(m.free_streams() == 1);
}

TEST_CASE("a memory that all streams share fills up and is as before") {
  const auto file = fixture("stories");
  if (!file) return;
  const auto engine = context(file, {256, 4, true});
  llama_lm m(engine.get());
  const auto expected = rows_alone(m, some_text(90, 2));
  std::array<stream_id, 3> s{m.open(), m.open(), m.open()};
  const tokens part = some_text(80, 1), last = some_text(90, 2);
  REQUIRE(m.forward(std::array{chunk{s[0], part}, chunk{s[1], part}}) == forward_status::ok);
  // 160 of 256 are taken: 90 fit, 120 do not, though no stream is longer than the context.
  const tokens too_long = some_text(120, 2);
  CHECK(give(m, s[2], too_long) == forward_status::no_room);
  CHECK(m.forward(std::array{chunk{s[2], last}, chunk{s[0], part}}) == forward_status::no_room);
  for (const std::size_t i : {0U, 1U}) CHECK(m.length(s[i]) == 80);
  CHECK(m.length(s[2]) == 0);
  REQUIRE(give(m, s[2], last) == forward_status::ok);
  CHECK(distance(copy(m.logits(s[2])).front(), expected.back()) < rounding);
  m.drop(s[0]);
  CHECK(give(m, s[1], part) == forward_status::ok);
}

TEST_CASE("an aborted call leaves no trace") {
  const auto file = fixture("stories");
  if (!file) return;
  for (const bool unified : {true, false}) {
    CAPTURE(unified);
    const auto engine = context(file, {2048, 4, unified, 512, 8});
    llama_lm m(engine.get());
    const tokens begin = some_text(5), left = some_text(30, 1), right = some_text(30, 2);
    const auto expected_left = rows_alone(m, joined(begin, left));
    const auto expected_right = rows_alone(m, right);

    // What there is to clean up: llama.cpp keeps the micro-batches before the one that was ended.
    int most = 0;
    for (int operations = 0; operations < 1500; operations += 60) {
      CAPTURE(operations);
      const stream_id a = m.open(), b = m.open(), bystander = m.open();
      REQUIRE(m.forward(std::array{chunk{a, begin}, chunk{bystander, begin}}) ==
              forward_status::ok);
      forward_status status{};
      {
        const abort_after ended(engine.get(), operations);
        status = m.forward(std::array{chunk{b, right}, chunk{a, left, want_logits::all}});
      }
      if (status == forward_status::ok) {
        REQUIRE(operations > 200);  // the whole call has no more operations
        for (const stream_id s : {a, b, bystander}) m.drop(s);
        break;
      }
      most = operations;
      REQUIRE(status == forward_status::aborted);
      CHECK(m.length(a) == 5);
      CHECK(m.length(b) == 0);
      CHECK(m.logits(a).rows() == 0);
      REQUIRE(m.forward(std::array{chunk{a, left, want_logits::all}, chunk{b, right}}) ==
              forward_status::ok);
      CHECK(distance(copy(m.logits(a)).back(), expected_left.back()) < rounding);
      CHECK(distance(copy(m.logits(a)).front(), expected_left[5]) < rounding);
      CHECK(distance(copy(m.logits(b)).front(), expected_right.back()) < rounding);
      REQUIRE(give(m, bystander, left) == forward_status::ok);
      CHECK(distance(copy(m.logits(bystander)).front(), expected_left.back()) < rounding);
      for (const stream_id s : {a, b, bystander}) m.drop(s);
    }
    CHECK(most > 600);  // several micro-batches were left behind at least once

    tokens text = right;
    llama_batch raw = llama_batch_get_one(text.data(), 30);  // sequence 0
    {
      const abort_after ended(engine.get(), 350);
      REQUIRE(llama_decode(engine.get(), raw) == 2);
    }
    CHECK(llama_memory_seq_pos_max(llama_get_memory(engine.get()), 0) > 6);
  }
}

TEST_CASE("a recurrent model cannot go back and says so") {
  const auto file = fixture("recurrent");
  if (!file) return;
  const auto engine = context(file, {512, 4, false, 512, 8});
  llama_lm m(engine.get());
  CHECK_FALSE(model_traits<llama_lm>::can_truncate(m));
  const tokens begin = some_text(20), more = some_text(30, 1);
  const auto alone = rows_alone(m, joined(begin, more));

  const stream_id a = m.open();
  REQUIRE(give(m, a, begin) == forward_status::ok);
  CHECK_FALSE(m.truncate(a, 12));
  CHECK(m.length(a) == 20);
  CHECK(m.truncate(a, 20));
  const stream_id b = m.fork(a);
  REQUIRE(m.forward(std::array{chunk{a, more}, chunk{b, more}}) == forward_status::ok);
  for (const stream_id s : {a, b}) {
    CHECK(distance(copy(m.logits(s)).front(), alone.back()) < rounding);
  }
  CHECK(m.truncate(a, 0));
  REQUIRE(give(m, a, joined(begin, more)) == forward_status::ok);
  CHECK(distance(copy(m.logits(a)).front(), alone.back()) < rounding);
  m.drop(a);
  m.drop(b);

  // It has no cache that could fill up: the context's size is what we say it is.
  const stream_id full = m.open();
  REQUIRE(m.context_size() == 256);
  REQUIRE(give(m, full, some_text(250)) == forward_status::ok);
  CHECK(give(m, full, some_text(7)) == forward_status::no_room);
  CHECK(m.length(full) == 250);
  CHECK(give(m, full, some_text(6)) == forward_status::ok);
  m.drop(full);

  // An aborted call spends what it had begun. A stream that was empty is empty again.
  const stream_id c = m.open(), d = m.open();
  REQUIRE(give(m, c, begin) == forward_status::ok);
  {
    const abort_after ended(engine.get(), 150);
    REQUIRE(m.forward(std::array{chunk{c, more}, chunk{d, more}}) == forward_status::aborted);
  }
  CHECK(m.length(c) == -1);
  CHECK(m.length(d) == 0);
  CHECK_THROWS_WITH(give(m, c, more), ContainsSubstring("was spent"));
  CHECK_THROWS_AS(m.fork(c), backend_error);
  CHECK_THROWS_AS(m.truncate(c, 0), backend_error);
  REQUIRE(give(m, d, joined(begin, more)) == forward_status::ok);
  CHECK(distance(copy(m.logits(d)).front(), alone.back()) < rounding);
  m.drop(c);
  CHECK(m.open() == c);
  REQUIRE(give(m, c, joined(begin, more)) == forward_status::ok);
  CHECK(distance(copy(m.logits(c)).front(), alone.back()) < rounding);

  // Where others hold something their states may have been moved half-way: the end.
  const stream_id e = m.open();
  REQUIRE(give(m, e, begin) == forward_status::ok);
  {
    const abort_after ended(engine.get(), 150);
    CHECK(give(m, e, more) == forward_status::fatal);
  }
  CHECK(give(m, d, more) == forward_status::fatal);
  for (const stream_id s : {c, d, e}) m.drop(s);
  CHECK(m.free_streams() == 4);
}

TEST_CASE("a window of attention can be cut as far as it still reaches") {
  const auto file = fixture("window");
  if (!file) return;
  // The window's part of the cache holds what a call needs and no more (swa_full is off).
  llama_context_params p = parameters({1024, 1, false, 32, 32});
  p.swa_full = false;
  const llama_context_ptr engine(llama_init_from_model(file.get(), p));
  llama_lm m(engine.get());
  REQUIRE(llama_model_n_swa(file.get()) == 16);
  const tokens text = some_text(400), more{300, 301};
  const stream_id s = m.open();
  const auto give_all = [&](const tokens& t) {
    for (std::size_t at = 0; at < t.size(); at += 32) {
      const auto part = std::span(t).subspan(at, std::min<std::size_t>(32, t.size() - at));
      REQUIRE(m.forward(std::array{chunk{s, part, want_logits::last}}) == forward_status::ok);
    }
    return copy(m.logits(s)).front();
  };
  tokens shorter(text.begin(), text.begin() + 395);
  const row expected = give_all(joined(shorter, more));
  REQUIRE(m.truncate(s, 0));
  give_all(text);
  CHECK_FALSE(m.truncate(s, 20));
  CHECK(m.length(s) == 400);
  CHECK(m.can_truncate());
  REQUIRE(m.truncate(s, 395));
  REQUIRE(give(m, s, more) == forward_status::ok);
  CHECK(distance(copy(m.logits(s)).front(), expected) < rounding);
}

TEST_CASE("a model that predicts no next token is refused in words") {
  const auto encoder = fixture("encoder"), silent = fixture("no_vocabulary"),
             stories = fixture("stories"), cut = fixture("cut");
  if (!stories) return;
  const auto encoding = context(encoder, {64, 1}), numbers = context(silent);
  CHECK_THROWS_WITH(llama_lm(encoding.get()), ContainsSubstring("has no memory of a text"));
  CHECK_THROWS_WITH(llama_lm(numbers.get()), ContainsSubstring("has no vocabulary"));
  CHECK_THROWS_WITH(llama_tokenizer(silent.get()), ContainsSubstring("has no vocabulary"));
  CHECK_THROWS_WITH(llama_lm(nullptr), ContainsSubstring("null pointer"));
  CHECK_THROWS_WITH(llama_tokenizer(nullptr), ContainsSubstring("null pointer"));
  llama_context_params p = parameters({});
  p.embeddings = true;
  p.pooling_type = LLAMA_POOLING_TYPE_MEAN;
  const llama_context_ptr pooled(llama_init_from_model(stories.get(), p));
  REQUIRE(pooled);
  CHECK_THROWS_WITH(llama_lm(pooled.get()), ContainsSubstring("embeddings"));

  // Embeddings beside logits are no harm: llama.cpp then computes all rows, we give those asked
  // for.
  p.pooling_type = LLAMA_POOLING_TYPE_NONE;
  const llama_context_ptr both(llama_init_from_model(stories.get(), p));
  const auto plain = context(stories);
  llama_lm m(both.get()), other(plain.get());
  const tokens text = some_text(8), second = some_text(4, 1);
  const auto alone = rows_alone(other, text);
  const stream_id s = m.open(), t = m.open();
  REQUIRE(m.forward(std::array{chunk{t, text}, chunk{s, second, want_logits::none}}) ==
          forward_status::ok);
  REQUIRE(m.logits(t).rows() == 1);
  CHECK(distance(copy(m.logits(t)).front(), alone.back()) < rounding);
  CHECK(m.logits(s).rows() == 0);

  CHECK(cut == nullptr);  // half a file is no model: llama.cpp says so itself
}

TEST_CASE("an error on the way leaves no stream open") {
  const auto file = fixture("stories");
  if (!file) return;
  const auto engine = context(file, {1024, 4, true});
  llama_lm m(engine.get());
  const llama_tokenizer pieces(file.get());
  std::vector<tokens> prompts{some_text(6), some_text(8, 1), {1, 300, 999}, some_text(6, 2)};
  sample_options o;
  o.max_tokens = 5;
  CHECK_THROWS_AS(sample(cpu{}, m, pieces, prompts, o), target_error);
  CHECK(m.free_streams() == 4);
  prompts.erase(prompts.begin() + 2);
  {
    const abort_after ended(engine.get(), 2000);
    for (const auto& r : sample(cpu{}, m, pieces, prompts, o)) {
      CHECK(r.text.stop != stop_reason::none);
    }
  }
  CHECK(m.free_streams() == 4);
  CHECK(sample(cpu{}, m, pieces, prompts, o).size() == 3);
  CHECK(m.free_streams() == 4);
}

}  // namespace idiolect::test
