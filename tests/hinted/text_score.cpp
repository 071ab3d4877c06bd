// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Scores of given texts: those of the rows that one stream gives token by token, however many texts
// are read together and however they are cut.

#include <map>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include <idiolect/backend/reference/reference.hpp>
#include <idiolect/hinted/reference_score.hpp>

#include "hash_lm.hpp"
#include "support/catch.hpp"
#include "support/rows.hpp"

namespace idiolect::test {
namespace {

std::vector<scored_text> some_texts(index_t count, index_t vocab) {
  random_source random(4);
  std::vector<scored_text> texts;
  const auto draw = [&](index_t n) {
    std::vector<token_id> t(static_cast<std::size_t>(n));
    for (token_id& id : t) id = static_cast<token_id>(random.below(vocab));
    return t;
  };
  for (index_t k = 0; k < count; ++k) texts.push_back({draw(1 + random.below(9)), draw(k % 12)});
  return texts;
}

// One stream, one token a call.
std::vector<double> plainly(hash_lm& model, const scored_text& t, index_t columns) {
  const stream_id s = model.open();
  std::vector<token_id> all = t.prompt;
  all.insert(all.end(), t.text.begin(), t.text.end());
  std::vector<double> phi;
  for (std::size_t k = 0; k + 1 < all.size(); ++k) {
    const chunk one{s, std::span(all).subspan(k, 1), want_logits::last};
    REQUIRE(model.forward({&one, 1}) == forward_status::ok);
    if (k + 1 < t.prompt.size()) continue;
    const auto row = model.logits(s);
    const matrix_view real(row.data(), index_t{1}, columns, row.stride());
    phi.push_back(score(reference{}, real, std::span(all).subspan(k + 1, 1))[0].phi);
  }
  model.drop(s);
  return phi;
}

}  // namespace

TEST_CASE("texts are scored together as each is alone") {
  const hash_lm_options shape{.vocab = 30, .padding = 3, .context = 15};
  const auto texts = some_texts(40, shape.vocab);
  hash_lm plain(shape);
  for (const index_t chunk : {1, 3, 128}) {
    for (const index_t parallel : {1, 4, 64}) {
      for (const index_t streams : {1, 3, 256}) {
        auto options = shape;
        options.streams = streams;
        options.chunk = 5;
        hash_lm model(options);
        std::map<std::size_t, std::vector<token_score>> found;
        std::size_t next = 0;
        score_texts(
            reference{}, model,
            [&] { return next < texts.size() ? std::optional(texts[next++]) : std::nullopt; },
            [&](std::size_t number, std::vector<token_score> scores) {
              CHECK(found.emplace(number, std::move(scores)).second);
            },
            {.chunk = chunk, .parallel = parallel, .columns = shape.vocab});
        REQUIRE(found.size() == texts.size());
        for (const auto& [number, scores] : found) {
          const auto& t = texts[number];
          if (static_cast<index_t>(t.prompt.size() + t.text.size()) - 1 > shape.context) {
            CHECK(scores.empty());
            continue;
          }
          REQUIRE(scores.size() == t.text.size());
          if (parallel != 4) continue;
          const auto expected = plainly(plain, t, shape.vocab);
          for (std::size_t k = 0; k < scores.size(); ++k) CHECK(scores[k].phi == expected[k]);
        }
        CHECK(model.open_streams() == 0);
        CHECK(model.most_streams() <= std::min(streams, parallel));
      }
    }
  }
}

TEST_CASE("a full cache makes texts wait, and one that fits nowhere has no scores") {
  const auto texts = some_texts(40, 40);
  const auto run = [&](index_t cache) {
    hash_lm model({.cache = cache});
    std::vector<std::vector<token_score>> found(texts.size());
    std::size_t next = 0;
    score_texts(
        reference{}, model,
        [&] { return next < texts.size() ? std::optional(texts[next++]) : std::nullopt; },
        [&](std::size_t number, std::vector<token_score> scores) {
          found[number] = std::move(scores);
        },
        {.chunk = 3});
    CHECK(model.open_streams() == 0);
    return found;
  };
  const auto expected = run(1 << 20);
  const auto found = run(12);
  index_t without = 0;
  for (std::size_t k = 0; k < texts.size(); ++k) {
    const std::size_t needed = texts[k].prompt.size() + texts[k].text.size() - 1;
    if (needed > 12 && !texts[k].text.empty()) {
      CHECK(found[k].empty());
      ++without;
      continue;
    }
    REQUIRE(found[k].size() == texts[k].text.size());
    for (std::size_t t = 0; t < found[k].size(); ++t) CHECK(found[k][t].phi == expected[k][t].phi);
  }
  CHECK(without > 3);
}

TEST_CASE("a scoring that fails leaves no stream open") {
  hash_lm model({.trouble_at = 2, .trouble = forward_status::aborted});
  const auto texts = some_texts(12, 30);
  std::size_t next = 0;
  const auto each = [&] {
    return next < texts.size() ? std::optional(texts[next++]) : std::nullopt;
  };
  CHECK_THROWS_AS(score_texts(reference{}, model, each, [](std::size_t, const auto&) {}),
                  backend_error);
  CHECK(model.open_streams() == 0);
  const auto refused = [&](const text_score_options& o) {
    CHECK_THROWS_AS(score_texts(
                        reference{}, model, each, [](std::size_t, const auto&) {}, o),
                    shape_error);
  };
  refused({.chunk = 0});
  refused({.parallel = 0});
  refused({.columns = 41});
}

}  // namespace idiolect::test
