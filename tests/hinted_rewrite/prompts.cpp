// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Templates, and what becomes of them in tokens.

#include <idiolect/hinted/prompts.hpp>
#include <idiolect/model/archetypes.hpp>

#include <string>
#include <string_view>
#include <vector>

#include "support/catch.hpp"

namespace idiolect {
namespace {

using archetype::byte_tokenizer;
using bytes = template_prompter<byte_tokenizer>;

static_assert(prompter<bytes, question_answer>);
static_assert(!prompter<bytes, int>);
static_assert(!prompter<int, question_answer>);

std::string text_of(const std::vector<token_id>& tokens) {
  std::string text;
  for (const token_id t : tokens) byte_tokenizer{}.append_piece(t, text);
  return text;
}

const byte_tokenizer tokens;

TEST_CASE("templates are filled once") {
  CHECK(fill_template("Q {question} H {hint}.", "a", "b") == "Q a H b.");
  CHECK(fill_template("{question}{question}", "ab", "") == "abab");
  CHECK(fill_template("{hint}|{question}", "{hint}", "{question}") == "{question}|{hint}");
  CHECK(fill_template("\\boxed{} {other} {{question}} {", "5", "") == "\\boxed{} {other} {5} {");
  CHECK(fill_template("", "a", "b").empty());
  CHECK(fill_template("{questio", "a", "b") == "{questio");
}

TEST_CASE("prompts from templates") {
  const bytes standard(tokens);
  const auto p = standard(question_answer{"What?", "So: #### 5"});
  CHECK(text_of(p.student) == "What?\n");
  CHECK(text_of(p.teacher) == "A correct solution, for reference:\nSo: #### 5\n\nWhat?\n");
  CHECK(text_of(p.reference) == "So: #### 5");
  CHECK(p.analysis_marker.empty());

  const bytes analysing(tokens, {.templates = prompt_templates::with_analysis(),
                                 .hint = hint_content::answer,
                                 .delimiter = "####",
                                 .end_token = 0,
                                 .analysis_budget = 9});
  const auto a = analysing(question_answer{"What?", "So: #### 5"});
  CHECK(a.analysis_marker == "# CoT\n");
  CHECK(a.analysis_budget == 9);
  CHECK(text_of(a.teacher).find("reference:\n5\n") != std::string::npos);
  CHECK(text_of(a.student).find('5') == std::string::npos);
  CHECK(text_of(a.reference) == std::string("So: #### 5") + '\0');
}

TEST_CASE("templates that cannot work are refused") {
  using Catch::Matchers::ContainsSubstring;
  const auto made = [](std::string student, std::string teacher) {
    (void)bytes(tokens,
                {.templates = {.student = std::move(student), .teacher = std::move(teacher)}});
  };
  CHECK_NOTHROW(made("{question}", "{question}{hint}"));
  CHECK_THROWS_WITH(made("{qestion}", "{question}{hint}"),
                    ContainsSubstring("student: has no {question}"));
  CHECK_THROWS_WITH(made("", "{question}{hint}"), ContainsSubstring("student: has no {question}"));
  CHECK_THROWS_WITH(made("{question}{hint}", "{question}{hint}"),
                    ContainsSubstring("must not see"));
  CHECK_THROWS_WITH(made("{question}", "{hint}"), ContainsSubstring("teacher: has no {question}"));
  CHECK_THROWS_WITH(made("{question}", "{question}"), ContainsSubstring("teacher: has no {hint}"));
}

}  // namespace
}  // namespace idiolect
