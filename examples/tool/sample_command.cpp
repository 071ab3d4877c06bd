// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// idiolect sample: texts by the model, with their token ids.

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "tool/commands.hpp"
#include "tool/files.hpp"
#include "tool/interrupt.hpp"
#include "tool/options.hpp"
#include "tool/report.hpp"
#include "tool/sampling.hpp"

namespace tool {

namespace {

struct sample_options {
  model_choice model;
  std::optional<std::string> prompt;
  std::string prompts;
  std::string format = "auto";
  std::optional<std::string> join;
  std::string out;
  sampler_choice sampler;
  std::optional<index_t> max_tokens;
  std::optional<index_t> streams;
  sampling how;
};

const char* name_of(finish why) {
  switch (why) {
    case finish::end:
      return "end";
    case finish::length:
      return "length";
    case finish::context:
      return "context";
  }
  return "";
}

std::vector<record> prompts_of(const sample_options& o) {
  if (!o.prompts.empty()) {
    reading_choice choice;
    choice.format = o.format;
    choice.join = o.join;
    return read_prompts(o.prompts, choice.parse(o.model));
  }
  record r;
  r.where = "--prompt";
  r.prompt = o.prompt ? unescape(*o.prompt) : "";
  return {r};
}

/// What was drawn, without the prompt.
std::string drawn_text(const sampled_text& t, const loaded_model& m) {
  return m.decode(std::span(t.tokens).subspan(static_cast<std::size_t>(t.prompt_tokens)));
}

std::string as_json(const sampled_text& t, const record& from, const loaded_model& m) {
  nlohmann::ordered_json line;
  if (m.chat) {
    line = {{"question", from.prompt}, {"answer", drawn_text(t, m)}};
  } else {
    const std::string text = m.decode(t.tokens);
    const std::string prompt =
        m.decode(std::span(t.tokens).first(static_cast<std::size_t>(t.prompt_tokens)));
    line = {{"text", text},
            {"prompt", prompt},
            {"completion", text.substr(std::min(prompt.size(), text.size()))}};
  }
  line["tokens"] = t.tokens;
  line["prompt_tokens"] = t.prompt_tokens;
  line["finish"] = name_of(t.why);
  line["where"] = from.where;
  return dump(line) + "\n";
}

std::string as_text(const sampled_text& t, std::size_t number, const record& from,
                    const loaded_model& m) {
  const std::string said = m.chat ? from.prompt + "\n\n" + drawn_text(t, m) : m.decode(t.tokens);
  std::string text = "--- text " + std::to_string(number + 1) + ", " +
                     counted(static_cast<long long>(t.tokens.size()), "token") +
                     ", finish: " + name_of(t.why) + "\n" + printable(said) + "\ntokens:";
  for (const token_id id : t.tokens) text += " " + std::to_string(id);
  return text + "\n";
}

void run(sample_options o) {
  require_usage(o.prompts.empty() || !o.prompt, "--prompt and --prompts exclude each other");
  require_usage(!o.prompts.empty() || !o.join, "--join belongs to --prompts");
  require_range("--count", static_cast<double>(o.how.count), 1, 1e9);
  const bool gguf = is_gguf(o.model);
  o.how.max_tokens = o.max_tokens.value_or(gguf ? 256 : 0);
  o.how.streams = o.streams.value_or(gguf ? 16 : 64);
  require_range("--max-tokens", static_cast<double>(o.how.max_tokens), 0, 1e9);
  require_range("--streams", static_cast<double>(o.how.streams), 1, 1e6);
  o.how.sampler = o.sampler.parse("--temperature");
  const executor workers = make_executor(o.model);
  auto files = files_of(o.model);
  files.push_back({"--prompts", o.prompts});
  output_file out = file_plan(std::move(files)).output("--out", o.out);

  const loaded_model m = load(o.model);
  o.how.context = m.context_size;
  o.how.end = m.end;
  const auto records = prompts_of(o);
  std::vector<std::vector<token_id>> prompts;
  for (const record& r : records) {
    prompts.push_back(encode_prompt(m, r));
    const auto length = static_cast<index_t>(prompts.back().size());
    if (length > m.context_size) {
      fail(r.where, "expected a prompt of at most the model's " + std::to_string(m.context_size) +
                        " tokens, found " + std::to_string(length));
    }
  }
  language_model model = m.open(workers, demand_of(prompts, o.how));
  const auto texts = sample_all(model, workers, prompts, o.how);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const record& from = records[i / static_cast<std::size_t>(o.how.count)];
    if (out.wanted()) {
      out.add(as_json(texts[i], from, m));
    } else {
      std::cout << as_text(texts[i], i, from, m);
    }
  }
  check_interrupt();
  out.commit();
}

}  // namespace

command add_sample(CLI::App& tool) {
  const auto o = std::make_shared<sample_options>();
  CLI::App& app = *tool.add_subcommand("sample", "Texts by the model, with their token ids");
  app.footer(
      "The JSON Lines of --out have \"text\", \"prompt\", \"completion\", \"tokens\" and "
      "\"prompt_tokens\";\n`idiolect score --in` takes them and scores the very tokens that were "
      "drawn: a sampled text need\nnot tokenise back to the same ids.\n\nidiolect sample --count "
      "100 --out own.jsonl && idiolect score --in own.jsonl");
  add_optional(app, "--prompt", o->prompt, "text to continue; \\n is a line break (default: none)")
      ->type_name("TEXT");
  app.add_option("--prompts", o->prompts,
                 "texts to continue: lines of a text file, or JSON Lines with \"prompt\" or "
                 "\"question\"")
      ->type_name("FILE");
  app.add_option("--format", o->format, "of --prompts (default auto: by the name's ending)")
      ->check(CLI::IsMember({"auto", "text", "jsonl"}))
      ->type_name("");
  add_optional(
      app, "--join", o->join,
      "what follows each prompt (default: a line break after a \"question\", else nothing)")
      ->type_name("TEXT");
  app.add_option("--out,--json", o->out, "write JSON Lines instead of text; - is standard output")
      ->type_name("FILE");
  add_model_options(app, o->model);
  add_chat_options(app, o->model);
  const std::string group = "Sampling";
  app.add_option("--count", o->how.count, "texts for each prompt (default 1)")->group(group);
  add_optional(app, "--max-tokens", o->max_tokens,
               "drawn for a text, at most; 0: until the context is full (default; for a GGUF 256)")
      ->group(group);
  add_seed(app, o->how.seed, "of the draws", group);
  add_optional(app, "--streams", o->streams,
               "texts in the model at once (default 64, for a GGUF 16)")
      ->group(group);
  add_sampler_options(app, o->sampler, "--temperature", group);
  return [o] { run(*o); };
}

}  // namespace tool
