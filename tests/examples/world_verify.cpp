// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The world's verifier: right answers pass, and each kind of mistake is named.

#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "support/catch.hpp"
#include "world/document.hpp"
#include "world/verify.hpp"

namespace {

using world::fault;
using world::question_set;

world::verdict judge(std::string_view question, std::string_view completion) {
  const auto q = world::parse_question(question);
  REQUIRE(q.has_value());
  return world::verify(*q, completion);
}

}  // namespace

TEST_CASE("world verifier: rendered solutions are flawless in every style", "[world]") {
  for (const auto set : {question_set::base, question_set::target}) {
    for (const auto& voice : {world::own_style, world::teacher_style, world::teacher_wording_style,
                              world::mixed_style(0.5)}) {
      for (std::uint64_t i = 0; i < 800; ++i) {
        const auto e = world::make_example(set, voice, 17, i);
        INFO(e.written.text());
        const auto v = world::verify(e.asked, e.written.completion);
        REQUIRE(v.flawless());
        REQUIRE(v.first_fault == fault::none);
        REQUIRE(v.steps_read == static_cast<int>(e.worked.steps.size()));
        REQUIRE(world::final_answer(e.written.completion) == e.worked.answer);
        REQUIRE(world::final_answer(e.answer()) == e.worked.answer);
      }
    }
  }
}

TEST_CASE("world verifier: the examples of both voices", "[world]") {
  for (const std::string_view good :
       {"ok 2+6=1;1#3=5>5$", "we 1 & 5 thus>5$", "so 1, 1#3=5 then>5$"}) {
    INFO(good);
    CHECK(judge("c2+6#3", good).flawless());
  }
  CHECK(judge("r4915", "ok 4915=5;491=1;49=9;4=4>5194$").flawless());
  CHECK(judge("m3^7^2", "ok 3^7=7;7^2=7>7$").flawless());
  CHECK(judge("p2583", "ok 2;3;8;8, 5>5$").flawless());
  CHECK(judge("c2+6#3", "so 1, 1#3=5 then>5$").echoes_read == 1);
}

TEST_CASE("world verifier: each mistake has its name", "[world]") {
  // question, completion, is the answer right, is the trace right, first fault, its step
  const std::vector<std::tuple<std::string, std::string, bool, bool, fault, int>> cases{
      {"c2+6#3", "ok 2+6=1;1#3=4>4$", false, false, fault::wrong_result, 1},
      {"c2+6#3", "ok 2+6=2;1#3=5>5$", true, false, fault::wrong_result, 0},
      {"c2+6#3", "we 4 & 5 thus>5$", true, false, fault::wrong_result, 0},
      {"c2+6#3", "ok 2+6=1;2#3=5>5$", true, false, fault::wrong_operation, 1},
      {"c2+6#3", "ok 2+6=1;1#3=5>4$", false, true, fault::wrong_answer, -1},
      {"c2+6#3", "ok 2+6=1>5$", true, false, fault::missing_step, 1},
      {"c2+6#3", "ok 1;5;5>5$", true, false, fault::extra_step, 2},
      {"c2+6#3", "hm 1;5>5$", true, false, fault::bad_opener, -1},
      {"c2+6#3", "ok 1;;5>5$", true, false, fault::bad_step, 1},
      {"c2+6#3", "ok 1 5>5$", true, false, fault::bad_step, 1},
      {"c2+6#3", "ok 1;15>5$", true, false, fault::bad_step, 1},
      {"c2+6#3", "ok 1;=5>5$", true, false, fault::bad_step, 1},
      {"c2+6#3", "ok 1;1#3=>5$", true, false, fault::bad_step, 1},
      {"c2+6#3", "ok 1;5 thus", false, false, fault::no_answer, -1},
      {"c2+6#3", "ok 1;5>$", false, true, fault::no_answer, -1},
      {"c2+6#3", "ok 1;5>55$", false, true, fault::wrong_answer, -1},
      {"c2+6#3", "ok 1;5>5\n$", false, true, fault::wrong_answer, -1},
      {"c2+6#3", "", false, false, fault::bad_opener, -1},
      {"r491", "ok 491=1;49=9;4=4>149$", false, true, fault::wrong_answer, -1},
      {"m3^7^2", "ok 3^7=7;7^2=2>2$", false, false, fault::wrong_result, 1},
      {"p2583", "ok 2;3;9;5;8>8$", true, false, fault::wrong_result, 2},
      {"p2583", "ok 2;3;5;5;8>3$", false, true, fault::wrong_answer, -1},
      {"p2583", "ok 2;2583=3;5;5;8>8$", true, false, fault::wrong_operation, 1},
      {"p2583", "ok 2;3;5;8>8$", true, false, fault::missing_step, 4},
      {"p2583", "ok 2;3;5;5;8>9$", false, true, fault::wrong_answer, -1},
  };
  for (const auto& [question, completion, answer, trace, what, at] : cases) {
    INFO(question << "  " << completion);
    const auto v = judge(question, completion);
    CHECK(v.answer_right == answer);
    CHECK(v.trace_right == trace);
    CHECK(world::to_text(v.first_fault) == world::to_text(what));
    CHECK(v.fault_step == at);
    CHECK_FALSE(v.flawless());
  }
}

TEST_CASE("world verifier: an open answer is judged but not called closed", "[world]") {
  const auto v = judge("c2+6#3", "ok 2+6=1;1#3=5>5");
  CHECK(v.answer_right);
  CHECK(v.trace_right);
  CHECK_FALSE(v.closed);
  CHECK_FALSE(v.flawless());
}

TEST_CASE("world verifier: any one changed digit of a chain or reversal is caught", "[world]") {
  for (std::uint64_t i = 0; i < 200; ++i) {
    const auto e = world::make_example(question_set::base, world::own_style, 23, i);
    if (e.asked.kind == world::task::picks) continue;
    for (std::size_t k = 0; k < e.written.completion.size(); ++k) {
      auto text = e.written.completion;
      if (text[k] < '0' || text[k] > '9') continue;
      text[k] = text[k] == '9' ? '0' : static_cast<char>(text[k] + 1);
      INFO(e.written.prompt << text);
      REQUIRE_FALSE(world::verify(e.asked, text).flawless());
    }
  }
}

TEST_CASE("world verifier: operations without a rule are judged by the given solution", "[world]") {
  const auto q = world::parse_question("c2g6+3");
  REQUIRE(q.has_value());
  const auto worked = world::solve_with(
      *q, [](char operation, int a, int b) { return world::apply(operation, a, b).value_or(4); });
  CHECK(world::verify(*q, worked, "ok 2g6=4;4+3=0>0$").flawless());
  CHECK_FALSE(world::verify(*q, worked, "ok 2g6=5;5+3=1>1$").answer_right);
}
