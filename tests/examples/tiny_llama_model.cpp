// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Inference of the tiny Llama: streams and their cache, logits whose bits depend on nothing but the
// text, agreement with the training pass, and with an independent implementation on a real model.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <idiolect/core/executor.hpp>
#include <idiolect/core/philox.hpp>
#include <idiolect/model/causal_lm.hpp>

#include "support/catch.hpp"
#include "tiny_llama/checkpoint.hpp"
#include "tiny_llama/model.hpp"
#include "tiny_llama/tokenizer.hpp"
#include "tiny_llama/training.hpp"

#if __has_include(<nlohmann/json.hpp>)
#include <nlohmann/json.hpp>
#endif

#if !defined(IDIOLECT_TEST_DATA_DIR)
#define IDIOLECT_TEST_DATA_DIR ""
#endif

namespace {

using idiolect::chunk;
using idiolect::forward_status;
using idiolect::index_t;
using idiolect::stream_id;
using idiolect::token_id;
using idiolect::want_logits;
namespace tl = tiny_llama;

using tokens = std::vector<token_id>;

// Nothing is a multiple of 16, heads are grouped, and the context is more than two pages.
const tl::config odd_shape{.dim = 36,
                           .hidden_dim = 50,
                           .layers = 3,
                           .heads = 6,
                           .kv_heads = 2,
                           .vocab_size = 23,
                           .context_size = 50};

template <class Real = float>
tl::weights<Real> odd_weights() {
  return tl::random_weights<Real>(odd_shape, 7, {.embedding_deviation = 0.5, .gain = 1.2});
}

tokens random_text(index_t length, std::uint64_t record, index_t vocab_size = odd_shape.vocab_size) {
  const idiolect::philox draws{11, record};
  tokens text;
  for (index_t i = 0; i < length; ++i) {
    text.push_back(static_cast<token_id>(
        draws.below(static_cast<std::uint64_t>(vocab_size), static_cast<std::uint64_t>(i))));
  }
  return text;
}

// Rows of logits as they come, end to end.
template <class Model>
using numbers = std::vector<
    typename std::remove_cvref_t<decltype(std::declval<const Model&>().logits(0))>::value_type>;

template <class Model>
void collect(const Model& m, stream_id s, numbers<Model>& out) {
  const auto z = m.logits(s);
  REQUIRE(z.cols() == m.vocab_size());
  for (index_t i = 0; i < z.rows(); ++i)
    out.insert(out.end(), z.row(i), z.row(i) + z.cols());
}

// The logits after every token of `text`, read in pieces of `step` tokens.
template <class Model>
numbers<Model> read(Model& m, const tokens& text, std::size_t step) {
  const stream_id s = m.open();
  numbers<Model> all;
  for (std::size_t i = 0; i < text.size(); i += step) {
    const chunk c{s, std::span(text).subspan(i, std::min(step, text.size() - i)), want_logits::all};
    REQUIRE(m.forward({&c, 1}) == forward_status::ok);
    collect(m, s, all);
  }
  m.drop(s);
  return all;
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

template <class Model>
forward_status append(Model& m, stream_id s, const tokens& text,
                      want_logits want = want_logits::last) {
  const chunk c{s, text, want};
  return m.forward({&c, 1});
}

// Every way to read `texts` gives the bits of reading each alone and at once.
template <class Real, class Executor>
void check_invariance(const tl::weights<Real>& w, const std::vector<tokens>& texts,
                      const Executor& executor) {
  using model = tl::model<Real, Executor>;
  tl::model<Real> plain(w);
  std::vector<std::vector<Real>> alone;
  for (const auto& text : texts)
    alone.push_back(read(plain, text, text.size()));

  model m(w, {}, executor);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    for (const std::size_t step : {1u, 3u, 17u, 1000u}) {
      CAPTURE(i, step);
      CHECK(same_bits(read(m, texts[i], step), alone[i]));
    }
  }
  // All streams in each call, in pieces of unlike and changing size, one of them sometimes absent.
  std::vector<stream_id> streams;
  for (std::size_t i = 0; i < texts.size(); ++i)
    streams.push_back(m.open());
  std::vector<std::vector<Real>> together(texts.size());
  std::vector<std::size_t> done(texts.size(), 0);
  const auto unfinished = [&] {
    bool any = false;
    for (std::size_t i = 0; i < texts.size(); ++i)
      any = any || done[i] < texts[i].size();
    return any;
  };
  for (std::size_t round = 0; unfinished(); ++round) {
    std::vector<chunk> chunks;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const std::size_t n = std::min((i + round) % 4, texts[i].size() - done[i]);
      if (n == 0) continue;
      chunks.push_back({streams[i], std::span(texts[i]).subspan(done[i], n), want_logits::all});
      done[i] += n;
    }
    REQUIRE(m.forward(chunks) == forward_status::ok);
    for (std::size_t i = 0; i < texts.size(); ++i)
      collect(m, streams[i], together[i]);
  }
  for (std::size_t i = 0; i < texts.size(); ++i) {
    CAPTURE(i);
    CHECK(same_bits(together[i], alone[i]));
  }
}

TEST_CASE("tiny llama: logits have the same bits however the text is read", "[tiny_llama]") {
  std::vector<tokens> texts;
  for (std::uint64_t i = 0; i < 11; ++i) {
    texts.push_back(random_text(static_cast<index_t>(3 + 47 * i / 10), i));
  }
  static_assert(idiolect::model_traits<tl::model<float>>::batch_invariant);
  check_invariance(odd_weights<float>(), texts, idiolect::serial_executor{});
  check_invariance(odd_weights<float>(), texts, idiolect::thread_executor{2});
  check_invariance(odd_weights<float>(), texts, idiolect::thread_executor{3});
  check_invariance(odd_weights<double>(), texts, idiolect::thread_executor{2});
}

TEST_CASE("tiny llama: inference agrees with the training pass", "[tiny_llama]") {
  const bool tied = GENERATE(true, false);
  auto shape = odd_shape;
  shape.tied = tied;
  const auto w = tl::random_weights<double>(shape, 3, {.embedding_deviation = 0.5, .gain = 1.2});
  tl::batch b;
  for (std::uint64_t i = 0; i < 4; ++i)
    b.append(random_text(5 + 15 * static_cast<index_t>(i), i));
  tl::training_workspace<double> workspace;
  tl::training_forward(w, b, workspace, idiolect::serial_executor{});
  const auto z = workspace.logits();
  tl::model<double> m(w);
  for (index_t s = 0; s < b.sequences(); ++s) {
    const auto first = b.offsets[static_cast<std::size_t>(s)];
    const auto last = b.offsets[static_cast<std::size_t>(s) + 1];
    const auto logits = read(m, tokens(b.tokens.begin() + first, b.tokens.begin() + last), 1000);
    for (index_t i = first; i < last; ++i) {
      for (index_t j = 0; j < z.cols(); ++j) {
        CAPTURE(i, j);
        const double value = logits[static_cast<std::size_t>((i - first) * z.cols() + j)];
        REQUIRE_THAT(z(i, j), Catch::Matchers::WithinAbs(value, 1e-11));
      }
    }
  }
}

TEST_CASE("tiny llama: rows come for the tokens that asked", "[tiny_llama]") {
  tl::model<float> m(odd_weights());
  const auto text = random_text(20, 1);
  const auto all = read(m, text, text.size());
  const auto columns = static_cast<std::size_t>(m.vocab_size());
  const std::vector<float> last(all.end() - static_cast<std::ptrdiff_t>(columns), all.end());

  const stream_id a = m.open();
  const stream_id b = m.open();
  const stream_id c = m.open();
  const stream_id idle = m.open();
  const stream_id empty = m.open();
  const chunk chunks[] = {{a, text, want_logits::last},
                          {b, text, want_logits::none},
                          {empty, {}, want_logits::last},
                          {c, text, want_logits::all}};
  REQUIRE(m.forward(chunks) == forward_status::ok);
  std::vector<float> of_a;
  std::vector<float> of_c;
  collect(m, a, of_a);
  collect(m, c, of_c);
  CHECK(same_bits(of_a, last));
  CHECK(same_bits(of_c, all));
  CHECK(m.logits(b).rows() == 0);
  CHECK(m.logits(idle).rows() == 0);
  CHECK(m.logits(empty).rows() == 0);
  CHECK(m.length(b) == 20);
  CHECK(m.length(idle) == 0);
  CHECK(m.forward({}) == forward_status::ok);
  CHECK(m.logits(a).rows() == 0);
}

TEST_CASE("tiny llama: a fork goes its own way", "[tiny_llama]") {
  tl::model<float> m(odd_weights());
  const index_t at = GENERATE(0, 5, 16, 17, 32);  // within a page, on a border
  const auto prefix = random_text(at, 1);
  const auto left = random_text(14, 2);
  const auto right = random_text(14, 3);
  const auto expected = [&](const tokens& rest) {
    tokens text = prefix;
    text.insert(text.end(), rest.begin(), rest.end());
    const auto all = read(m, text, 1);
    return std::vector<float>(all.end() - static_cast<std::ptrdiff_t>(rest.size()) * m.vocab_size(),
                              all.end());
  };
  const auto of_left = expected(left);
  const auto of_right = expected(right);

  const stream_id a = m.open();
  REQUIRE(append(m, a, prefix) == forward_status::ok);
  const stream_id b = m.fork(a);
  const stream_id c = m.fork(b);
  CHECK(m.length(c) == at);
  const chunk both[] = {{a, left, want_logits::all}, {b, right, want_logits::all}};
  REQUIRE(m.forward(both) == forward_status::ok);
  std::vector<float> z;
  collect(m, a, z);
  CHECK(same_bits(z, of_left));
  z.clear();
  collect(m, b, z);
  CHECK(same_bits(z, of_right));

  m.drop(a);  // the others keep what they share
  REQUIRE(append(m, c, left, want_logits::all) == forward_status::ok);
  z.clear();
  collect(m, c, z);
  CHECK(same_bits(z, of_left));

  m.truncate(b, at);  // and b reads the other text
  CHECK(m.length(b) == at);
  REQUIRE(append(m, b, left, want_logits::all) == forward_status::ok);
  z.clear();
  collect(m, b, z);
  CHECK(same_bits(z, of_left));
}

TEST_CASE("tiny llama: truncating a shared page leaves the other stream alone", "[tiny_llama]") {
  tl::model<float> m(odd_weights());
  const auto text = random_text(30, 4);
  const auto next = random_text(6, 5);
  const stream_id a = m.open();
  REQUIRE(append(m, a, text) == forward_status::ok);
  const stream_id b = m.fork(a);
  m.truncate(b, 9);
  REQUIRE(append(m, b, next) == forward_status::ok);  // writes where a still reads
  REQUIRE(append(m, a, next, want_logits::all) == forward_status::ok);
  std::vector<float> z;
  collect(m, a, z);
  tokens whole = text;
  whole.insert(whole.end(), next.begin(), next.end());
  const auto all = read(m, whole, 1000);
  CHECK(same_bits(z, std::vector<float>(all.end() - static_cast<std::ptrdiff_t>(6 * m.vocab_size()),
                                        all.end())));
}

TEST_CASE("tiny llama: no room leaves every stream as it was", "[tiny_llama]") {
  const bool by_cache = GENERATE(false, true);
  CAPTURE(by_cache);
  // Four pages in all, or the context of 50.
  tl::model<float> m(odd_weights(), {.cache_tokens = by_cache ? 64 : 0});
  const auto text = random_text(40, 1);
  const stream_id a = m.open();
  const stream_id b = m.open();
  REQUIRE(append(m, a, random_text(20, 1)) == forward_status::ok);
  REQUIRE(append(m, b, random_text(20, 2)) == forward_status::ok);
  const tokens small = random_text(4, 3);
  const tokens large = random_text(by_cache ? 13 : 31, 4);
  const chunk chunks[] = {{a, small, want_logits::last}, {b, large, want_logits::last}};
  CHECK(m.forward(chunks) == forward_status::no_room);
  CHECK(m.length(a) == 20);
  CHECK(m.length(b) == 20);

  // What comes next is as if nothing had been tried.
  REQUIRE(append(m, a, small, want_logits::all) == forward_status::ok);
  std::vector<float> z;
  collect(m, a, z);
  tl::model<float> fresh(odd_weights());
  const stream_id s = fresh.open();
  REQUIRE(append(fresh, s, random_text(20, 1)) == forward_status::ok);
  REQUIRE(append(fresh, s, small, want_logits::all) == forward_status::ok);
  std::vector<float> expected;
  collect(fresh, s, expected);
  CHECK(same_bits(z, expected));

  if (by_cache) {  // a dropped stream's pages serve another
    CHECK(append(m, a, random_text(20, 5)) == forward_status::no_room);
    m.drop(b);
    CHECK(append(m, a, random_text(20, 5)) == forward_status::ok);
  }
  CHECK(append(m, a, random_text(50, 5)) == forward_status::no_room);
}

TEST_CASE("tiny llama: what does not fit is an error and changes nothing", "[tiny_llama]") {
  tl::model<float> m(odd_weights(), {.max_streams = 2, .max_chunk = 30, .end_tokens = {4}});
  CHECK(m.max_streams() == 2);
  CHECK(m.max_chunk() == 30);
  CHECK(m.is_end(4));
  CHECK_FALSE(m.is_end(2));
  CHECK(tl::model<float>(odd_weights()).is_end(2));

  const stream_id a = m.open();
  const stream_id b = m.open();
  CHECK_THROWS_AS(m.open(), idiolect::backend_error);
  CHECK_THROWS_AS(m.fork(a), idiolect::backend_error);
  m.drop(b);
  CHECK_THROWS_AS(m.length(b), idiolect::backend_error);
  CHECK_THROWS_AS(m.drop(b), idiolect::backend_error);
  CHECK_THROWS_AS(m.logits(7), idiolect::backend_error);
  CHECK_THROWS_AS(m.truncate(-1, 0), idiolect::backend_error);

  REQUIRE(append(m, a, {1, 2, 3}) == forward_status::ok);
  CHECK_THROWS_AS(append(m, b, {1}), idiolect::backend_error);
  CHECK_THROWS_AS(append(m, a, {1, 23}), idiolect::target_error);
  CHECK_THROWS_AS(append(m, a, {-1}), idiolect::target_error);
  CHECK_THROWS_WITH(append(m, a, tokens(31, 1)),
                    Catch::Matchers::ContainsSubstring("31 tokens, max_chunk is 30"));
  const tokens one = {1};
  const chunk twice[] = {{a, one}, {a, one}};
  CHECK_THROWS_AS(m.forward(twice), idiolect::shape_error);
  CHECK_THROWS_AS(m.truncate(a, 4), idiolect::shape_error);
  CHECK(m.length(a) == 3);
  CHECK(append(m, a, one) == forward_status::ok);

  CHECK_THROWS_AS(tl::model<float>(tl::weights<float>({.dim = 30, .heads = 4})),
                  idiolect::shape_error);
}

#if __has_include(<nlohmann/json.hpp>)

struct row_numbers {
  double lse;
  double entropy;
};

row_numbers measure(const float* z, index_t n) {
  const double top = *std::max_element(z, z + n);
  double s = 0;
  double t = 0;
  for (index_t j = 0; j < n; ++j) {
    const double e = std::exp(z[j] - top);
    s += e;
    t += e * (z[j] - top);
  }
  return {top + std::log(s), std::log(s) - t / s};
}

void check_reference(const std::string& name) {
  const std::filesystem::path data = IDIOLECT_TEST_DATA_DIR;
  if (data.empty() || !std::filesystem::exists(data / "model/stories260K.bin")) {
    idiolect::test::skip(
        "no stories260K; set IDIOLECT_DATA_DIR to a folder with model/ and "
        "reference/ (the model: huggingface.co/karpathy/tinyllamas)");
    return;
  }
  const auto reference = nlohmann::json::parse(
      std::ifstream(data / "reference" / ("reference_" + name + ".json")), nullptr, true);
  const auto w = tl::read_checkpoint(data / "model/stories260K.bin");
  const auto tokenizer = tl::read_tokenizer(data / "model/tok512.bin", w.shape().vocab_size);

  const auto text = reference["text"].get<std::string>();
  const auto ids = reference["token_ids"].get<tokens>();
  tokens encoded;
  tokenizer.encode(text, encoded);
  REQUIRE(encoded == ids);
  CHECK(tokenizer.decode(ids) == text);

  tl::model<float, idiolect::thread_executor> m(w, {}, idiolect::thread_executor{2});
  const auto z = read(m, ids, ids.size());
  const auto log_probs = reference["logp"].get<std::vector<double>>();
  const auto entropies = reference["entropy"].get<std::vector<double>>();
  const index_t columns = w.shape().vocab_size;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    CAPTURE(i);
    const float* const row = z.data() + static_cast<index_t>(i) * columns;
    const auto [lse, entropy] = measure(row, columns);
    REQUIRE_THAT(entropy, Catch::Matchers::WithinAbs(entropies[i], 1e-4));
    if (i + 1 < ids.size()) {
      REQUIRE_THAT(row[ids[i + 1]] - lse, Catch::Matchers::WithinAbs(log_probs[i], 1e-4));
    }
  }
  std::vector<float> expected(z.size());
  std::ifstream file(data / "reference" / ("logits_" + name + ".f32"), std::ios::binary);
  file.read(reinterpret_cast<char*>(expected.data()),
            static_cast<std::streamsize>(expected.size() * sizeof(float)));
  REQUIRE(file.gcount() == static_cast<std::streamsize>(expected.size() * sizeof(float)));
  float furthest = 0;
  for (std::size_t i = 0; i < z.size(); ++i) {
    furthest = std::max(furthest, std::abs(z[i] - expected[i]));
  }
  CHECK(furthest < 2e-4f);

  const std::vector<tokens> texts = {ids, tokens(ids.begin(), ids.begin() + 100),
                                     tokens(ids.begin() + 7, ids.begin() + 60)};
  check_invariance(w, texts, idiolect::serial_executor{});
  check_invariance(w, texts, idiolect::thread_executor{2});
}

TEST_CASE("tiny llama: stories260K reproduces the reference on TinyStories",
          "[tiny_llama][real_model]") {
  check_reference("tinystories");
}

TEST_CASE("tiny llama: stories260K reproduces the reference on GSM8K", "[tiny_llama][real_model]") {
  check_reference("gsm8k");
}

#endif

}  // namespace
