// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// idiolect rewrite: questions with reference answers to answers in the model's own words.

#include "tool/rewrite_command.hpp"

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include <idiolect/backend/cpu/cpu.hpp>
#include <idiolect/hinted/reference_score.hpp>
#include <idiolect/hinted/rewrite.hpp>

#include "tool/commands.hpp"
#include "tool/files.hpp"
#include "tool/interrupt.hpp"
#include "tool/options.hpp"
#include "tool/progress.hpp"
#include "tool/report.hpp"
#include "tool/rewrite_journal.hpp"
#include "tool/rewrite_report.hpp"

namespace tool {

namespace {

/// Reports every line that cannot be used. Raises input_error if that ends the work.
void report_bad(const source_file& file, const rewrite_command_options& o) {
  const bool skip = o.on_bad_record == "skip";
  const char* const what = skip ? "skipped: " : "bad record: ";
  for (const auto& message : file.bad) std::cerr << "idiolect: " << what << message << "\n";
  const auto n = static_cast<long long>(file.bad.size());
  if (n > 0 && !skip) {
    fail(o.in, counted(n, "record") +
                   " cannot be used, see above; nothing was written. "
                   "--on-bad-record skip leaves them out");
  }
  if (file.records.empty())
    fail(o.in, "expected questions and answers as JSON Lines, found none that can be used");
}

/// The records that are still to do.
struct remaining {
  const source_file* file;
  std::size_t next;

  std::optional<const source_record*> operator()() {
    if (next == file->records.size()) return std::nullopt;
    return &file->records[next++];
  }
};

/// Rewrites what is missing in the journal.
void rewrite_rest(const rewrite_command_options& o, const loaded_model& m, const source_file& file,
                  const any_verifier& verify, journal& lines, rewrite_totals& totals) {
  const executor workers = make_executor(o.model);
  language_model model = m.open(workers, demand_of(o, file));
  const idiolect::hinted_policy policy(idiolect::cpu{}, m.tokenizer, schedule_of(o),
                                       policy_of(o, m));

  idiolect::rewrite_options how;
  how.rollouts = o.rollouts;
  how.tries = o.tries;
  how.rollout_sampler = {.temperature = o.rollout_temperature,
                         .top_k = o.rollout_top_k,
                         .top_p = o.rollout_top_p,
                         .min_p = o.rollout_min_p};
  how.first_record = lines.found().size();
  how.accept_cut = o.accept_cut;
  if (o.verifier->starts_with("command:")) how.verified_at_once = o.verifier_parallel.value_or(4);
  how.decoder.parallel = *o.parallel;
  how.decoder.defer_student = o.defer_student;
  if (o.max_lag) how.decoder.max_lag = *o.max_lag;
  how.decoder.cancelled = is_interrupted;
  idiolect::text_score_options scoring;
  if (m.llama2c == nullptr) scoring.chunk = usual_gguf_chunk;
  how.reference_score = idiolect::reference_scorer(idiolect::cpu{}, model, scoring);

  progress line("rewriting " + o.in, static_cast<std::int64_t>(file.records.size()), "records",
                static_cast<std::int64_t>(lines.found().size()));
  if (line.visible()) {
    how.decoder.on_token = [&line](const idiolect::hinted_state&) {
      line.wrote(1);
      return true;
    };
  }
  index_t accepted = 0;
  const auto rewrite = [&] {
    return idiolect::rewrite(
        model, policy, remaining{&file, lines.found().size()},
        [](const source_record* r) { return r->prompt; }, verify,
        [&](idiolect::rewritten<const source_record*>&& r) {
          const std::string text = rewritten_line(r, o.trace);
          lines.append(text);
          totals.add(text, lines.path());
          accepted += r.accepted();
          line.advance(1, std::to_string(accepted) + " accepted");
        },
        how, workers);
  };
  idiolect::rewrite_report report;
  try {
    report = rewrite();
  } catch (const idiolect::error&) {
    check_interrupt();  // a call of the model that a signal ended is no error of the model
    throw;
  }
  check_interrupt();
  if (report.stop != idiolect::stop_reason::none) {
    throw input_error("the model could not go on (" + std::string(name(report.stop)) + ")");
  }
}

void run(rewrite_command_options o) {
  require_range("--tries", static_cast<double>(o.tries), 0, 32767);
  require_range("--rollouts", static_cast<double>(o.rollouts), 0, 32767);
  require_usage(o.tries + o.rollouts > 0, "--tries 0 --rollouts 0 leaves nothing to do");
  require_range("--parallel", static_cast<double>(o.parallel.value_or(1)), 1, 512);
  require_range("--show", static_cast<double>(o.show), 0, 1e9);
  require_usage(o.check || !o.out.empty(), "--out is required: where shall the result go?");
  auto files = files_of(o.model);
  files.push_back({"--in", o.in});
  for (auto& judge : verifier_files(o)) files.push_back(std::move(judge));
  file_plan plan(files);
  output_file out = plan.output("--out", o.out);
  output_file rejected = plan.output("--rejected", o.rejected);
  output_file json_file = plan.output("--json", o.json);
  require_usage(
      out.path() != "-" && rejected.path() != "-",
      "--out and --rejected: expected files; a run that is interrupted goes on from them");
  const std::string unfinished = out.path() + ".unfinished";
  if (out.wanted()) plan.check("what is unfinished of --out", unfinished);
  const loaded_model m = load(o.model);
  complete(o, m);
  const prompting prompts = prompting_of(o);
  const any_verifier verify = verifier_of(o);
  static_cast<void>(schedule_of(o));
  static_cast<void>(policy_of(o, m));
  const source_file file = read_source(o.in, m, prompts);
  report_bad(file, o);
  if (o.check) {
    std::cout << counted(static_cast<long long>(file.records.size()), "record")
              << " can be rewritten, "
              << counted(static_cast<long long>(file.bad.size()), "bad record") << " skipped\n";
    return;
  }

  keep_in_mind("what is finished is kept in " + unfinished +
               "; the same command goes on from there");
  journal lines(unfinished, header_of(o, m, file.fingerprint), o.restart);
  rewrite_totals totals;
  if (lines.found().size() > file.records.size()) {
    fail(lines.path(),
         "is damaged: it has more records than the input; add --restart to begin anew");
  }
  for (const auto& line : lines.found()) totals.add(line, lines.path());
  if (!lines.found().empty()) {
    std::cerr << "idiolect: going on from " << printable(lines.path()) << ": "
              << counted(totals.records(), "record") << " of " << file.records.size()
              << " are there\n";
  }
  const auto left = [&] {
    return std::to_string(totals.records()) + " of " +
           counted(static_cast<long long>(file.records.size()), "record") +
           " are finished and kept in " + lines.path() + "; the same command goes on from there";
  };
  try {
    rewrite_rest(o, m, file, verify, lines, totals);
  } catch (interrupted& e) {
    e.left = left();
    throw;
  } catch (...) {
    std::cerr << "idiolect: " << printable(left()) << "\n";
    throw;
  }

  index_t left_to_show = o.show;
  std::string examples;
  for (const auto& line : lines.records()) {
    (is_accepted(line) ? out : rejected).add(line + "\n");
    if (left_to_show == 0 || !is_accepted(line)) continue;
    const std::string example = shown(line, m);
    if (example.empty()) continue;
    examples += example + "\n";
    --left_to_show;
  }
  nlohmann::ordered_json result = heading("rewrite", m);
  result["bad_records"] = file.bad.size();
  result.update(totals.as_json());
  json_file.add(dump(result, 2) + "\n");
  check_interrupt();
  files::commit_together(rejected, json_file, out);
  lines.remove();
  const auto check_yield = [&] {
    if (totals.accepted() > 0 || rejected.wanted()) return;  // there is something to look at
    std::cout.flush();
    fail(o.out, "is empty: none of " + counted(totals.records(), "record") +
                    " has an answer that was accepted; --rejected FILE shows their last tries");
  };
  if (json_file.path() == "-") return check_yield();
  std::cout << "model: " << describe(m) << "\n\n" << totals.table() << "\n";
  if (!examples.empty()) {
    std::cout << "Who led each token: 0 to 4 the teacher (with the hint), 5 to 9 the student "
                 "(without it), by the\nstudent's share in tenths; = the student alone\n\n"
              << examples;
  } else if (o.show > 0) {
    std::cout << "--show: no answer was accepted with the hint, so there is none to show\n";
  }
  check_yield();
}

}  // namespace

command add_rewrite(CLI::App& tool) {
  const auto o = std::make_shared<rewrite_command_options>();
  CLI::App& app = *tool.add_subcommand(
      "rewrite", "Reference answers to answers in the model's own words (hinted decoding)");
  app.footer(
      "Input: JSON Lines with \"question\" and \"answer\" (or \"prompt\" and \"completion\").\n"
      "Output: one line for each record whose answer was accepted; `finetune --in` and `score "
      "--in` "
      "take it.\n\nInterrupted, or killed, the same command goes on where it stopped "
      "(OUT.unfinished) "
      "and ends with the\nsame bytes. --parallel, --threads, --defer-student and "
      "--verifier-parallel "
      "change nothing but the time.\n(Of a GGUF: the same up to llama.cpp's rounding, which "
      "depends on what is computed together.)\n\n"
      "  hinted decoding      idiolect rewrite --in qa.jsonl --out own.jsonl\n"
      "  CoT completion       ... --hint answer\n"
      "  self-distillation    ... --beta 0 --rollouts 0 --tries 1\n"
      "  rejection sampling   ... --rollouts 4 --tries 0\n\n"
      "A program as verifier (--verifier command:PROGRAM) reads one JSON object with \"question\", "
      "\"reference\"\nand \"answer\" on standard input and exits with 0 (accepted) or 1 (not).");
  app.add_option("--in", o->in, "questions and reference answers")->required()->type_name("FILE");
  app.add_option("--out", o->out, "accepted answers")->type_name("FILE");
  app.add_option("--rejected", o->rejected, "records without an accepted answer, with the last try")
      ->type_name("FILE");
  app.add_option("--json", o->json, "the summary as one JSON object")->type_name("FILE");
  app.add_option(
         "--on-bad-record", o->on_bad_record,
         "a line that cannot be used ends the work (default) or is skipped; each is reported")
      ->check(CLI::IsMember({"skip", "fail"}))
      ->type_name("skip|fail");
  app.add_flag("--check", o->check, "only read and check the input");
  app.add_flag("--restart", o->restart, "forget the unfinished result of an earlier run");
  app.add_option("--show", o->show, "print N hinted answers, each token marked by who led it")
      ->type_name("N");
  app.add_flag("--trace", o->trace, "write log-probabilities and phi of each token too");
  add_model_options(app, o->model);
  add_chat_options(app, o->model);

  std::string group = "Prompts";
  add_optional(app, "--prompt-template", o->prompt_template,
               "what the student reads (default: {question} and a line break)")
      ->type_name("TEXT")
      ->group(group);
  add_optional(app, "--hint-template", o->hint_template,
               "what the teacher reads, with {hint} and {question}; \\n is a line break (default: "
               "that of the default model, else a sentence in English)")
      ->type_name("TEXT")
      ->group(group);
  app.add_option("--hint", o->hint,
                 "what {hint} is: the reference `solution` (default) or only its `answer`, behind "
                 "the delimiter")
      ->check(CLI::IsMember({"solution", "answer"}))
      ->type_name("solution|answer")
      ->group(group);
  app.add_option("--analysis-marker", o->analysis_marker,
                 "the hint template asks for an analysis first, which ends with TEXT")
      ->type_name("TEXT")
      ->group(group);
  app.add_option("--analysis-budget", o->analysis_budget, "tokens of it, at most (default 512)")
      ->group(group);
  add_optional(app, "--delimiter", o->delimiter,
               "starts the final answer, which the student writes alone, e.g. '####' (default: > "
               "for the default model and its kin, else none)")
      ->type_name("TEXT")
      ->group(group);
  app.add_flag("--delimiter-at-line-start", o->delimiter_at_line_start,
               "the delimiter counts at the start of a line only: elsewhere it is quoted")
      ->group(group);
  app.add_option("--reasoning-end", o->reasoning_end,
                 "delimiter and answer count behind TEXT only, e.g. '</think>'")
      ->type_name("TEXT")
      ->group(group);

  group = "Verifier";
  add_optional(
      app, "--verifier", o->verifier,
      "who accepts an answer: `answer` (behind the delimiter: the reference's bytes), "
      "`numeric` (the same number, list, set or option behind ####, in \\boxed{}, or after A:), "
      "`exact`, `none`, "
      "`regex:PATTERN`, `command:PROGRAM` (default: answer for the default model, else "
      "numeric)")
      ->type_name("KIND")
      ->group(group);
  app.add_option("--percent", o->percent,
                 "of numeric: what 50% is: 50 (`ignored`, default), 0.5 (`hundredths`), or itself "
                 "(`kept`)")
      ->check(CLI::IsMember({"ignored", "hundredths", "kept"}))
      ->type_name("ignored|hundredths|kept")
      ->group(group);
  app.add_option("--unit", o->units,
                 "of numeric: a word that need not stand behind a number, such as cm; may stand "
                 "several times")
      ->allow_extra_args(false)
      ->type_name("WORD")
      ->group(group);
  app.add_flag("--any-order", o->any_order, "of numeric: a bare list may come in any order")
      ->group(group);
  app.add_option("--verifier-arg", o->verifier_arguments,
                 "an argument of the program, as it is; may stand several times")
      ->allow_extra_args(false)
      ->type_name("TEXT")
      ->group(group);
  app.add_option(
         "--verifier-timeout", o->verifier_timeout,
         "seconds after which the program is killed and the answer not accepted (default 10)")
      ->group(group);
  add_optional(
      app, "--verifier-parallel", o->verifier_parallel,
      "programs that run at once, beside the model (default 4; 0: one, and the model waits)")
      ->type_name("N")
      ->group(group);

  group = "Decoding";
  app.add_option("--schedule", o->schedule, "of the student's share, lambda (default linear)")
      ->check(CLI::IsMember({"linear", "sigmoid", "piecewise", "constant"}))
      ->type_name("linear|sigmoid|piecewise|constant")
      ->group(group);
  add_optional(app, "--beta", o->beta,
               "of linear (default 3, or 1 for the default model) and sigmoid (default 10); linear "
               "0: the teacher alone")
      ->group(group);
  add_optional(app, "--centre", o->centre, "of sigmoid (default 0.5)")->group(group);
  add_optional(app, "--low", o->low, "of piecewise: lambda 0 up to here (default 0.3)")
      ->group(group);
  add_optional(app, "--high", o->high, "of piecewise: lambda 1 from here (default 0.7)")
      ->group(group);
  add_optional(app, "--lambda", o->lambda, "of constant (default 0.5)")->group(group);
  app.add_option("--rollouts", o->rollouts, "tries of the student alone, first (default 1)")
      ->group(group);
  app.add_option("--tries", o->tries, "tries with the hint, then (default 3)")->group(group);
  add_seed(app, o->seed, "of all draws", group);
  app.add_option("--first-token", o->first_token,
                 "who chooses the first token: the `teacher` alone (default) or the `schedule`")
      ->check(CLI::IsMember({"teacher", "schedule"}))
      ->type_name("teacher|schedule")
      ->group(group);
  add_optional(app, "--entropy-vocab", o->entropy_vocab,
               "the schedule divides the teacher's entropy by the logarithm of N (default: the "
               "model's own vocabulary; the authors' padded one has 151936)")
      ->type_name("N")
      ->group(group);
  app.add_option("--max-tokens", o->max_tokens, "of an answer (default 512)")->group(group);
  app.add_flag("--accept-cut", o->accept_cut,
               "verify answers too that --max-tokens cut off; they lack an end")
      ->group(group);
  app.add_option("--repeat-times", o->repeat_times,
                 "an answer ends when the same run of tokens comes the Nth time (default 5; 0: "
                 "never)")
      ->type_name("N")
      ->group(group);
  app.add_option("--repeat-length", o->repeat_length, "tokens of such a run (default 30)")
      ->type_name("N")
      ->group(group);
  add_optional(app, "--parallel", o->parallel,
               "records in the model at once (default 32, for a GGUF 16)")
      ->group(group);
  app.add_flag("--defer-student", o->defer_student,
               "leave the student out while the teacher leads alone (lambda 0) and let it catch up "
               "in one go: quicker with --schedule piecewise or --beta 0, the same result")
      ->group(group);
  add_optional(app, "--max-lag", o->max_lag,
               "tokens that a deferred student may be behind (default 32)")
      ->type_name("N")
      ->group(group);
  app.add_option("--temperature", o->temperature, "with the hint; 0 is greedy (default 0.3)")
      ->group(group);
  app.add_option("--top-p", o->top_p, "with the hint (default 0.95)")->group(group);
  app.add_option("--top-k", o->top_k, "with the hint (default 0: all)")->group(group);
  app.add_option("--min-p", o->min_p, "with the hint (default 0)")->group(group);
  app.add_flag("--temperature-first", o->temperature_first,
               "apply the temperature before the cuts instead of after")
      ->group(group);
  app.add_option("--rollout-temperature", o->rollout_temperature,
                 "of the student alone (default 1: the model itself)")
      ->group(group);
  app.add_option("--rollout-top-p", o->rollout_top_p, "of the student alone (default 1)")
      ->group(group);
  app.add_option("--rollout-top-k", o->rollout_top_k, "of the student alone (default 0: all)")
      ->group(group);
  app.add_option("--rollout-min-p", o->rollout_min_p, "of the student alone (default 0)")
      ->group(group);
  return [o] { run(*o); };
}

}  // namespace tool
