// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The code of docs/guide/rewrite.md and own_verifier.md, region by region.

#include <idiolect/backend/cpu/cpu.hpp>
#include <idiolect/core/executor.hpp>
#include <idiolect/hinted/recipes.hpp>
#include <idiolect/hinted/reference_score.hpp>
#include <idiolect/hinted/verifier.hpp>
#include <idiolect/hinted/verifiers/command.hpp>

#include <cctype>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hinted_rewrite/history_lm.hpp"
#include "support/catch.hpp"

namespace {

using idiolect::test::history_lm;
using idiolect::test::letters_tokenizer;

std::vector<idiolect::question_answer> some_questions() {
  return {{"1+1", "1+1=2>2"}, {"2+2", "2+2=4>4"}, {"3+3", "3+3=6>6"}};
}

}  // namespace

TEST_CASE("guide: rewrite a data set") {
  letters_tokenizer tokenizer;
  history_lm model;
  const auto data = some_questions();
  std::vector<std::string> kept;
  std::size_t next = 0;
  // [rewrite]
  idiolect::hinted_options decoding;  // temperature 0.3 after top-p 0.95, as the authors' demo
  decoding.delimiter = ">";           // from here on the student writes alone
  decoding.end_tokens = {0};          // your model's end tokens
  decoding.seed = 1;

  auto recipe = idiolect::hinted_decoding(/*beta=*/1);
  idiolect::hinted_policy policy(idiolect::cpu{}, tokenizer, recipe.schedule, decoding);
  idiolect::template_prompter prompts(
      tokenizer, {.templates = {.student = "{question}\n", .teacher = "H{hint}\n{question}\n"},
                  .hint = recipe.hint});

  idiolect::rewrite_options options = recipe.apply();  // one rollout, then three hinted tries
  options.decoder.parallel = 64;                       // records in the model at once
  auto report = idiolect::rewrite(
      model, policy,
      [&]() -> std::optional<idiolect::question_answer> {  // the source: a record, or nothing
        if (next == data.size()) return std::nullopt;
        return data[next++];
      },
      prompts, idiolect::exact_verifier{">"},
      [&](idiolect::rewritten<idiolect::question_answer>&& r) {  // the sink: in the source's order
        if (r.accepted()) kept.push_back(r.text);  // also: how, stop, tokens with lambda, cll
      },
      options);
  // [rewrite]
  CHECK(report.records == 3);
  CHECK(static_cast<std::size_t>(report.accepted()) == kept.size());
}

TEST_CASE("guide: scores before and progress and cancellation") {
  letters_tokenizer tokenizer;
  history_lm model;
  history_lm second_model_object;
  bool stop_requested = false;
  idiolect::index_t tries = 0;
  // [around]
  idiolect::rewrite_options options;
  options.first_record = 0;  // records that an interrupted run had finished: same draws after them
  options.reference_score = idiolect::reference_scorer(idiolect::cpu{}, second_model_object);
  options.progress = [&](const idiolect::rewrite_report& r) {
    tries = r.rollout_tries + r.hinted_tries;
  };
  options.decoder.cancelled = [&] { return stop_requested; };  // asked before each forward call
  // [around]
  const auto data = some_questions();
  std::size_t next = 0;
  idiolect::hinted_options decoding;
  decoding.end_tokens = {0};
  decoding.max_tokens = 20;
  const idiolect::hinted_policy policy(idiolect::cpu{}, tokenizer, idiolect::linear_lambda{},
                                       decoding);
  const auto run = [&] {
    next = 0;
    return idiolect::rewrite(
        model, policy,
        [&]() -> std::optional<idiolect::question_answer> {
          if (next == data.size()) return std::nullopt;
          return data[next++];
        },
        // [own_prompts]
        [&](const idiolect::question_answer& r) {
          idiolect::rewrite_prompt p;
          tokenizer.encode(r.question + "\n", p.student);  // your format here
          tokenizer.encode("H" + r.answer + "\n" + r.question + "\n", p.teacher);
          return p;
        },
        // [own_prompts]
        idiolect::accept_all{}, [](idiolect::rewritten<idiolect::question_answer>&&) {}, options);
  };
  CHECK(run().records == 3);
  CHECK(tries >= 3);
  stop_requested = true;
  CHECK(run().stop == idiolect::stop_reason::cancelled);
}

// [own_verifier]
struct ends_with_the_answer {  // for records of your own type
  struct record {
    std::string question;
    int answer = 0;
  };

  bool operator()(const record& r, std::string_view text) const {
    return text.ends_with("= " + std::to_string(r.answer));
  }
};
static_assert(idiolect::verifier<ends_with_the_answer, ends_with_the_answer::record>);
// [own_verifier]

TEST_CASE("guide: verifiers") {
  CHECK(ends_with_the_answer{}({"1+1", 2}, "1 + 1 = 2"));
  // [verifiers]
  idiolect::question_answer record{"How many?", "48 / 2 = 24\n#### 24"};

  bool same = idiolect::numeric_verifier{}(record, "Half of 48 is \\boxed{24.0}.");
  bool behind = idiolect::exact_verifier{"####"}(record, "#### 24");
  bool pattern =
      idiolect::regex_verifier("answer: (\\S+)")(idiolect::question_answer{"", "24"}, "answer: 24");
  // A program: accepted if it exits with 0, not if with 1; anything else is an error.
  bool program = idiolect::command_verifier({"grep", "-q", "24"})(record, "it is 24");

  // Any callable, and any combination.
  auto numeric_and_short = [](const idiolect::question_answer& r, std::string_view text) {
    return text.size() < 2000 && idiolect::numeric_verifier{}(r, text);
  };
  // [verifiers]
  CHECK((same && behind && pattern && program));
  CHECK(numeric_and_short(record, "A: 24"));
}
