// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Centred log-likelihood on a model that people use: its own samples have mean phi 0, at
// temperature 1 by the model's entropy, at a lower one by the sampler's.

#include <cmath>
#include <cstdio>

#include <idiolect/backend/cpu/cpu.hpp>
#include <idiolect/cll/score.hpp>
#include <idiolect/hinted/sample.hpp>

#include "../support.hpp"

namespace idiolect::test {
namespace {

struct centred {
  index_t tokens = 0;
  double phi = 0;             // mean
  double squares = 0;         // of z, mean: 1 where the variances are right
  double standard_error = 0;  // of the mean, from the predicted variances
};

centred centre(const std::vector<token_score>& scores) {
  centred c;
  double variance = 0;
  for (const auto& s : scores) {
    REQUIRE(s.status == token_status::scored);
    ++c.tokens;
    c.phi += s.phi;
    c.squares += s.phi * s.phi;
    variance += s.varentropy;
  }
  const auto n = static_cast<double>(c.tokens);
  c.phi /= n;
  c.squares /= variance;
  c.standard_error = std::sqrt(variance) / n;
  return c;
}

}  // namespace

TEST_CASE("own samples of a real model are centred at temperature 1 and under a sampler") {
  const auto path =
      std::filesystem::path(IDIOLECT_TEST_MODELS_DIR) / "SmolLM2-135M-Instruct.Q4_1.gguf";
  const auto file = load(path);
  if (!file) return skip("no " + path.string());
  llama_context_params p = parameters({16 * 256, 16, false, 512, 512});
  p.type_k = p.type_v = GGML_TYPE_F16;
  p.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_AUTO;
  p.n_threads = p.n_threads_batch = 2;
  const llama_context_ptr engine(llama_init_from_model(file.get(), p));
  llama_lm m(engine.get());
  const llama_tokenizer pieces(file.get());

  std::vector<tokens> prompts;
  const char* const subjects[] = {"a duck",  "the sea", "an old clock", "snow",
                                  "a train", "bread",   "the moon",     "a letter"};
  for (const auto* subject : subjects) {
    for (const auto* form :
         {"Write about ", "Tell me a story about ", "Explain to a child: ", "Ask me about "}) {
      prompts.emplace_back();
      pieces.encode_chat(std::vector<chat_turn>{{"user", form + std::string(subject) + "."}},
                         prompts.back());
    }
  }
  sample_options o;
  o.max_tokens = 112;
  o.seed = 7;
  o.decoder.parallel = 12;  // 4 more sequences for what the prompts have in common
  std::vector<token_score> own;
  index_t ended = 0;
  for (const auto& r : sample(cpu{}, m, pieces, prompts, o)) {
    for (const auto& t : r.text.tokens) own.push_back(t.student);
    ended += r.text.stop == stop_reason::end_of_sequence ? 1 : 0;
  }
  CHECK(m.free_streams() == 16);
  const centred one = centre(own);
  std::printf("temperature 1: %ld tokens, %ld of %zu ended, phi %+.4f (s.e. %.4f), z^2 %.3f\n",
              static_cast<long>(one.tokens), static_cast<long>(ended), prompts.size(), one.phi,
              one.standard_error, one.squares);
  CHECK(one.tokens >= 3000);
  CHECK(ended > 0);
  CHECK(std::abs(one.phi) < 3 * one.standard_error);
  CHECK(std::abs(one.squares - 1) < 0.15);  // phi has heavy tails: three standard errors of it

  // Peaked samples are above 0 by the model's own entropy, and at 0 by their sampler's.
  prompts.resize(16);
  o.max_tokens = 64;
  o.sampler.temperature = 0.3;
  score_options by_sampler;
  by_sampler.sampler = o.sampler;
  std::vector<token_score> peaked, plain;
  for (const auto& r : sample(cpu{}, m, pieces, prompts, o)) {
    tokens text = joined(r.job.student_prompt, r.text.ids);
    const std::size_t first = r.job.student_prompt.size() - 1;
    const stream_id s = m.open();
    for (std::size_t at = 0; at + 1 < text.size();) {
      // In small chunks: what decoding computes, and not what another kernel makes of long ones.
      const std::size_t n = at < first ? std::min<std::size_t>(first - at, 32)
                                       : std::min<std::size_t>(text.size() - 1 - at, 32);
      REQUIRE(m.forward(std::array{chunk{s, std::span(text).subspan(at, n), want_logits::all}}) ==
              forward_status::ok);
      if (at >= first) {
        const auto targets = std::span(text).subspan(at + 1, n);
        for (const auto& t : score(cpu{}, m.logits(s), targets, by_sampler)) peaked.push_back(t);
        for (const auto& t : score(cpu{}, m.logits(s), targets)) plain.push_back(t);
      }
      at += n;
    }
    m.drop(s);
  }
  const centred low = centre(peaked), uncentred = centre(plain);
  std::printf(
      "temperature .3: %ld tokens, phi by the sampler %+.4f (s.e. %.4f), z^2 %.3f; by the model "
      "%+.4f\n",
      static_cast<long>(low.tokens), low.phi, low.standard_error, low.squares, uncentred.phi);
  CHECK(std::abs(low.phi) < 3 * low.standard_error);
  CHECK(uncentred.phi > 0.2);
}

}  // namespace idiolect::test
