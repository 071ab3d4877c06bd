// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// A few questions with their answers, rewritten by a chat model over llama.cpp, all at once: the
// model's own answer, then the reference in its own words, with how much either is its own (phi).
//
// usage: example_llama_rewrite MODEL.gguf

#include <llama-cpp.h>

#include <cstdio>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <idiolect/adapters/llama_cpp/llama_cpp.hpp>
#include <idiolect/backend/cpu/cpu.hpp>
#include <idiolect/hinted/decoder.hpp>
#include <idiolect/hinted/prompts.hpp>

namespace {

const std::vector<idiolect::question_answer> questions{
    {"Why is the sky blue?",
     "Sunlight is scattered by the molecules of the air, blue light more than red light."},
    {"What is 17 + 25?", "17 + 20 is 37, and 37 + 5 is 42."},
    {"How do I boil an egg?", "Put it in boiling water for eight minutes, then in cold water."}};

double mean_phi(const idiolect::hinted_state& text) {
  double sum = 0;
  for (const auto& t : text.tokens) sum += t.student.phi;
  return text.tokens.empty() ? 0 : sum / static_cast<double>(text.tokens.size());
}

int rewrite(const char* path) {
  const llama_model_ptr model(llama_model_load_from_file(path, llama_model_default_params()));
  const int parallel = 2 * static_cast<int>(questions.size());
  // [context]
  llama_context_params sizes = llama_context_default_params();
  sizes.n_seq_max = static_cast<std::uint32_t>(2 * parallel + 2);  // a text has two streams at most
  sizes.n_ctx = 256 * sizes.n_seq_max;
  sizes.n_batch = 1024;
  sizes.kv_unified = true;  // beginnings that prompts share are kept once
  sizes.n_threads = sizes.n_threads_batch = static_cast<int>(std::thread::hardware_concurrency());
  const llama_context_ptr context(model ? llama_init_from_model(model.get(), sizes) : nullptr);
  if (!context) return std::fprintf(stderr, "%s: no model of a text\n", path), 1;

  idiolect::llama_lm lm(context.get());
  const idiolect::llama_tokenizer pieces(model.get());
  // [context]
  // [rewrite]
  idiolect::hinted_options writing;
  writing.max_tokens = 96;
  const idiolect::hinted_policy policy(idiolect::cpu{}, pieces, idiolect::linear_lambda{.beta = 3},
                                       writing);
  idiolect::decoder_options options;
  options.parallel = parallel;
  idiolect::hinted_decoder decoder(lm, policy, options);

  // Job 2 k is the model's own answer to question k, job 2 k + 1 the hinted one.
  std::vector<idiolect::decode_result> results(2 * questions.size());
  std::size_t next = 0;
  const auto job = [&]() -> std::optional<idiolect::decode_job> {
    if (next == results.size()) return std::nullopt;
    const auto& [question, answer] = questions[next / 2];
    const std::string hinted = "A correct answer, for reference:\n" + answer + "\n\n" + question;
    idiolect::decode_job j;
    j.record = next;
    j.rollout = next++ % 2 == 0;
    pieces.encode_chat(std::vector<idiolect::chat_turn>{{"user", question}}, j.student_prompt);
    pieces.encode_chat(std::vector<idiolect::chat_turn>{{"user", hinted}}, j.teacher_prompt);
    return j;
  };
  decoder.run(job, [&](idiolect::decode_result r) { results[r.job.record] = std::move(r); });
  // [rewrite]

  for (std::size_t k = 0; k < questions.size(); ++k) {
    const auto& own = results[2 * k].text;
    const auto& hinted = results[2 * k + 1].text;
    std::printf("== %s\nown (phi %+.2f): %s\nhinted (phi %+.2f): %s\n",
                questions[k].question.c_str(), mean_phi(own), own.bytes.c_str(), mean_phi(hinted),
                hinted.bytes.c_str());
    if (own.tokens.empty() || hinted.tokens.empty()) return 1;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "usage: %s MODEL.gguf\n", argv[0]), 2;
  llama_log_set(
      [](ggml_log_level level, const char* line, void*) {
        if (level == GGML_LOG_LEVEL_ERROR) std::fputs(line, stderr);
      },
      nullptr);
  return rewrite(argv[1]);
}
