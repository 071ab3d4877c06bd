// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "tool/gguf_model.hpp"

#include "tool/errors.hpp"

#if !defined(IDIOLECT_TOOL_LLAMA_CPP)

namespace tool {

loaded_model load_gguf(const model_choice& choice) {
  fail(choice.model,
       "is a GGUF, and this tool was built without llama.cpp, which runs such models: "
       "`bash cmake/engines.sh` sets it up; then configure and build the tool again");
}

}  // namespace tool

#else

#include <llama.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <mutex>
#include <utility>

#include <idiolect/adapters/llama_cpp/llama_cpp.hpp>

#include "tool/interrupt.hpp"
#include "tool/text.hpp"

namespace tool {

namespace {

/// Tokens of a stream where nobody says how many: what a chat needs, and no more memory than that.
constexpr index_t usual_context = 2048;
/// llama.cpp's own limit of sequences in a context.
constexpr index_t most_streams = 256;

/// What llama.cpp has to say: its errors are kept for our own message.
class engine_log {
 public:
  static engine_log& the() {
    static engine_log& log = *new engine_log;  // llama.cpp may speak while the program ends
    return log;
  }

  void begin(bool verbose) {
    const std::scoped_lock lock(mutex_);
    verbose_ = verbose;
    errors_.clear();
    llama_log_set(&engine_log::take, this);
  }

  /// The errors since `begin`, on one line.
  [[nodiscard]] std::string errors() {
    const std::scoped_lock lock(mutex_);
    std::string line;
    for_each_part([&](std::string_view part) {
      // "llama_model_load: error loading model: ..." tells nobody more than its end.
      const auto colon = part.rfind("error loading model: ");
      if (colon != part.npos) part.remove_prefix(colon + 21);
      const auto name = part.find(": ");
      if (name != part.npos && part.substr(0, name).find(' ') == part.npos)
        part.remove_prefix(name + 2);
      // What went wrong was said before.
      if (part.empty() || part.starts_with("failed to load model")) return;
      if (line.find(part) != line.npos) return;
      line += (line.empty() ? "" : "; ") + printable(part);
    });
    return line.empty() ? "llama.cpp does not say why" : line;
  }

 private:
  template <class F>
  void for_each_part(F&& f) const {
    std::string_view left = errors_;
    while (!left.empty()) {
      const auto end = std::min(left.find('\n'), left.size());
      f(stripped(left.substr(0, end)));
      left.remove_prefix(std::min(end + 1, left.size()));
    }
  }

  static void take(ggml_log_level level, const char* text, void* self) {
    auto& log = *static_cast<engine_log*>(self);
    const std::scoped_lock lock(log.mutex_);
    if (level != GGML_LOG_LEVEL_CONT) log.error_ = level == GGML_LOG_LEVEL_ERROR;
    if (log.error_) log.errors_ += text;
    if (log.verbose_) std::fputs(text, stderr);
  }

  std::mutex mutex_;
  std::string errors_;
  bool error_ = false;  // the line that is being written is one
  bool verbose_ = false;
};

/// llama.cpp takes these for what they say and asks for as much memory.
void check_header(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  in.seekg(0, std::ios::end);
  const auto size = static_cast<std::uint64_t>(std::max<std::streamoff>(0, in.tellg()));
  in.seekg(4);
  std::uint32_t version = 0;
  std::uint64_t tensors = 0;
  std::uint64_t pairs = 0;
  in.read(reinterpret_cast<char*>(&version), sizeof version);
  in.read(reinterpret_cast<char*>(&tensors), sizeof tensors);
  in.read(reinterpret_cast<char*>(&pairs), sizeof pairs);
  if (!in)
    fail(path, "is a GGUF that is cut off in its header: " + std::to_string(size) + " bytes");
  if ((version & 0xffffU) == 0) {
    fail(path, "is a GGUF in the other byte order: convert it on a machine like this one");
  }
  // An entry takes more than 12 bytes.
  if (tensors > size / 12 || pairs > size / 12) {
    fail(path, "is a damaged GGUF: its header speaks of " + std::to_string(tensors) +
                   " tensors and " + std::to_string(pairs) + " entries in " + std::to_string(size) +
                   " bytes");
  }
}

struct freed {
  void operator()(llama_model* m) const { llama_model_free(m); }
  void operator()(llama_context* c) const { llama_free(c); }
};

/// A context and what works in it. The model outlives both.
struct running {
  std::shared_ptr<llama_model> model;
  std::unique_ptr<llama_context, freed> context;
  idiolect::llama_lm lm;
};

language_model open_context(const std::shared_ptr<llama_model>& model, const model_choice& choice,
                            index_t context_size, const executor& workers, const demand& wish) {
  require_usage(wish.streams <= most_streams,
                "llama.cpp has at most " + std::to_string(most_streams) + " streams, " +
                    std::to_string(wish.streams) + " are asked for: lower --streams or --parallel");
  const index_t tokens = wish.tokens > 0 ? std::min(wish.tokens, context_size) : context_size;
  auto p = llama_context_default_params();
  p.n_seq_max = static_cast<std::uint32_t>(wish.streams);
  p.n_ctx = static_cast<std::uint32_t>(wish.streams * tokens);
  p.n_batch = static_cast<std::uint32_t>(std::max(choice.batch.value_or(wish.rows), wish.streams));
  p.n_ubatch = std::min(p.n_ubatch, p.n_batch);
  p.n_threads = p.n_threads_batch = workers.concurrency();
  p.abort_callback = [](void*) { return is_interrupted(); };
  engine_log::the().begin(choice.verbose);
  std::unique_ptr<llama_context, freed> context(llama_init_from_model(model.get(), p));
  if (context == nullptr) {
    fail(choice.model, "no room for " + counted(wish.streams, "stream") + " of " +
                           counted(tokens, "token") + " each (" + engine_log::the().errors() +
                           "): try a smaller --context, or fewer --streams or --parallel");
  }
  try {
    llama_context* const raw = context.get();
    const auto all =
        std::make_shared<running>(running{model, std::move(context), idiolect::llama_lm(raw)});
    return language_model(std::shared_ptr<idiolect::llama_lm>(all, &all->lm));
  } catch (const idiolect::error& e) {
    fail(choice.model, reason_of(e));
  }
}

/// The token that the model's template puts behind what the assistant said.
std::optional<token_id> end_of_turn(const idiolect::llama_tokenizer& tokenizer) {
  std::vector<idiolect::chat_turn> turns = {{"user", "?"}, {"assistant", "x"}};
  std::vector<token_id> open;
  std::vector<token_id> closed;
  try {
    tokenizer.encode_chat(turns, open);
    turns.push_back({"user", "?"});
    tokenizer.encode_chat(turns, closed);
  } catch (const idiolect::error&) {
    return std::nullopt;  // without a template, or one that says more of itself when it is used
  }
  if (closed.size() <= open.size() || !std::equal(open.begin(), open.end(), closed.begin())) {
    return std::nullopt;
  }
  std::string bytes;
  tokenizer.append_piece(closed[open.size()], bytes);
  return bytes.empty() ? std::optional(closed[open.size()]) : std::nullopt;
}

/// What closes a text or, in a chat, a turn.
token_id end_of(const llama_vocab* vocab, const idiolect::llama_tokenizer& tokenizer, bool chat) {
  if (chat) {
    if (const auto end = end_of_turn(tokenizer)) return *end;
    if (llama_vocab_eot(vocab) >= 0) return llama_vocab_eot(vocab);
  }
  if (llama_vocab_eos(vocab) >= 0) return llama_vocab_eos(vocab);
  const auto ends = tokenizer.end_tokens();
  return ends.empty() ? -1 : ends.front();
}

}  // namespace

loaded_model load_gguf(const model_choice& choice) {
  require_usage(choice.tokenizer.empty(), "--tokenizer: a GGUF brings its own vocabulary");
  require_usage(!choice.keep_unknown, "--unknown belongs to a vocabulary of llama2.c");
  require_usage(!choice.rope_base,
                "--rope-base belongs to a checkpoint of llama2.c: a GGUF says it");
  const auto in_range = [](const char* option, const std::optional<index_t>& n, index_t least) {
    require_usage(!n || (*n >= least && *n <= 100'000'000),
                  std::string(option) + ": expected a number from " + std::to_string(least) +
                      ", found " + std::to_string(n.value_or(0)));
  };
  in_range("--context", choice.context, 8);
  in_range("--batch", choice.batch, 2);
  in_range("--gpu-layers", choice.gpu_layers, 0);
  check_header(choice.model);

  engine_log::the().begin(choice.verbose);
  static std::once_flag started;
  std::call_once(started, [] { llama_backend_init(); });
  auto p = llama_model_default_params();
  if (choice.gpu_layers) p.n_gpu_layers = static_cast<std::int32_t>(*choice.gpu_layers);
  const std::shared_ptr<llama_model> model(llama_model_load_from_file(choice.model.c_str(), p),
                                           [](llama_model* m) {
                                             if (m != nullptr) llama_model_free(m);
                                           });
  if (model == nullptr) {
    fail(choice.model, "is a GGUF that llama.cpp cannot use: " + engine_log::the().errors());
  }
  if (llama_model_has_encoder(model.get()) || !llama_model_has_decoder(model.get())) {
    fail(choice.model, "is not a model that writes text from left to right: it has an encoder");
  }
  std::shared_ptr<const idiolect::llama_tokenizer> tokenizer;
  try {
    tokenizer = std::shared_ptr<const idiolect::llama_tokenizer>(
        new idiolect::llama_tokenizer(model.get()), [model](const auto* t) { delete t; });
  } catch (const idiolect::error& e) {
    fail(choice.model, reason_of(e));
  }
  const index_t trained = llama_model_n_ctx_train(model.get());
  require_usage(!choice.context || trained <= 0 || *choice.context <= trained,
                "--context: expected at most the " + std::to_string(trained) +
                    " tokens that the model was trained with, found " +
                    std::to_string(choice.context.value_or(0)));
  const index_t context =
      choice.context.value_or(trained > 0 ? std::min(trained, usual_context) : usual_context);
  const llama_vocab* const vocab = llama_model_get_vocab(model.get());
  const token_id bos = llama_vocab_bos(vocab);
  return {.path = choice.model,
          .tokenizer_path = {},
          .parameters = static_cast<index_t>(llama_model_n_params(model.get())),
          .vocab_size = tokenizer->vocab_size(),
          .context_size = context,
          .tokenizer = idiolect::any_tokenizer(std::shared_ptr(tokenizer)),
          .end = end_of(vocab, *tokenizer, choice.chat),
          .begin = bos >= 0 ? std::optional(bos) : std::nullopt,
          .keep_unknown = false,
          .chat = false,
          .system = {},
          .llama2c = nullptr,
          .rope = {},
          .open = [=](const executor& workers,
                      const demand& d) { return open_context(model, choice, context, workers, d); },
          .spelled =
              [=](token_id t) {
                std::string bytes;
                tokenizer->append_piece(t, bytes);
                return bytes.empty() ? std::string(llama_vocab_get_text(vocab, t)) : bytes;
              },
          .decode =
              [=](std::span<const token_id> tokens) {
                std::string bytes;
                for (const token_id t : tokens) tokenizer->append_piece(t, bytes);
                return bytes;
              }};
}

}  // namespace tool

#endif
