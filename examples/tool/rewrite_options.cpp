// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include <idiolect/hinted/verifier.hpp>
#include <idiolect/hinted/verifiers/command.hpp>
#include <idiolect/version.hpp>

#include "tool/errors.hpp"
#include "tool/fingerprint.hpp"
#include "tool/interrupt.hpp"
#include "tool/options.hpp"
#include "tool/report.hpp"
#include "tool/rewrite_command.hpp"
#include "world/vocabulary.hpp"

namespace tool {

namespace {

using idiolect::index_t;

template <class V>
any_verifier by_reference(V v) {
  return [v = std::move(v)](const source_record* r, std::string_view text) { return v(*r, text); };
}

/// What a verifying program reads.
struct json_payload {
  std::string operator()(const source_record& r, std::string_view text) const {
    std::string line = dump({{"question", r.question},
                             {"reference", r.answer},
                             {"answer", std::string(text)},
                             {"line", r.line}});
    if (r.id.empty()) return line + "\n";
    line.pop_back();
    return line + ",\"id\":" + r.id + "}\n";
  }
};

}  // namespace

void complete(rewrite_command_options& o, const loaded_model& m) {
  const bool world =
      m.llama2c != nullptr &&
      std::ranges::equal(std::span(m.llama2c->tokenizer.pieces()).subspan(world::first_character),
                         world::character_pieces(), {}, &tiny_llama::tokenizer::piece::bytes);
  const auto templates =
      m.chat ? idiolect::chat_prompter_options{}.templates : idiolect::prompt_templates{};
  require_usage(o.analysis_marker.empty() || o.hint_template,
                "--analysis-marker needs --hint-template: a text that asks for the analysis");
  const auto belongs = [&](const char* option, const std::optional<double>& given, bool used) {
    require_usage(!given || used,
                  std::string(option) + " has no meaning for --schedule " + o.schedule);
  };
  belongs("--beta", o.beta, o.schedule == "linear" || o.schedule == "sigmoid");
  belongs("--centre", o.centre, o.schedule == "sigmoid");
  belongs("--low", o.low, o.schedule == "piecewise");
  belongs("--high", o.high, o.schedule == "piecewise");
  belongs("--lambda", o.lambda, o.schedule == "constant");
  require_usage(!o.delimiter_at_line_start || world || !o.delimiter.value_or("").empty(),
                "--delimiter-at-line-start needs --delimiter");
  require_usage(!o.max_lag || o.defer_student, "--max-lag belongs to --defer-student");
  if (o.max_lag) require_range("--max-lag", static_cast<double>(*o.max_lag), 1, 1e9);
  if (!o.parallel) o.parallel = m.llama2c != nullptr ? 32 : 16;
  if (!o.delimiter) o.delimiter = world ? ">" : "";
  if (!o.prompt_template) o.prompt_template = templates.student;
  if (!o.hint_template) {
    o.hint_template = world ? "H{hint}\n{question}\n" : templates.teacher;
  }
  if (!o.verifier) o.verifier = world ? "answer" : "numeric";
  if (!o.beta) o.beta = o.schedule == "sigmoid" ? 10 : world ? 1 : 3;
  if (!o.centre) o.centre = idiolect::sigmoid_lambda{}.centre;
  if (!o.low) o.low = idiolect::piecewise_lambda{}.low;
  if (!o.high) o.high = idiolect::piecewise_lambda{}.high;
  if (!o.lambda) o.lambda = idiolect::constant_lambda{}.value;
}

prompting prompting_of(const rewrite_command_options& o) {
  prompting how;
  how.templates = {unescape(*o.prompt_template), unescape(*o.hint_template),
                   unescape(o.analysis_marker)};
  how.hint = o.hint == "answer" ? idiolect::hint_content::answer : idiolect::hint_content::solution;
  how.delimiter = unescape(*o.delimiter);
  how.hinted = o.tries > 0;
  how.analysis_budget = o.analysis_budget;
  try {
    how.templates.validate();
  } catch (const idiolect::error& e) {
    const bool student = e.argument().ends_with("student");
    throw usage_error(std::string(student ? "--prompt-template" : "--hint-template") +
                      ": expected a text with {question}" +
                      (student ? " and without {hint}" : " and {hint}") + ", found '" +
                      printable(student ? *o.prompt_template : *o.hint_template) + "'");
  }
  require_usage(o.hint != "answer" || !how.delimiter.empty(),
                "--hint answer needs --delimiter: where does the bare answer stand?");
  require_range("--analysis-budget", static_cast<double>(o.analysis_budget), 1, 1e9);
  return how;
}

idiolect::any_lambda schedule_of(const rewrite_command_options& o) {
  idiolect::any_lambda schedule;
  if (o.schedule == "sigmoid") {
    schedule = idiolect::sigmoid_lambda{*o.beta, *o.centre};
  } else if (o.schedule == "piecewise") {
    schedule = idiolect::piecewise_lambda{*o.low, *o.high};
  } else if (o.schedule == "constant") {
    schedule = idiolect::constant_lambda{*o.lambda};
  } else {
    schedule = idiolect::linear_lambda{*o.beta};
  }
  const std::string option = o.schedule == "piecewise"  ? "--low and --high"
                             : o.schedule == "constant" ? "--lambda"
                             : o.schedule == "sigmoid"  ? "--beta and --centre"
                                                        : "--beta";
  named(option, [&] { schedule.validate(); });
  return schedule;
}

idiolect::hinted_options policy_of(const rewrite_command_options& o, const loaded_model& m) {
  require_range("--temperature", o.temperature, 0, 1e6);
  require_range("--top-k", static_cast<double>(o.top_k), 0, 1e9);
  require_range("--min-p", o.min_p, 0, 1);
  require_usage(o.top_p > 0 && o.top_p <= 1, "--top-p: expected a number above 0, at most 1");
  require_range("--rollout-temperature", o.rollout_temperature, 0, 1e6);
  require_usage(o.rollout_top_p > 0 && o.rollout_top_p <= 1,
                "--rollout-top-p: expected a number above 0, at most 1");
  require_range("--rollout-top-k", static_cast<double>(o.rollout_top_k), 0, 1e9);
  require_range("--rollout-min-p", o.rollout_min_p, 0, 1);
  require_range("--max-tokens", static_cast<double>(o.max_tokens), 1, 1e9);
  require_range("--repeat-length", static_cast<double>(o.repeat_length), 1, 1e9);
  require_range("--repeat-times", static_cast<double>(o.repeat_times), 0, 1e9);
  idiolect::hinted_options policy;
  policy.sampler = {.temperature = o.temperature,
                    .top_k = o.top_k,
                    .top_p = o.top_p,
                    .min_p = o.min_p,
                    .order = o.temperature_first ? idiolect::sampler_order::temperature_first
                                                 : idiolect::sampler_order::temperature_last};
  policy.delimiter = unescape(*o.delimiter);
  policy.delimiter_at_line_start = o.delimiter_at_line_start;
  if (!policy.delimiter.empty()) policy.delimiter_after = unescape(o.reasoning_end);
  if (m.end >= 0) policy.end_tokens = {m.end};  // beside the model's own
  policy.teacher_first_token = o.first_token == "teacher";
  if (o.entropy_vocab) {
    const auto n = static_cast<double>(*o.entropy_vocab);
    require_range("--entropy-vocab", n, 2, 1e15);
    policy.entropy_norm = std::log(n);
  }
  policy.repetition = {.length = o.repeat_length, .times = o.repeat_times};
  policy.max_tokens = o.max_tokens;
  policy.seed = o.seed;
  return policy;
}

namespace {

/// The verifier of an answer, wherever in the text that stands.
any_verifier verifier_of_answer(const rewrite_command_options& o) {
  const std::string kind = o.verifier->substr(0, o.verifier->find(':'));
  const std::string rest =
      kind.size() < o.verifier->size() ? o.verifier->substr(kind.size() + 1) : "";
  const std::string delimiter = unescape(*o.delimiter);
  require_usage(o.verifier_arguments.empty() || kind == "command",
                "--verifier-arg belongs to --verifier command:PROGRAM");
  require_usage(!o.verifier_parallel || kind == "command",
                "--verifier-parallel belongs to --verifier command:PROGRAM");
  require_usage(kind == "numeric" || (o.percent == "ignored" && o.units.empty() && !o.any_order),
                "--percent, --unit and --any-order belong to --verifier numeric");
  if (kind == "regex") {
    require_usage(!rest.empty(), "--verifier regex:PATTERN: expected a pattern after the colon");
    return named("--verifier regex", [&] { return by_reference(idiolect::regex_verifier(rest)); });
  }
  if (kind == "command") {
    require_usage(!rest.empty(), "--verifier command:PROGRAM: expected a program after the colon");
    require_range("--verifier-timeout", o.verifier_timeout, 0.001, 1e6);
    require_range("--verifier-parallel", static_cast<double>(o.verifier_parallel.value_or(0)), 0,
                  1024);
    std::vector<std::string> words = {rest};
    words.insert(words.end(), o.verifier_arguments.begin(), o.verifier_arguments.end());
    const std::chrono::milliseconds timeout(static_cast<long>(1000 * o.verifier_timeout));
    return named("--verifier command", [&] {
      return by_reference(
          idiolect::command_verifier(std::move(words), json_payload{}, timeout, is_interrupted));
    });
  }
  require_usage(rest.empty(), "--verifier " + kind + ": expected nothing after the colon");
  if (kind == "answer") {
    require_usage(!delimiter.empty(),
                  "--verifier answer needs --delimiter: where does the answer stand?");
    return by_reference(idiolect::exact_verifier{delimiter});
  }
  if (kind == "numeric") {
    const bool known = delimiter == "####" || delimiter == "\\boxed{" || delimiter == "A:";
    using idiolect::percent_sign;
    const percent_sign percent = o.percent == "kept"         ? percent_sign::kept
                                 : o.percent == "hundredths" ? percent_sign::hundredths
                                                             : percent_sign::ignored;
    return by_reference(
        idiolect::numeric_verifier{known ? "" : delimiter, {percent, o.units, o.any_order}});
  }
  if (kind == "exact") return by_reference(idiolect::exact_verifier{});
  if (kind == "none") return by_reference(idiolect::accept_all{});
  throw usage_error(
      "--verifier: expected answer, numeric, exact, none, regex:PATTERN or "
      "command:PROGRAM, found '" +
      printable(*o.verifier) + "'");
}

}  // namespace

any_verifier verifier_of(const rewrite_command_options& o) {
  any_verifier answer = verifier_of_answer(o);
  if (o.reasoning_end.empty()) return answer;
  return [end = unescape(o.reasoning_end), answer = std::move(answer)](const source_record* r,
                                                                       std::string_view text) {
    const auto at = text.rfind(end);
    return at != std::string_view::npos && answer(r, text.substr(at + end.size()));
  };
}

std::vector<named_file> verifier_files(const rewrite_command_options& o) {
  constexpr std::string_view kind = "command:";
  if (!o.verifier || !o.verifier->starts_with(kind)) return {};
  std::vector<named_file> files;
  const std::string program = o.verifier->substr(kind.size());
  files.push_back({"--verifier", idiolect::found_program(program).value_or(program)});
  for (const std::string& word : o.verifier_arguments) files.push_back({"--verifier-arg", word});
  return files;
}

demand demand_of(const rewrite_command_options& o, const source_file& file) {
  std::size_t longest = 0;
  for (const source_record& r : file.records) {
    const std::size_t analysis =
        r.prompt.analysis_marker.empty() ? 0 : static_cast<std::size_t>(r.prompt.analysis_budget);
    longest =
        std::max({longest, r.prompt.student.size() + r.prompt.reference.size(),
                  r.prompt.student.size() + static_cast<std::size_t>(o.max_tokens),
                  r.prompt.teacher.size() + analysis + static_cast<std::size_t>(o.max_tokens)});
  }
  // A text has two streams at most, prompts that begin alike share up to four, and a reference that
  // is scored has one.
  const auto texts = std::min(*o.parallel, static_cast<index_t>(file.records.size()));
  return {.streams = 2 * texts + 5, .tokens = static_cast<index_t>(longest)};
}

std::string header_of(const rewrite_command_options& o, const loaded_model& m,
                      const std::string& input) {
  nlohmann::ordered_json h = {
      {"idiolect", "rewrite"},
      {"version", std::to_string(IDIOLECT_VERSION_MAJOR) + "." +
                      std::to_string(IDIOLECT_VERSION_MINOR) + "." +
                      std::to_string(IDIOLECT_VERSION_PATCH)},
      {"the input", input},
      {"the model", fingerprint_of_file(m.path)},
      {"the tokenizer", m.tokenizer_path.empty() ? "" : fingerprint_of_file(m.tokenizer_path)},
      {"--rope-base", m.llama2c != nullptr ? m.llama2c->weights.shape().rope_base : 0.0},
      {"--context", m.context_size},
      {"--chat", m.chat},
      {"--system", m.system},
      {"--end-token", m.end},
      {"--unknown", m.keep_unknown},
      {"--on-bad-record", o.on_bad_record},
      {"--delimiter", *o.delimiter},
      {"--delimiter-at-line-start", o.delimiter_at_line_start},
      {"--reasoning-end", o.reasoning_end},
      {"--prompt-template", *o.prompt_template},
      {"--hint-template", *o.hint_template},
      {"--hint", o.hint},
      {"--analysis-marker", o.analysis_marker},
      {"--analysis-budget", o.analysis_budget},
      {"--verifier", *o.verifier},
      {"--verifier-arg", o.verifier_arguments},
      {"--verifier-timeout", o.verifier_timeout},
      {"--percent", o.percent},
      {"--unit", o.units},
      {"--any-order", o.any_order},
      {"--schedule", o.schedule},
      {"--beta", *o.beta},
      {"--centre", *o.centre},
      {"--low", *o.low},
      {"--high", *o.high},
      {"--lambda", *o.lambda},
      {"--tries", o.tries},
      {"--rollouts", o.rollouts},
      {"--seed", o.seed},
      {"--temperature", o.temperature},
      {"--top-p", o.top_p},
      {"--top-k", o.top_k},
      {"--min-p", o.min_p},
      {"--temperature-first", o.temperature_first},
      {"--rollout-temperature", o.rollout_temperature},
      {"--rollout-top-p", o.rollout_top_p},
      {"--rollout-top-k", o.rollout_top_k},
      {"--rollout-min-p", o.rollout_min_p},
      {"--first-token", o.first_token},
      {"--entropy-vocab", o.entropy_vocab.value_or(m.vocab_size)},
      {"--max-tokens", o.max_tokens},
      {"--accept-cut", o.accept_cut},
      {"--repeat-length", o.repeat_length},
      {"--repeat-times", o.repeat_times},
      {"--trace", o.trace}};
  return dump(h);
}

}  // namespace tool
