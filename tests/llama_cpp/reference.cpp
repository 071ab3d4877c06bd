// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// One model in two engines: stories260K in llama.cpp, beside what an independent implementation
// computed and beside the Llama in examples/tiny_llama.

#include <cstdint>
#include <fstream>
#include <initializer_list>

#include <nlohmann/json.hpp>

#include <idiolect/backend/cpu/cpu.hpp>
#include <idiolect/cll/score.hpp>

#include "support.hpp"
#include "tiny_llama/checkpoint.hpp"
#include "tiny_llama/model.hpp"
#include "tiny_llama/tokenizer.hpp"

namespace idiolect::test {
namespace {

struct reference_text {
  std::string text;
  tokens ids;
  std::vector<double> log_prob, entropy;
};

reference_text read_reference(const std::string& name) {
  const auto path = std::filesystem::path(IDIOLECT_TEST_DATA_DIR) / "reference" / name;
  const auto json = nlohmann::json::parse(std::ifstream(path));
  return {json.at("text"), json.at("token_ids"), json.at("logp_f64"), json.at("entropy_f64")};
}

// The text's scores, forwarded in chunks of `size` (fewer where it must fit), in `streams` at once.
std::vector<token_score> scores(llama_lm& m, const tokens& text, std::size_t size,
                                std::size_t streams) {
  std::vector<stream_id> open(streams);
  for (auto& s : open) s = m.open();
  std::vector<token_score> all;
  for (std::size_t at = 0; at + 1 < text.size(); at += size) {
    const std::size_t n = std::min(size, text.size() - 1 - at);
    std::vector<chunk> chunks;
    for (const stream_id s : open)
      chunks.push_back({s, std::span(text).subspan(at, n), want_logits::all});
    REQUIRE(m.forward(chunks) == forward_status::ok);
    const auto part = score(cpu{}, m.logits(open.back()), std::span(text).subspan(at + 1, n));
    all.insert(all.end(), part.begin(), part.end());
  }
  for (const stream_id s : open) m.drop(s);
  return all;
}

}  // namespace

TEST_CASE("llama.cpp tokenizes the reference texts as the model was trained") {
  const auto file = fixture("stories", true);
  if (!file) return;
  const llama_tokenizer pieces(file.get());
  const auto data = std::filesystem::path(IDIOLECT_TEST_DATA_DIR);
  const auto ours = tiny_llama::read_tokenizer(data / "model" / "tok512.bin");
  for (const auto* name : {"reference_tinystories.json", "reference_gsm8k.json"}) {
    const auto r = read_reference(name);
    tokens ids, from_tiny;
    pieces.encode(r.text, ids);
    ours.encode(r.text, from_tiny);
    CHECK(ids == r.ids);
    CHECK(ids == from_tiny);
    std::string bytes;
    for (const token_id t : ids) pieces.append_piece(t, bytes);
    CHECK(bytes == " " + r.text);  // the space that this tokenizer begins a text with

    // A text that goes on does not begin with one, and the parts of a text join.
    for (const std::size_t cut : {0U, 1U, 17U, 40U, 41U, 42U}) {
      tokens head, tail;
      pieces.encode(r.text.substr(0, cut), head);
      pieces.encode_text(r.text.substr(cut), tail);
      bytes.clear();
      for (const token_id t : joined(head, tail)) pieces.append_piece(t, bytes);
      CHECK(bytes == (cut > 0 ? " " : "") + r.text);
    }
  }
  CHECK(pieces.end_tokens() == tokens{1, 2});
  std::string none;
  pieces.append_piece(1, none);
  pieces.append_piece(2, none);
  CHECK(none.empty());
  CHECK_THROWS_AS(pieces.append_piece(512, none), target_error);
  pieces.append_piece(3 + 0xE9, none);
  CHECK(none == "\xE9");
}

TEST_CASE("llama.cpp gives the reference scores alone or together and in any chunks") {
  const auto file = fixture("stories");
  if (!file) return;
  const auto data = std::filesystem::path(IDIOLECT_TEST_DATA_DIR);
  const auto weights = tiny_llama::read_checkpoint<float>(data / "model" / "stories260K.bin");
  tiny_llama::model<float> tiny(weights);
  for (const auto* name : {"reference_tinystories.json", "reference_gsm8k.json"}) {
    const auto r = read_reference(name);
    const stream_id s = tiny.open();
    const auto all_but_last = std::span(r.ids).first(r.ids.size() - 1);
    REQUIRE(tiny.forward(std::array{chunk{s, all_but_last, want_logits::all}}) ==
            forward_status::ok);
    const auto ours = score(cpu{}, tiny.logits(s), std::span(r.ids).subspan(1));
    tiny.drop(s);

    for (const bool exact : {true, false}) {
      for (const bool unified : {true, false}) {
        for (const std::size_t size : {1U, 50U, 500U}) {
          const std::size_t streams = unified ? 1 : 3;
          CAPTURE(name, exact, unified, size);
          sizes z{1536, 3, unified, 1536};
          z.exact = exact;
          const auto engine = context(file, z);
          llama_lm m(engine.get());
          const auto got = scores(m, r.ids, size, streams);
          REQUIRE(got.size() == r.log_prob.size());
          double most = 0, most_ours = 0;
          for (std::size_t i = 0; i < got.size(); ++i) {
            most = std::max({most, std::abs(got[i].log_prob - r.log_prob[i]),
                             std::abs(got[i].entropy - r.entropy[i])});
            most_ours = std::max({most_ours, std::abs(got[i].log_prob - ours[i].log_prob),
                                  std::abs(got[i].entropy - ours[i].entropy)});
          }
          // Nats. In fp32 two implementations agree to 2e-5; keys and values in fp16, with a
          // rounding of 5e-4 each, are up to .03 apart, a mean of .0016.
          CAPTURE(most, most_ours);
          CHECK(most < (exact ? 1e-4 : 0.05));
          CHECK(most_ours < (exact ? 1e-4 : 0.05));
        }
      }
    }
  }
}

}  // namespace idiolect::test
