// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The tiny Llama's files: checkpoints and tokenizers come back as they were written, and a damaged
// file is an error that names it; and the tokenizer itself, against the naive way to merge.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include <idiolect/core/philox.hpp>

#include "support/catch.hpp"
#include "tiny_llama/checkpoint.hpp"
#include "tiny_llama/tokenizer.hpp"

#if !defined(IDIOLECT_TEST_DATA_DIR)
#define IDIOLECT_TEST_DATA_DIR ""
#endif

namespace {

using Catch::Matchers::ContainsSubstring;
using idiolect::index_t;
using idiolect::token_id;
namespace fs = std::filesystem;
namespace tl = tiny_llama;

using tokens = std::vector<token_id>;

// A folder of its own that goes away with the test.
class scratch_folder {
 public:
  scratch_folder() {
    static int count = 0;
    const auto unique = std::to_string(std::hash<const void*>{}(this)) + std::to_string(count++);
    path_ = fs::temp_directory_path() / ("tiny_llama_test_" + unique);
    fs::create_directories(path_);
  }
  ~scratch_folder() { fs::remove_all(path_); }
  [[nodiscard]] fs::path operator/(const std::string& name) const { return path_ / name; }
  [[nodiscard]] std::ptrdiff_t files() const {
    return std::distance(fs::directory_iterator(path_), {});
  }

 private:
  fs::path path_;
};

void write_bytes(const fs::path& path, const std::vector<char>& bytes) {
  std::ofstream out(path, std::ios::binary);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

tl::config small_shape(bool tied) {
  return {.dim = 12,
          .hidden_dim = 7,
          .layers = 2,
          .heads = 6,
          .kv_heads = 3,
          .vocab_size = 5,
          .context_size = 4,
          .tied = tied};
}

template <class Real>
bool same_bits(std::span<const Real> a, std::span<const Real> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

TEST_CASE("tiny llama: a checkpoint comes back bit for bit", "[tiny_llama]") {
  const bool tied = GENERATE(true, false);
  const scratch_folder folder;
  const auto path = folder / "model.bin";
  const auto w = tl::random_weights<float>(small_shape(tied), 4);
  tl::write_checkpoint(w, path);
  CHECK(folder.files() == 1);
  const auto back = tl::read_checkpoint<float>(path);
  CHECK(back.shape() == w.shape());
  CHECK(same_bits(back.flat(), w.flat()));

  // The tables stand where llama2.c has them, with the right angles.
  const auto bytes = tl::read_file(path);
  const index_t own_head = tied ? 0 : 5 * 12;
  REQUIRE(static_cast<index_t>(bytes.size()) == 4 * (7 + w.size() + 2 * 4 * 1));
  std::array<float, 8> tables;
  std::memcpy(tables.data(), bytes.data() + 4 * (7 + w.size() - own_head), sizeof tables);
  for (std::size_t position = 0; position < 4; ++position) {
    CHECK(tables[position] == std::cos(static_cast<float>(position)));
    CHECK(tables[4 + position] == std::sin(static_cast<float>(position)));
  }
  const auto wide = tl::read_checkpoint<double>(path);
  CHECK(wide.flat()[3] == static_cast<double>(w.flat()[3]));
  tl::write_checkpoint(wide, path);  // replaces the file
  CHECK(tl::read_file(path) == bytes);
}

TEST_CASE("tiny llama: weights are the same for a seed and differ between seeds", "[tiny_llama]") {
  const auto shape = small_shape(false);
  const auto w = tl::random_weights<float>(shape, 4);
  CHECK(same_bits<float>(w.flat(), tl::random_weights<float>(shape, 4).flat()));
  CHECK_FALSE(same_bits<float>(w.flat(), tl::random_weights<float>(shape, 5).flat()));
  CHECK(
      same_bits<float>(w.flat(), tl::convert<float>(tl::random_weights<double>(shape, 4)).flat()));
  CHECK(w.size() == tl::parameter_count(shape));
  CHECK(w.at(tl::tensor::ffn_norm, 1)(0, 11) == 1.0f);
  CHECK(w.at(tl::tensor::key, 1).rows() == 6);
  CHECK(w.at(tl::tensor::ffn_down, 1).cols() == 7);
  CHECK_THROWS_AS(w.at(tl::tensor::key, 2), idiolect::shape_error);
  const auto tied = tl::random_weights<float>(small_shape(true), 4);
  CHECK(tied.at(tl::tensor::head).data() == tied.at(tl::tensor::token_embedding).data());
}

TEST_CASE("tiny llama: a model whose sizes do not fit is refused", "[tiny_llama]") {
  const auto with = [](auto&& change) {
    auto shape = small_shape(true);
    change(shape);
    return tl::weights<float>(shape).size();
  };
  CHECK(with([](auto&) {}) > 0);
  CHECK_THROWS_WITH(with([](auto& c) { c.layers = 0; }), ContainsSubstring("layers is 0"));
  CHECK_THROWS_WITH(with([](auto& c) { c.vocab_size = -5; }), ContainsSubstring("vocab_size"));
  CHECK_THROWS_WITH(with([](auto& c) { c.heads = 5; }), ContainsSubstring("multiple of 5"));
  CHECK_THROWS_WITH(with([](auto& c) { c.kv_heads = 4; }), ContainsSubstring("kv_heads"));
  CHECK_THROWS_WITH(with([](auto& c) { c.heads = c.kv_heads = 4; }), ContainsSubstring("even"));
}

TEST_CASE("tiny llama: a damaged checkpoint is an error that names the file", "[tiny_llama]") {
  const scratch_folder folder;
  const auto path = folder / "model.bin";
  tl::write_checkpoint(tl::random_weights<float>(small_shape(true), 4), path);
  const auto good = tl::read_file(path);
  const auto complaint = [&](const std::vector<char>& bytes) -> std::string {
    write_bytes(path, bytes);
    try {
      static_cast<void>(tl::read_checkpoint<float>(path));
    } catch (const tl::file_error& e) {
      CHECK_THAT(e.what(), ContainsSubstring(path.string()));
      return e.what();
    }
    return "none";
  };
  const auto cut = [&](std::size_t n) {
    return std::vector<char>(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(n));
  };
  const auto with_word = [&](std::size_t place, std::int32_t value) {
    auto bytes = good;
    std::memcpy(bytes.data() + 4 * place, &value, sizeof value);
    return bytes;
  };
  CHECK(complaint(good) == "none");
  CHECK_THAT(complaint({}), ContainsSubstring("header of 28 bytes, found 0"));
  CHECK_THAT(complaint(cut(27)), ContainsSubstring("found 27"));
  CHECK_THAT(complaint(cut(28)), ContainsSubstring("expected " + std::to_string(good.size())));
  CHECK_THAT(complaint(cut(good.size() - 1)),
             ContainsSubstring("found " + std::to_string(good.size() - 1)));
  auto longer = good;
  longer.push_back(0);
  CHECK_THAT(complaint(longer), ContainsSubstring("expected " + std::to_string(good.size())));

  constexpr auto most = std::numeric_limits<std::int32_t>::max();
  constexpr auto least = std::numeric_limits<std::int32_t>::min();
  for (std::size_t place = 0; place < 7; ++place) {
    for (const std::int32_t value : {0, most, least, 1 << 18, -1}) {
      CAPTURE(place, value);
      CHECK(complaint(with_word(place, value)) != "none");
    }
  }
  CHECK_THAT(complaint(with_word(3, 5)), ContainsSubstring("does not describe a model"));
  std::vector<char> swapped = good;
  for (std::size_t i = 0; i < 28; i += 4) std::reverse(&swapped[i], &swapped[i] + 4);
  CHECK_THAT(complaint(swapped), ContainsSubstring("big-endian"));
  const std::string text = "This is not a model at all, but somebody's notes on one.";
  CHECK_THAT(complaint({text.begin(), text.end()}), ContainsSubstring("not a llama2.c checkpoint"));

  fs::remove(path);
  CHECK_THROWS_WITH(tl::read_checkpoint<float>(path), ContainsSubstring("cannot be read"));
  CHECK_THROWS_AS(tl::read_checkpoint<float>(folder / ""), tl::file_error);  // a folder
}

/// As llama2.c's export.py writes version 1, or 2 with groups of `group` numbers.
std::vector<char> exported(const tl::weights<float>& w, std::int32_t version, int group) {
  std::vector<char> bytes;
  const auto put = [&](auto value) {
    const auto* const raw = reinterpret_cast<const char*>(&value);
    bytes.insert(bytes.end(), raw, raw + sizeof value);
  };
  const auto& c = w.shape();
  put(std::uint32_t{0x616b3432});
  put(version);
  for (const auto size :
       {c.dim, c.hidden_dim, c.layers, c.heads, c.kv_heads, c.vocab_size, c.context_size}) {
    put(static_cast<std::int32_t>(size));
  }
  put(static_cast<std::uint8_t>(c.tied));
  if (version == 2) put(static_cast<std::int32_t>(group));
  bytes.resize(256);
  using enum tl::tensor;
  const auto each = [&](tl::tensor kind, auto&& f) {
    for (tl::index_t layer = 0; layer < tl::shape_of(c, kind).copies; ++layer) {
      const auto m = w.at(kind, layer);
      std::vector<float> values;
      for (tl::index_t r = 0; r < m.rows(); ++r) {
        values.insert(values.end(), m.row(r), m.row(r) + m.cols());
      }
      f(values);
    }
  };
  const auto plain = [&](const std::vector<float>& values) {
    for (const float x : values) put(x);
  };
  const auto quantised = [&](const std::vector<float>& values) {
    std::vector<float> scales;
    for (std::size_t i = 0; i < values.size(); i += static_cast<std::size_t>(group)) {
      float most = 0;
      for (std::size_t k = i; k < i + static_cast<std::size_t>(group); ++k) {
        most = std::max(most, std::fabs(values[k]));
      }
      scales.push_back(most / 127);
      for (std::size_t k = i; k < i + static_cast<std::size_t>(group); ++k) {
        put(static_cast<std::int8_t>(std::lround(values[k] / scales.back())));
      }
    }
    plain(scales);
  };
  for (const auto kind : {attention_norm, ffn_norm, final_norm}) each(kind, plain);
  for (const auto kind :
       {token_embedding, query, key, value, attention_output, ffn_gate, ffn_down, ffn_up, head}) {
    version == 2 ? each(kind, quantised) : each(kind, plain);
  }
  return bytes;
}

TEST_CASE("tiny llama: the newer exports of llama2.c", "[tiny_llama]") {
  const scratch_folder folder;
  const fs::path path = folder / "export.bin";
  for (const bool tied : {true, false}) {
    const auto w = tl::random_weights<float>(small_shape(tied), 4);
    write_bytes(path, exported(w, 1, 0));
    const auto one = tl::open_checkpoint<float>(path);
    CHECK(one.rope == tl::rope_origin::convention);
    CHECK(one.weights.shape() == w.shape());
    CHECK(std::ranges::equal(one.weights.flat(), w.flat()));

    const auto group = static_cast<int>(w.shape().head_size());
    const auto two = exported(w, 2, group);
    write_bytes(path, two);
    const auto q = tl::read_checkpoint<float>(path);
    CHECK(q.shape() == w.shape());
    float most = 0;
    for (const float x : w.flat()) most = std::max(most, std::fabs(x));
    for (std::size_t i = 0; i < w.flat().size(); ++i) {
      CHECK(std::fabs(q.flat()[i] - w.flat()[i]) <= most / 127);  // a step of the coarsest group
    }
    write_bytes(path, {two.begin(), two.end() - 1});
    CHECK_THROWS_WITH(tl::read_checkpoint<float>(path),
                      ContainsSubstring("expected " + std::to_string(two.size())));
    write_bytes(path, {two.begin(), two.begin() + 100});
    CHECK_THROWS_WITH(tl::read_checkpoint<float>(path), ContainsSubstring("cut off in its header"));
    auto other = two;
    other[4] = 3;
    write_bytes(path, other);
    CHECK_THROWS_WITH(tl::read_checkpoint<float>(path), ContainsSubstring("export of version 3"));
    other = two;
    other[37] = 7;
    write_bytes(path, other);
    CHECK_THROWS_WITH(tl::read_checkpoint<float>(path), ContainsSubstring("groups of 7"));
  }
}

TEST_CASE("tiny llama: the base of RoPE is that of the file's tables", "[tiny_llama]") {
  const scratch_folder folder;
  const fs::path path = folder / "model.bin";
  auto shape = small_shape(true);
  shape.dim = 8 * shape.heads;
  for (const double base : {10000.0, 500000.0, 1e6, 2500.0}) {
    shape.rope_base = base;
    tl::write_checkpoint(tl::random_weights<float>(shape, 4), path);
    const auto c = tl::open_checkpoint<float>(path);
    CHECK(c.rope == tl::rope_origin::tables);
    CHECK(c.weights.shape().rope_base == base);
    CHECK(tl::open_checkpoint<float>(path, 777.0).weights.shape().rope_base == 777);
  }
  auto bytes = tl::read_file(path);
  const auto tables = 8 * static_cast<std::size_t>(shape.context_size * shape.head_size() / 2);
  std::fill(bytes.end() - static_cast<std::ptrdiff_t>(tables), bytes.end(), '\0');
  write_bytes(path, bytes);
  CHECK(tl::open_checkpoint<float>(path).rope == tl::rope_origin::convention);
  // Positions that are scaled belong to no base.
  const float half = 0.5F;
  std::memcpy(bytes.data() + bytes.size() - 4, &half, 4);
  write_bytes(path, bytes);
  CHECK_THROWS_WITH(tl::read_checkpoint<float>(path), ContainsSubstring("tables are those of no"));
  CHECK(tl::open_checkpoint<float>(path, 10000.0).rope == tl::rope_origin::given);
}

TEST_CASE("tiny llama: a file that cannot be written leaves nothing behind", "[tiny_llama]") {
  const scratch_folder folder;
  const auto w = tl::random_weights<float>(small_shape(true), 4);
  CHECK_THROWS_AS(tl::write_checkpoint(w, folder / "no/such/folder/model.bin"), tl::file_error);
  fs::create_directories(folder / "taken/by/a/folder");
  CHECK_THROWS_AS(tl::write_checkpoint(w, folder / "taken"), tl::file_error);
  CHECK(folder.files() == 1);
  {
    tl::file_writer given_up(folder / "half");
    given_up.word(1.0f);
    CHECK(folder.files() == 2);
  }
  CHECK(folder.files() == 1);
}

// Merging as llama2.c does it: look at all pairs, join the best, begin again.
tokens merged_naively(const tl::tokenizer& t, tokens text) {
  for (;;) {
    float best = -std::numeric_limits<float>::infinity();
    std::size_t place = text.size();
    token_id joined = 0;
    for (std::size_t i = 0; i + 1 < text.size(); ++i) {
      const auto& left = t.pieces()[static_cast<std::size_t>(text[i])].bytes;
      const auto& right = t.pieces()[static_cast<std::size_t>(text[i + 1])].bytes;
      const auto id = t.find(left + right);
      if (!id) continue;
      const float score = t.pieces()[static_cast<std::size_t>(*id)].score;
      if (place < text.size() && score <= best) continue;
      best = score;
      place = i;
      joined = *id;
    }
    if (place == text.size()) return text;
    text[place] = joined;
    text.erase(text.begin() + static_cast<std::ptrdiff_t>(place) + 1);
  }
}

// Pieces over three letters and a space, byte pieces before them, many scores equal.
tl::tokenizer small_tokenizer(std::uint64_t seed, bool bytes) {
  std::vector<tl::tokenizer::piece> pieces = {{"<unk>", 0}, {"\n<s>\n", 0}, {"\n</s>\n", 0}};
  for (int b = 0; bytes && b < 256; ++b) {
    constexpr const char* digits = "0123456789ABCDEF";
    pieces.push_back({std::string("<0x") + digits[b / 16] + digits[b % 16] + ">", 0});
  }
  for (const char* c : {" ", "a", "b", "c", "\xc3\xa9"}) pieces.push_back({c, -9});
  const idiolect::philox draws{seed, 0};
  for (std::uint64_t i = 0; i < 40; ++i) {
    std::string piece;
    for (std::uint64_t k = 0; k < 2 + i % 4; ++k) piece += " abc"[draws.below(4, 8 * i + k)];
    const auto score = -static_cast<float>(draws.below(6, 8 * i + 7));
    pieces.push_back({piece, score});
  }
  return tl::tokenizer(pieces);
}

TEST_CASE("tiny llama: merging by a queue is merging one pair after the other", "[tiny_llama]") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const auto t = small_tokenizer(seed, seed % 2 == 0);
    for (std::uint64_t k = 0; k < 20; ++k) {
      const idiolect::philox draws{seed, k + 1};
      std::string text;
      tokens characters;
      for (std::uint64_t i = 0; i < 3 * k; ++i) {
        text += " abc"[draws.below(4, i)];
        characters.push_back(*t.find(text.substr(text.size() - 1)));
      }
      CAPTURE(seed, text);
      tokens out;
      t.encode(text, out, {.begin = false, .dummy_space = false});
      CHECK(out == merged_naively(t, characters));
      CHECK(t.decode(out) == text);
    }
  }
  // Long texts take no longer than they must.
  const auto t = small_tokenizer(1, true);
  std::string text;
  for (int i = 0; i < 200000; ++i) text += "abc "[(i % 7) * (i % 7) % 4];
  tokens out;
  t.encode(text, out);
  CHECK(t.decode(out) == text);
}

TEST_CASE("tiny llama: what stands before a text and what has no piece", "[tiny_llama]") {
  std::vector<tl::tokenizer::piece> pieces = small_tokenizer(0, true).pieces();
  pieces.resize(3 + 256 + 5);  // no unions
  const tl::tokenizer t(pieces);
  const auto encode = [&](std::string_view text, const tl::encode_options& options = {}) {
    tokens out;
    t.encode(text, out, options);
    return out;
  };
  CHECK(t.has_byte_pieces());
  CHECK(encode("") == tokens{1});
  CHECK(encode("", {.begin = false}).empty());
  CHECK(encode("a") == tokens{1, 259, 260});
  CHECK(encode("a", {.begin = false}) == tokens{259, 260});
  CHECK(encode("a", {.begin = false, .dummy_space = false}) == tokens{260});
  CHECK(encode("a", {.dummy_space = false}) == tokens{1, 260});
  const tl::encode_options bare{.begin = false, .dummy_space = false};
  CHECK(encode("\xc3\xa9", bare) == tokens{263});                 // a piece
  CHECK(encode("\xc3\xa8", bare) == tokens{3 + 0xc3, 3 + 0xa8});  // no piece: bytes
  CHECK(encode(std::string(1, '\0'), bare) == tokens{3});
  CHECK(encode("\xa9\xa9\xa9\xa9\xa9", bare) == tokens(5, 3 + 0xa9));  // not UTF-8

  tokens appended = {7};
  t.encode("a", appended);
  CHECK(appended == tokens{7, 1, 259, 260});

  CHECK(t.decode(tokens{1, 259, 260}) == "a");
  CHECK(t.decode(tokens{259, 260}) == " a");
  CHECK(t.decode(tokens{1, 259, 259, 260, 2, 1, 259, 261}) == " ab");
  CHECK(t.decode(tokens{3 + 0xc3, 3 + 0xa8}) == "\xc3\xa8");
  CHECK(t.decode(tokens{0}) == "<unk>");
  CHECK_THROWS_AS(t.decode(tokens{264}), idiolect::target_error);
  CHECK_THROWS_AS(t.decode(tokens{-1}), idiolect::target_error);

  std::string every;
  for (int b = 0; b < 256; ++b) every += static_cast<char>(b);
  CHECK(t.decode(encode(every)) == every);
}

TEST_CASE("tiny llama: a vocabulary of characters", "[tiny_llama]") {
  const auto t = tl::character_tokenizer("ab \n\xc3\xa9");
  CHECK(t.vocab_size() == 8);
  CHECK_FALSE(t.has_byte_pieces());
  tokens out;
  t.encode("b a\n\xc3\xa9$?a", out);
  CHECK(out == tokens{1, 4, 5, 3, 6, 7, 2, 0, 3});
  CHECK(t.decode(out) == "b a\n\xc3\xa9$<unk>a");
  out.clear();
  t.encode(" a", out, {.begin = false});
  CHECK(out == tokens{5, 3});
  CHECK(t.decode(tokens{1, 5, 3}) == " a");  // that space is the text's own
  CHECK_THROWS_WITH(tl::character_tokenizer("abca"), ContainsSubstring("'a' stands twice"));
  CHECK_THROWS_AS(tl::character_tokenizer("a$"), idiolect::shape_error);
  CHECK_THROWS_AS(tl::tokenizer({{"a", 0}, {"b", 0}}), idiolect::shape_error);
}

TEST_CASE("tiny llama: a tokenizer comes back as it was written", "[tiny_llama]") {
  const scratch_folder folder;
  const auto path = folder / "tokenizer.bin";
  for (const auto& t : {small_tokenizer(3, true), tl::character_tokenizer("xyz\n")}) {
    tl::write_tokenizer(t, path);
    const auto back = tl::read_tokenizer(path, t.vocab_size());
    REQUIRE(back.vocab_size() == t.vocab_size());
    for (std::size_t i = 0; i < t.pieces().size(); ++i) {
      CHECK(back.pieces()[i].bytes == t.pieces()[i].bytes);
      CHECK(back.pieces()[i].score == t.pieces()[i].score);
    }
  }
  CHECK(folder.files() == 1);
  CHECK_THROWS_WITH(tl::read_tokenizer(path, 12), ContainsSubstring("expected the model's 12"));
}

TEST_CASE("tiny llama: a damaged tokenizer is an error that names the file", "[tiny_llama]") {
  const scratch_folder folder;
  const auto path = folder / "tokenizer.bin";
  tl::write_tokenizer(tl::character_tokenizer("xyz"), path);
  const auto good = tl::read_file(path);
  const auto fails = [&](const std::vector<char>& bytes) {
    write_bytes(path, bytes);
    try {
      static_cast<void>(tl::read_tokenizer(path, 6));
    } catch (const tl::file_error& e) {
      CHECK_THAT(e.what(), ContainsSubstring(path.string()));
      return true;
    }
    return false;
  };
  CHECK_FALSE(fails(good));
  for (std::size_t n = 0; n < good.size(); ++n) {
    CAPTURE(n);
    CHECK(fails({good.begin(), good.begin() + static_cast<std::ptrdiff_t>(n)}));
  }
  auto bad = good;
  const std::int32_t huge = 0x7fffffff;
  std::memcpy(bad.data() + 8, &huge, 4);  // the first piece's length
  CHECK(fails(bad));
  std::memcpy(bad.data(), &huge, 4);  // and the longest allowed
  CHECK(fails(bad));
  const std::int32_t negative = -1;
  bad = good;
  std::memcpy(bad.data() + 8, &negative, 4);
  CHECK(fails(bad));
  bad = good;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(bad.data() + 4, &nan, 4);
  CHECK(fails(bad));
  fs::remove(path);
  CHECK_THROWS_AS(tl::read_tokenizer(path), tl::file_error);

  // Any single byte changed gives an error or a tokenizer, never anything else.
  const idiolect::philox draws{1, 1};
  for (std::uint64_t i = 0; i < 500; ++i) {
    auto mutated = good;
    mutated[draws.below(mutated.size(), 2 * i)] = static_cast<char>(draws.below(256, 2 * i + 1));
    static_cast<void>(fails(mutated));
  }
}

TEST_CASE("tiny llama: the real model's files come back byte for byte",
          "[tiny_llama][real_model]") {
  const fs::path data = IDIOLECT_TEST_DATA_DIR;
  if (data.empty() || !fs::exists(data / "model/stories260K.bin")) {
    idiolect::test::skip(
        "no stories260K; set IDIOLECT_DATA_DIR to a folder with model/ "
        "(huggingface.co/karpathy/tinyllamas)");
    return;
  }
  const scratch_folder folder;
  const auto t = tl::read_tokenizer(data / "model/tok512.bin", 512);
  tl::write_tokenizer(t, folder / "tokenizer.bin");
  CHECK(tl::read_file(folder / "tokenizer.bin") == tl::read_file(data / "model/tok512.bin"));

  const auto w = tl::read_checkpoint<float>(data / "model/stories260K.bin");
  CHECK(w.shape() == tl::config{.dim = 64,
                                .hidden_dim = 172,
                                .layers = 5,
                                .heads = 8,
                                .kv_heads = 4,
                                .vocab_size = 512,
                                .context_size = 512,
                                .tied = true});
  tl::write_checkpoint(w, folder / "model.bin");
  const auto ours = tl::read_file(folder / "model.bin");
  const auto theirs = tl::read_file(data / "model/stories260K.bin");
  REQUIRE(ours.size() == theirs.size());
  const std::size_t weights = 28 + 4 * static_cast<std::size_t>(w.size());
  CHECK(std::equal(ours.begin(), ours.begin() + static_cast<std::ptrdiff_t>(weights),
                   theirs.begin()));
  for (std::size_t i = weights; i < ours.size(); i += 4) {  // theirs were computed in fp32
    float a = 0;
    float b = 0;
    std::memcpy(&a, &ours[i], 4);
    std::memcpy(&b, &theirs[i], 4);
    CHECK_THAT(a, Catch::Matchers::WithinAbs(static_cast<double>(b), 1e-4));
  }

  // A whole book, merged as the naive way does it.
  std::ifstream in(data / "text/tinyshakespeare.txt", std::ios::binary);
  std::string text(std::istreambuf_iterator<char>(in), {});
  tokens out;
  t.encode(text, out);
  CHECK(t.decode(out) == text);
  text.resize(1500);
  tokens characters = {*t.find(" ")};
  for (const char c : text) {
    const auto id = t.find(std::string(1, c));
    characters.push_back(id ? *id : 3 + static_cast<unsigned char>(c));
  }
  out.clear();
  t.encode(text, out, {.begin = false});
  CHECK(out == merged_naively(t, characters));
}

}  // namespace
