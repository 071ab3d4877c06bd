// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Options that several commands have.

#include <CLI/CLI.hpp>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>

#include <idiolect/core/error.hpp>
#include <idiolect/stats/sampling.hpp>

#include "tool/errors.hpp"
#include "tool/language_model.hpp"
#include "tool/records.hpp"
#include "tool/text.hpp"

namespace tool {

/// An option whose absence means something. (CLI11 itself would fill in a default.)
template <class T>
CLI::Option* add_optional(CLI::App& app, const std::string& name, std::optional<T>& value,
                          const std::string& help) {
  return app.add_option_function<T>(
      name, [&value](const T& given) { value = given; }, help);
}

/// Raises usage_error unless `value` is a number from `low` to `high`.
inline void require_range(const std::string& option, double value, double low, double high) {
  if (value >= low && value <= high) return;
  std::string range = "from " + CLI::detail::to_string(low);
  range = std::isinf(high) ? range + " up" : range + " to " + CLI::detail::to_string(high);
  throw usage_error(option + ": expected a number " + range + ", found " +
                    CLI::detail::to_string(value));
}

/// What the library says of an option, under the name it has here.
template <class F>
auto named(const std::string& option, F&& f) {
  try {
    return f();
  } catch (const idiolect::error& e) {
    throw usage_error(option + ": " + reason_of(e));
  }
}

/// `--seed`, any number of 64 bits. (CLI11 would read -1, and all that is too large, as the
/// largest.)
inline void add_seed(CLI::App& app, std::uint64_t& seed, const std::string& what,
                     const std::string& group) {
  app.add_option_function<std::string>(
         "--seed",
         [&seed](const std::string& typed) {
           const char* const end = typed.data() + typed.size();
           const auto read = std::from_chars(typed.data(), end, seed);
           require_usage(read.ec == std::errc() && read.ptr == end,
                         "--seed: expected a whole number from 0 to 18446744073709551615, found '" +
                             printable(typed) + "'");
         },
         what + " (default 0)")
      ->type_name("UINT")
      ->group(group);
}

inline void add_model_options(CLI::App& app, model_choice& choice) {
  const std::string folder = default_model_folder();
  const std::string standard = folder.empty() ? " (this build has no default model)"
                                              : " (default: the one in " + folder + ")";
  const std::string group = "Model";
  app.add_option("--model", choice.model, "llama2.c checkpoint, or a GGUF" + standard)
      ->type_name("FILE")
      ->group(group);
  app.add_option("--tokenizer", choice.tokenizer,
                 "vocabulary of a llama2.c checkpoint, given with --model")
      ->type_name("FILE")
      ->group(group);
  add_optional(
      app, "--end-token", choice.end,
      "id of the token that closes a text (default: a GGUF's own; for llama2.c 1 where the "
      "vocabulary has byte pieces, else 2)")
      ->type_name("ID")
      ->group(group);
  app.add_option_function<std::string>(
         "--unknown",
         [&choice](const std::string& policy) { choice.keep_unknown = policy == "keep"; },
         "characters that the vocabulary lacks: `error` (default), or `keep` them as <unk>")
      ->check(CLI::IsMember({"error", "keep"}))
      ->type_name("")
      ->group(group);
  add_optional(app, "--rope-base", choice.rope_base,
               "base of RoPE of a llama2.c checkpoint (default: that of the file's tables; where "
               "it has none, llama2.c's 10000)")
      ->type_name("X")
      ->group(group);
  app.add_option("--threads", choice.threads,
                 "threads (default: one a processor); no result depends on it")
      ->type_name("N")
      ->group(group);
}

/// Tokens of a text that a GGUF is given at once to score it: fewer than the 64 from which on
/// llama.cpp computes in another way than it does while it writes.
inline constexpr index_t usual_gguf_chunk = 32;

/// For commands that only ask a model, and train none.
inline void add_chat_options(CLI::App& app, model_choice& choice) {
  std::string group = "Conversation";
  app.add_flag("--chat", choice.chat,
               "prompts are the user's turn in the GGUF's own chat template, and the assistant "
               "answers")
      ->group(group);
  add_optional(app, "--system", choice.system, "what the system's turn says (default: none)")
      ->type_name("TEXT")
      ->group(group);
  group = "GGUF model";
  add_optional(app, "--context", choice.context,
               "tokens of a text in the model, prompt included (default: 2048, or what the model "
               "was trained with)")
      ->type_name("N")
      ->group(group);
  add_optional(app, "--batch", choice.batch, "tokens in a call, at most (default 512)")
      ->type_name("N")
      ->group(group);
  add_optional(app, "--gpu-layers", choice.gpu_layers,
               "layers on a GPU, where llama.cpp was built for one (default: its own)")
      ->type_name("N")
      ->group(group);
  app.add_flag("--verbose", choice.verbose, "show llama.cpp's log")->group(group);
}

/// How files are read, as typed.
struct reading_choice {
  std::string format = "auto";
  std::optional<std::string> split;
  std::optional<std::string> join;
  bool keep_space = false;
  bool whole = false;

  /// Raises usage_error. A chat has its own way to keep prompt and completion apart.
  [[nodiscard]] reading parse(const model_choice& model) const {
    reading how;
    how.kind = format == "text"    ? reading::format::text
               : format == "jsonl" ? reading::format::jsonl
                                   : reading::format::automatic;
    if (split) how.split = unescape(*split);
    require_usage(!how.split || !how.split->empty(),
                  "--split: expected `blank` or the text between two parts, found nothing");
    how.strip = !keep_space;
    if (join) how.join = unescape(*join);
    require_usage(!model.chat || !whole,
                  "--whole and --chat exclude each other: a chat has a question and an answer");
    if (model.chat && !join) how.join = "";
    how.whole = whole;
    return how;
  }
};

inline void add_reading_options(CLI::App& app, reading_choice& choice) {
  const std::string group = "Input";
  app.add_option("--format", choice.format,
                 "`text`, `jsonl`, or `auto` (default: JSON Lines if the name ends in "
                 ".jsonl, .ndjson or .json)")
      ->check(CLI::IsMember({"auto", "text", "jsonl"}))
      ->type_name("")
      ->group(group);
  add_optional(app, "--split", choice.split,
               "cut plain text into sequences: `blank` at blank lines, else at every TEXT, for "
               "example '<|endoftext|>'; \\n and \\t are understood; parts lose the white space "
               "around them. Without it a file is one sequence, byte for byte")
      ->type_name("blank|TEXT")
      ->group(group);
  app.add_flag("--keep-space", choice.keep_space, "parts keep the white space around them")
      ->group(group);
  add_optional(app, "--join", choice.join,
               "what stands between a prompt and its completion (default: nothing between "
               "\"prompt\" and \"completion\", a line break between \"question\" and \"answer\")")
      ->type_name("TEXT")
      ->group(group);
  app.add_flag("--whole", choice.whole,
               "treat prompt and completion as one text instead of taking the prompt as given")
      ->group(group);
}

/// The footer that explains input files.
inline constexpr const char* input_help =
    "Input is plain text, or JSON Lines whose objects have \"tokens\" (ids, used as they are, with "
    "an\noptional \"prompt_tokens\"), \"prompt\" and \"completion\", \"question\" and \"answer\" "
    "(the prompt is\ngiven, not scored or trained), or \"text\". `-` is standard input.";

/// A sampler's settings, as typed; some commands only ask whether any was given.
struct sampler_choice {
  std::optional<double> temperature;
  std::optional<index_t> top_k;
  std::optional<double> top_p;
  std::optional<double> min_p;
  bool temperature_last = false;

  [[nodiscard]] bool given() const { return temperature || top_k || top_p || min_p; }

  /// Raises usage_error for a setting out of range. `name` is the temperature's option.
  [[nodiscard]] idiolect::sampler_options parse(const std::string& name) const {
    idiolect::sampler_options s;
    s.temperature = temperature.value_or(1);
    s.top_k = top_k.value_or(0);
    s.top_p = top_p.value_or(1);
    s.min_p = min_p.value_or(0);
    if (temperature_last) s.order = idiolect::sampler_order::temperature_last;
    require_range(name, s.temperature, 0, 1e6);
    require_range("--top-k", static_cast<double>(s.top_k), 0, 1e9);
    require_range("--min-p", s.min_p, 0, 1);
    require_usage(
        s.top_p > 0 && s.top_p <= 1,
        "--top-p: expected a number above 0, at most 1, found " + CLI::detail::to_string(s.top_p));
    return s;
  }
};

inline void add_sampler_options(CLI::App& app, sampler_choice& choice, const std::string& name,
                                const std::string& group) {
  add_optional(app, name, choice.temperature, "temperature of the sampler; 0 is greedy (default 1)")
      ->group(group);
  add_optional(app, "--top-k", choice.top_k, "only the K most likely tokens (default 0: all)")
      ->group(group);
  add_optional(app, "--top-p", choice.top_p,
               "only the most likely tokens with this much probability together (default 1)")
      ->group(group);
  add_optional(app, "--min-p", choice.min_p,
               "only tokens this likely relative to the most likely one (default 0)")
      ->group(group);
  app.add_flag("--temperature-last", choice.temperature_last,
               "apply the temperature after the cuts instead of before")
      ->group(group);
}

}  // namespace tool
