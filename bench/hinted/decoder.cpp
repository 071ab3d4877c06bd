// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Throughput of the decoder against the number of texts in flight, and what of its time is not the
// model's. Counters:
//
//   tokens_per_second
//   calls_per_token   of forward; 1 alone, less with more texts in flight
//   outside           share of the time that is not spent in forward
//
// Models: the default model (V = 38), stories260K (V = 512, where IDIOLECT_BENCH_DATA_DIR has
// model/stories260K.bin; else random weights of its shape), and a stand-in with V = 151936 whose
// calls take 10 ms however many tokens they have. `threads` run the steps of different texts side
// by side; the models run on one. Every run is checked: the same tokens as one text at a time.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <idiolect/backend/cpu/cpu.hpp>
#include <idiolect/core/executor.hpp>
#include <idiolect/core/philox.hpp>
#include <idiolect/hinted/decoder.hpp>
#include <idiolect/hinted/lambda.hpp>
#include <idiolect/hinted/policy.hpp>

#include "../support/rows.hpp"
#include "tiny_llama/checkpoint.hpp"
#include "tiny_llama/model.hpp"

#if !defined(IDIOLECT_BENCH_DATA_DIR)
#define IDIOLECT_BENCH_DATA_DIR ""
#endif

namespace idiolect::bench {
namespace {

/// Seconds. Not processor time: that would count steps that run side by side one after another,
/// and asking for it takes a tenth of the time of a small model's step.
double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// A model whose time in forward is added up.
template <class Model>
class timed {
 public:
  explicit timed(Model& model) : model_(model) {}

  [[nodiscard]] index_t vocab_size() const { return model_.vocab_size(); }
  [[nodiscard]] index_t context_size() const { return model_.context_size(); }
  [[nodiscard]] index_t max_streams() const { return model_traits<Model>::max_streams(model_); }
  [[nodiscard]] index_t max_chunk() const { return model_traits<Model>::max_chunk(model_); }
  [[nodiscard]] bool is_end(token_id t) const { return model_.is_end(t); }
  stream_id open() { return model_.open(); }
  stream_id fork(stream_id s) { return model_.fork(s); }
  void drop(stream_id s) { model_.drop(s); }
  [[nodiscard]] index_t length(stream_id s) const { return model_.length(s); }
  [[nodiscard]] auto logits(stream_id s) const { return view(model_.logits(s)); }

  forward_status forward(std::span<const chunk> chunks) {
    const double start = now();
    const auto status = model_.forward(chunks);
    seconds_ += now() - start;
    return status;
  }
  [[nodiscard]] double seconds() const { return seconds_; }

 private:
  Model& model_;
  double seconds_ = 0;
};

/// Rows of Gaussian logits, the same few again and again, after 10 ms.
class slow_model {
 public:
  static constexpr index_t vocab = 151936;

  [[nodiscard]] index_t vocab_size() const { return vocab; }
  [[nodiscard]] index_t context_size() const { return 4096; }
  [[nodiscard]] index_t max_streams() const { return 256; }
  [[nodiscard]] bool is_end(token_id) const { return false; }
  stream_id open() {
    lengths_.emplace(next_, 0);
    return next_++;
  }
  stream_id fork(stream_id s) {
    lengths_.emplace(next_, lengths_.at(s));
    return next_++;
  }
  void drop(stream_id s) { lengths_.erase(s); }
  [[nodiscard]] index_t length(stream_id s) const { return lengths_.at(s); }
  forward_status forward(std::span<const chunk> chunks) {
    const double start = now();
    for (const chunk& c : chunks) lengths_.at(c.stream) += static_cast<index_t>(c.tokens.size());
    while (now() - start < 0.010) {
    }
    return forward_status::ok;
  }
  [[nodiscard]] matrix_view<const float> logits(stream_id s) const {
    return rows_.view().block(lengths_.at(s) % rows, 1);
  }

 private:
  static constexpr index_t rows = 8;
  problem rows_{{rows, vocab}};
  std::map<stream_id, index_t> lengths_;
  stream_id next_ = 0;
};

struct no_pieces {
  [[nodiscard]] index_t vocab_size() const { return slow_model::vocab; }
  void encode(std::string_view, std::vector<token_id>&) const {}
  void append_piece(token_id t, std::string& bytes) const {
    bytes += static_cast<char>('a' + t % 26);
  }
};

std::vector<decode_job> make_jobs(index_t count, index_t vocab) {
  std::vector<decode_job> jobs;
  for (index_t k = 0; k < count; ++k) {
    const philox random{7, static_cast<std::uint64_t>(k)};
    decode_job job{.record = static_cast<std::uint64_t>(k)};
    for (std::uint64_t i = 0; i < 48; ++i) {
      const auto t = static_cast<token_id>(random.below(static_cast<std::uint64_t>(vocab), i));
      job.teacher_prompt.push_back(t);
      if (i >= 24) job.student_prompt.push_back(t);
    }
    jobs.push_back(std::move(job));
  }
  return jobs;
}

using texts = std::map<std::uint64_t, std::vector<token_id>>;

template <class Decoder>
texts decode_all(Decoder& decoder, const std::vector<decode_job>& jobs) {
  texts done;
  std::size_t next = 0;
  decoder.run([&] { return next < jobs.size() ? std::optional(jobs[next++]) : std::nullopt; },
              [&](decode_result r) { done[r.job.record] = std::move(r.text.ids); });
  return done;
}

template <class Model, executor Executor = serial_executor>
void run(benchmark::State& state, Model& model, index_t texts_in_all, index_t tokens, bool defer,
         Executor executor = {}) {
  const no_pieces pieces;
  hinted_options o;
  o.max_tokens = tokens;
  const hinted_policy policy(cpu{}, pieces, piecewise_lambda{}, o);
  const auto jobs = make_jobs(texts_in_all, model.vocab_size());
  const decoder_options options{.parallel = state.range(0), .defer_student = defer};

  {  // one at a time
    const std::span<const decode_job> few = std::span(jobs).first(2);
    hinted_decoder one(model, policy, {.parallel = 1});
    const texts expected = decode_all(one, {few.begin(), few.end()});
    hinted_decoder many(model, policy, options, executor);
    if (decode_all(many, {few.begin(), few.end()}) != expected) {
      throw std::runtime_error("wrong result: a text depends on its batch");
    }
  }

  timed clocked(model);
  hinted_decoder decoder(clocked, policy, options, executor);
  double seconds = 0;
  for (auto _ : state) {
    const double start = now();
    benchmark::DoNotOptimize(decode_all(decoder, jobs));
    seconds += now() - start;
  }
  const auto emitted = static_cast<double>(decoder.counts().emitted_tokens);
  state.counters["tokens_per_second"] = emitted / seconds;
  state.counters["calls_per_token"] = static_cast<double>(decoder.counts().calls) / emitted;
  state.counters["outside"] = 1 - clocked.seconds() / seconds;
}

void default_model(benchmark::State& state) {
  static const auto weights = tiny_llama::read_checkpoint(
      std::filesystem::path(IDIOLECT_BENCH_DEFAULT_MODEL_DIR) / "model.bin");
  tiny_llama::model<float> model(weights);
  run(state, model, std::max<index_t>(8, 2 * state.range(0)), 64, state.range(1) != 0);
  state.SetLabel("V " + std::to_string(model.vocab_size()));
}

void stories260k(benchmark::State& state) {
  const std::filesystem::path file =
      std::filesystem::path(IDIOLECT_BENCH_DATA_DIR) / "model/stories260K.bin";
  static const auto weights = std::filesystem::exists(file)
                                  ? tiny_llama::read_checkpoint(file)
                                  : tiny_llama::random_weights<float>({.dim = 64,
                                                                       .hidden_dim = 172,
                                                                       .layers = 5,
                                                                       .heads = 8,
                                                                       .kv_heads = 4,
                                                                       .vocab_size = 512,
                                                                       .context_size = 512},
                                                                      1);
  tiny_llama::model<float> model(weights);
  run(state, model, std::max<index_t>(8, 2 * state.range(0)), 64, state.range(1) != 0);
  state.SetLabel(std::filesystem::exists(file) ? "V 512" : "V 512, random weights");
}

void ten_milliseconds_a_call(benchmark::State& state) {
  slow_model model;
  run(state, model, std::max<index_t>(2, state.range(0)), 24, false,
      thread_executor(static_cast<int>(state.range(1))));
  state.SetLabel("V 151936");
}

BENCHMARK(default_model)
    ->ArgNames({"texts", "defer"})
    ->ArgsProduct({{1, 4, 16, 64}, {0, 1}})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK(stories260k)
    ->ArgNames({"texts", "defer"})
    ->ArgsProduct({{1, 4, 16, 64}, {0, 1}})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK(ten_milliseconds_a_call)
    ->ArgNames({"texts", "threads"})
    ->ArgsProduct({{1, 4, 16}, {1, 2}})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace idiolect::bench
