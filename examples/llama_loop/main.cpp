// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Hinted decoding in a loop of one's own over llama.cpp: the policy, llama.cpp's C interface, and
// of the adapter the tokenizer alone.
//
// usage: example_llama_loop MODEL.gguf [QUESTION ANSWER]

#include <llama-cpp.h>

#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include <idiolect/adapters/llama_cpp/tokenizer.hpp>
#include <idiolect/backend/cpu/cpu.hpp>
#include <idiolect/hinted/policy.hpp>

namespace {

int write(const char* path, const std::string& question, const std::string& answer) {
  const llama_model_ptr model(llama_model_load_from_file(path, llama_model_default_params()));
  llama_context_params sizes = llama_context_default_params();
  sizes.n_ctx = 2048;
  sizes.n_batch = 1024;
  sizes.n_seq_max = 2;
  sizes.kv_unified = true;  // the two share the memory
  const llama_context_ptr context(model ? llama_init_from_model(model.get(), sizes) : nullptr);
  if (!context) return std::fprintf(stderr, "%s: no model of a text\n", path), 1;

  // [loop]
  const idiolect::llama_tokenizer pieces(model.get());
  std::vector<llama_token> pending[2];  // of sequence 0, the student, and 1, the teacher
  const std::string hint = "A correct solution, for reference:\n" + answer + "\n\n" + question;
  pieces.encode_chat(std::vector<idiolect::chat_turn>{{"user", question}}, pending[0]);
  pieces.encode_chat(std::vector<idiolect::chat_turn>{{"user", hint}}, pending[1]);

  idiolect::hinted_options options;  // temperature 0.3 after top-p 0.95
  options.end_tokens = pieces.end_tokens();
  options.max_tokens = 200;
  const idiolect::hinted_policy policy(idiolect::cpu{}, pieces, idiolect::linear_lambda{.beta = 3},
                                       options);
  decltype(policy)::scratch memory;
  idiolect::hinted_state text = policy.start(/*record=*/0);

  llama_batch batch = llama_batch_init(static_cast<int>(llama_n_batch(context.get())), 0, 1);
  llama_pos length[2] = {};
  while (text.stop == idiolect::stop_reason::none) {
    batch.n_tokens = 0;
    int last[2] = {};  // the token of the batch that has a sequence's row
    for (const llama_seq_id sequence : {0, 1}) {
      for (const llama_token token : pending[sequence]) {
        const int i = last[sequence] = batch.n_tokens++;
        batch.token[i] = token;
        batch.pos[i] = length[sequence]++;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = sequence;
        batch.logits[i] = 0;
      }
      batch.logits[last[sequence]] = 1;
    }
    if (llama_decode(context.get(), batch) != 0) break;
    const auto row = [&](llama_seq_id sequence) {
      const float* const logits = llama_get_logits_ith(context.get(), last[sequence]);
      return std::span(logits, static_cast<std::size_t>(pieces.vocab_size()));
    };
    policy.step(text, /*teacher=*/row(1), /*student=*/row(0), memory);
    pending[0] = pending[1] = {text.ids.back()};  // both take what was emitted
  }
  llama_batch_free(batch);
  // [loop]

  std::printf("%s\n\nled by the teacher:", text.bytes.c_str());
  long led = 0;
  for (const auto& t : text.tokens) led += t.leader() == idiolect::voice::teacher ? 1 : 0;
  std::printf(" %ld of %zu tokens\n", led, text.tokens.size());
  return text.tokens.empty() ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 && argc != 4) {
    return std::fprintf(stderr, "usage: %s MODEL.gguf [QUESTION ANSWER]\n", argv[0]), 2;
  }
  llama_log_set(
      [](ggml_log_level level, const char* line, void*) {
        if (level == GGML_LOG_LEVEL_ERROR) std::fputs(line, stderr);
      },
      nullptr);
  return argc == 4 ? write(argv[1], argv[2], argv[3])
                   : write(argv[1], "What is 17 + 25?", "17 + 25 is 42.\n#### 42");
}
