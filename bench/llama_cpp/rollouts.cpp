// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Rollouts by the decoder over llama_lm, beside the same rollouts by a plain loop over llama.cpp
// with its own greedy sampler: tokens a second, and what of a token's time is not llama_decode's.
// The two take turns on one context; medians of the repetitions. Both must write the same tokens.
//
// usage: bench_llama_cpp [MODEL.gguf [REPETITIONS [TOKENS [THREADS]]]]

#include <llama-cpp.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include <idiolect/adapters/llama_cpp/llama_cpp.hpp>
#include <idiolect/backend/cpu/cpu.hpp>
#include <idiolect/hinted/sample.hpp>

namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
double decoding = 0;  // seconds in llama_decode

}  // namespace

extern "C" {
std::int32_t __real_llama_decode(llama_context* context, llama_batch batch);
std::int32_t __wrap_llama_decode(llama_context* context, llama_batch batch) {
  const double start = now();
  const std::int32_t code = __real_llama_decode(context, batch);
  llama_synchronize(context);
  decoding += now() - start;
  return code;
}
}

namespace {

using tokens = std::vector<llama_token>;

struct run {
  double seconds = 0;
  double outside = 0;  // of llama_decode
  std::vector<tokens> texts;
  [[nodiscard]] double count() const {
    double n = 0;
    for (const auto& t : texts) n += static_cast<double>(t.size());
    return n;
  }
};

struct setting {
  llama_context* context;
  const idiolect::llama_tokenizer& pieces;
  std::vector<tokens> prompts;
  int most;  // tokens of a text
};

template <class Loop>
run timed(const setting& s, Loop&& loop) {
  llama_memory_clear(llama_get_memory(s.context), false);
  run r;
  decoding = 0;
  const double start = now();
  r.texts = loop();
  r.seconds = now() - start;
  r.outside = r.seconds - decoding;
  return r;
}

std::vector<tokens> plain(const setting& s) {
  const llama_vocab* const vocab = llama_model_get_vocab(llama_get_model(s.context));
  const llama_sampler_ptr greedy(llama_sampler_init_greedy());
  const auto n = static_cast<int>(s.prompts.size());
  llama_batch batch = llama_batch_init(static_cast<int>(llama_n_batch(s.context)), 0, 1);
  std::vector<tokens> pending = s.prompts, texts(s.prompts.size());
  std::vector<llama_pos> length(s.prompts.size());
  std::vector<int> row(s.prompts.size());
  for (bool busy = true; busy;) {
    batch.n_tokens = 0;
    for (int i = 0; i < n; ++i) {
      const auto k = static_cast<std::size_t>(i);
      for (const llama_token t : pending[k]) {
        row[k] = batch.n_tokens++;
        batch.token[row[k]] = t;
        batch.pos[row[k]] = length[k]++;
        batch.n_seq_id[row[k]] = 1;
        batch.seq_id[row[k]][0] = i;
        batch.logits[row[k]] = 0;
      }
      if (!pending[k].empty()) batch.logits[row[k]] = 1;
    }
    if (llama_decode(s.context, batch) != 0) std::abort();
    busy = false;
    for (int i = 0; i < n; ++i) {
      const auto k = static_cast<std::size_t>(i);
      if (pending[k].empty()) continue;
      const llama_token t = llama_sampler_sample(greedy.get(), s.context, row[k]);
      texts[k].push_back(t);
      pending[k].clear();
      if (llama_vocab_is_eog(vocab, t) || static_cast<int>(texts[k].size()) == s.most) continue;
      pending[k] = {t};
      busy = true;
    }
  }
  llama_batch_free(batch);
  return texts;
}

std::vector<tokens> ours(const setting& s, double temperature) {
  idiolect::llama_lm model(s.context);
  idiolect::sample_options o;
  o.sampler.temperature = temperature;
  o.max_tokens = s.most;
  o.decoder.parallel = static_cast<idiolect::index_t>(s.prompts.size());
  std::vector<tokens> texts;
  for (auto& r : idiolect::sample(idiolect::cpu{}, model, s.pieces, s.prompts, o)) {
    texts.push_back(std::move(r.text.ids));
  }
  return texts;
}

// Two streams a text: the reference in the teacher's prompt.
std::vector<tokens> hinted(const setting& s, const std::vector<tokens>& teachers) {
  idiolect::llama_lm model(s.context);
  idiolect::hinted_options o;
  o.max_tokens = s.most;
  const idiolect::hinted_policy policy(idiolect::cpu{}, s.pieces, idiolect::linear_lambda{3}, o);
  idiolect::hinted_decoder decoder(model, policy,
                                   {.parallel = static_cast<idiolect::index_t>(s.prompts.size())});
  std::vector<tokens> texts(s.prompts.size());
  std::size_t next = 0;
  decoder.run(
      [&]() -> std::optional<idiolect::decode_job> {
        if (next == s.prompts.size()) return std::nullopt;
        idiolect::decode_job j;
        j.record = next;
        j.student_prompt = s.prompts[next];
        j.teacher_prompt = teachers[next++];
        return j;
      },
      [&](idiolect::decode_result r) { texts[r.job.record] = std::move(r.text.ids); });
  return texts;
}

double median(std::vector<double> v) {
  std::ranges::sort(v);
  return v[v.size() / 2];
}
double rate(const std::vector<run>& runs) {
  std::vector<double> v;
  for (const run& r : runs) v.push_back(r.count() / r.seconds);
  return median(v);
}
double outside(const std::vector<run>& runs) {  // seconds a token
  std::vector<double> v;
  for (const run& r : runs) v.push_back(r.outside / r.count());
  return median(v);
}
double share(const std::vector<run>& runs) {
  std::vector<double> v;
  for (const run& r : runs) v.push_back(r.outside / r.seconds);
  return median(v);
}

}  // namespace

int main(int argc, char** argv) {
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  const char* const path = argc > 1 ? argv[1] : IDIOLECT_BENCH_MODEL;
  const int repetitions = argc > 2 ? std::max(1, std::atoi(argv[2])) : 5;
  const int most = argc > 3 ? std::max(1, std::atoi(argv[3])) : 64;
  const int threads =
      argc > 4 ? std::atoi(argv[4]) : static_cast<int>(std::thread::hardware_concurrency());
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);  // a line as soon as it is known
  const llama_model_ptr model(llama_model_load_from_file(path, llama_model_default_params()));
  if (!model) return std::fprintf(stderr, "no model %s\n", path), 1;
  const idiolect::llama_tokenizer pieces(model.get());
  std::printf("%s, V = %lld, %d threads, texts of up to %d tokens, medians of %d\n", path,
              static_cast<long long>(pieces.vocab_size()), threads, most, repetitions);
  std::printf("%-24s %6s %10s %8s %14s %8s\n", "", "texts", "tokens/s", "to plain",
              "outside us/tok", "outside");

  const char* const subjects[] = {"a duck",  "the sea", "an old clock", "snow",
                                  "a train", "bread",   "the moon",     "a letter"};
  bool same = true;
  for (const std::size_t n : {1U, 4U, 8U}) {
    llama_context_params p = llama_context_default_params();
    p.n_seq_max = static_cast<std::uint32_t>(2 * n);
    p.n_ctx = 256 * p.n_seq_max;
    p.n_batch = 1024;
    p.n_threads = p.n_threads_batch = threads;
    const llama_context_ptr context(llama_init_from_model(model.get(), p));
    if (!context) return 1;
    setting s{context.get(), pieces, {}, most};
    std::vector<tokens> teachers;
    for (std::size_t k = 0; k < n; ++k) {
      const std::string question = std::string("Tell me a long story about ") + subjects[k] + ".";
      const std::string hint = "A story, for reference:\nThere was " + std::string(subjects[k]) +
                               " that nobody wanted, until one day it rained.\n\n" + question;
      pieces.encode_chat(std::vector<idiolect::chat_turn>{{"user", question}},
                         s.prompts.emplace_back());
      pieces.encode_chat(std::vector<idiolect::chat_turn>{{"user", hint}}, teachers.emplace_back());
    }
    (void)timed(s, [&] { return plain(s); });  // warm
    std::vector<run> a, b, c, d;
    for (int i = 0; i < repetitions; ++i) {
      a.push_back(timed(s, [&] { return plain(s); }));
      b.push_back(timed(s, [&] { return ours(s, 0); }));
      c.push_back(timed(s, [&] { return ours(s, 1); }));
      d.push_back(timed(s, [&] { return hinted(s, teachers); }));
      same = same && a.back().texts == b.back().texts;
    }
    const double base = rate(a);
    const auto print = [&](const char* name, const std::vector<run>& r) {
      std::printf("%-24s %6zu %10.1f %8.3f %14.1f %7.2f%%\n", name, n, rate(r), rate(r) / base,
                  1e6 * outside(r), 100 * share(r));
    };
    print("llama.cpp, greedy", a);
    print("rollout, greedy", b);
    print("rollout, temperature 1", c);
    print("hinted (two streams)", d);
  }
  std::printf("greedy texts are %s\n", same ? "the same" : "NOT the same");
  return same ? 0 : 1;
}
