// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Verifiers against tables of cases, and against the labels of GSM8K.

#include <signal.h>
#include <unistd.h>

#include <idiolect/hinted/prompts.hpp>
#include <idiolect/hinted/verifier.hpp>
#include <idiolect/hinted/verifiers/command.hpp>

#include <chrono>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#if __has_include(<nlohmann/json.hpp>)
#include <nlohmann/json.hpp>
#define HAS_JSON 1
#endif

#include "support/catch.hpp"
#include "support/rows.hpp"

namespace idiolect {
namespace {

using namespace std::string_literals;

struct not_a_verifier {};
struct wrong_way_round {
  bool operator()(std::string_view, int) const { return true; }
};
struct not_const {
  bool operator()(std::string_view, std::string_view) { return true; }
};
struct no_verdict {
  void operator()(std::string_view, std::string_view) const {}
};
static_assert(verifier<archetype::same_text, std::string_view>);
static_assert(verifier<archetype::same_text, std::string>);
static_assert(!verifier<archetype::same_text, int>);
static_assert(!verifier<not_a_verifier, std::string_view>);
static_assert(!verifier<wrong_way_round, std::string_view>);
static_assert(!verifier<not_const, std::string_view>);
static_assert(!verifier<no_verdict, std::string_view>);
static_assert(verifier<numeric_verifier, question_answer>);
static_assert(verifier<exact_verifier, question_answer>);
static_assert(verifier<regex_verifier, question_answer>);
static_assert(verifier<command_verifier<>, int>);
static_assert(!verifier<numeric_verifier, int>);

struct verdict {
  std::string reference;
  std::string text;
  bool accepted;
};

template <class V>
void check(const V& v, const std::vector<verdict>& cases) {
  for (const auto& c : cases) {
    INFO("reference '" << c.reference << "', text '" << c.text << "'");
    CHECK(v(question_answer{"?", c.reference}, c.text) == c.accepted);
    CHECK(v(c.reference, c.text) == c.accepted);
  }
}

TEST_CASE("the answer behind a delimiter") {
  struct {
    std::string text, delimiter, answer;
    bool found;
  } const cases[] = {
      {"a\n#### 72", "####", "72", true},
      {"a #### 1\nb ####  2 \nc", "####", "2", true},
      {"no answer", "####", "", false},
      {"####", "####", "", true},
      {"##### 5", "####", "5", true},
      {"x>5", ">", "5", true},
      {"x", "", "", false},
      {R"(\boxed{\frac{1}{2}})", "\\boxed{", R"(\frac{1}{2})", true},
      {R"(\boxed{1} so \boxed{ 2 }.)", "\\boxed{", "2", true},
      {R"(\boxed{1} so \boxed{2)", "\\boxed{", "1", true},  // the last one is not closed
      {R"(\boxed{2)", "\\boxed{", "", false},
      {R"(\boxed{\{1\}})", "\\boxed{", R"(\{1\})", true},
      {R"(\boxed{{}{a}{{b}}c})", "\\boxed{", "{}{a}{{b}}c", true},
      {"\\boxed{a\nb}", "\\boxed{", "a\nb", true},
      {R"(\boxed{\)", "\\boxed{", "", false},
  };
  for (const auto& c : cases) {
    INFO(c.text << " behind " << c.delimiter);
    const auto found = answer_after(c.text, c.delimiter);
    CHECK(found.has_value() == c.found);
    if (found) CHECK(*found == c.answer);
  }
}

TEST_CASE("exact verifier") {
  check(exact_verifier{}, {{"a b", " a b\n", true},
                           {"a b", "a  b", false},
                           {"", " \n", true},
                           {"\0x"s, "\0x"s, true},
                           {"\0x"s, "\0y"s, false}});
  check(exact_verifier{">"}, {{"we 1>5", "ok 2+6=1>5", true},
                              {"5", "ok>5", true},  // a bare reference
                              {"we 1>5", "ok>4", false},
                              {"we 1>5", "ok 5", false},
                              {"we 1>", "ok 1>", false},  // nothing is no answer
                              {"we 1>5", "ok>5 or so", false}});
}

TEST_CASE("what is quoted while the model reasons answers nothing") {
  const behind_marker after{"</think>", numeric_verifier{}};
  check(after, {{"#### 5", "<think>say \"#### 4\"</think>\n#### 5", true},
                {"5", "</think>#### 4</think>#### 5", true},
                {"5", "<think>#### 5</think> so it is 5", false},
                {"5", "<think>#### 5", false},  // it never came to its answer
                {"5", "", false}});
}

TEST_CASE("a text full of boxes that are never closed is read in linear time") {
  std::string open;
  for (int k = 0; k < 150'000; ++k) open += "\\boxed{";
  const auto begin = std::chrono::steady_clock::now();
  CHECK_FALSE(answer_after(open, "\\boxed{"));
  CHECK_FALSE(marked_answer(open));
  CHECK(answer_after("\\boxed{7}" + open, "\\boxed{") == "7");
  CHECK(numeric_verifier{}("7", "\\boxed{7}" + open));
  CHECK_FALSE(numeric_verifier{}("7", open + "7"));
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(20));
}

TEST_CASE("numeric verifier: where the answer stands") {
  check(numeric_verifier{}, {{"work\n#### 72", "thus\n#### 72", true},
                             {"72", "#### 72", true},
                             {"#### 72", "A: 72", true},
                             {"#### 72", R"(so \boxed{72}.)", true},
                             {"#### 72", "72", false},  // no marker, no answer
                             {"#### 72", "A: 71\nA: 72", true},
                             {"#### 72", "A: 72\nA: 71", false},
                             {"#### 72", "A: 72\nand more words", true},
                             {"#### 72", "A: 72\n#### 71", false},  // the last to begin
                             {"#### 72", "#### 71\nA: 72\n", true},
                             {"#### 72", R"(A: \boxed{72})", true},
                             {"#### 72", "say A: 72", false},  // only at the start of a line
                             {"#### 72", "  A:72  ", true},
                             {"#### 72", "A:", false},
                             {"#### 72", "#### 72\n\\boxed{ }", false},  // the last one is empty
                             {"#### 72", "", false},
                             {"####", "####", false}});
  check(numeric_verifier{"=>"},
        {{"x => 5", "y=>5.0", true}, {"5", "y=>5", true}, {"x => 5", "#### 5", false}});
}

TEST_CASE("numeric verifier: what is the same number") {
  struct {
    std::string a, b;
    bool same;
  } const cases[] = {
      {"1,234", "1234", true},
      {"$1,234.50", "1234.5", true},
      {"50%", "50", true},
      {R"(50\%)", "50", true},
      {R"(\$5)", "5", true},
      {"$5$", "5", true},
      {"5.", "5", true},
      {"5..", "5", true},
      {"5.00", "5", true},
      {"05", "5", true},
      {".5", "0.5", true},
      {"+5", "5", true},
      {"-0", "0", true},
      {"0.0", "-.0", true},
      {"-5", "5", false},
      {"\xE2\x88\x92"
       "5",
       "-5", true},
      {"-$5", "-5", true},
      {"1/2", "0.5", true},
      {"1 / 2", "0.50", true},
      {R"(\frac{1}{2})", "1/2", true},
      {R"(\dfrac{-1}{2})", "-0.5", true},
      {R"(-\tfrac{1}{2})", "-0.5", true},
      {R"(\frac{3}{6})", R"(\frac{1}{2})", true},
      {"-1/-2", "0.5", true},
      {"1/3", "0.333", false},
      {"1/3", "2/6", true},
      {"1/0", "1/0", true},  // not numbers, and the same text
      {"1/0", "2/0", false},
      {R"(12{,}000)", "12000", true},
      {R"(12\,000)", "12000", true},
      {"1e3", "1000", true},
      {"1e3", "1e4", false},
      {"1e999999999", "10e999999998", true},   // no digit is written out
      {"1e9999999999", "1e9999999999", true},  // as text
      {"1e9999999999", "10e9999999998", false},
      {"18 dollars", "18", false},
      {"18 dollars", "18 dollars.", true},
      {"1.2.3", "1.2.3", true},
      {"1.2.3", "1.23", false},
      {"--5", "5", false},
      {"3 4", "34", false},
      {"", "", false},
      {"$", "%", false},
      {"-", "-", true},
      {"9007199254740993", "9007199254740992", false},  // past the integers of a double
      {"0.1000000000000000000001", "0.1", false},
      {"123456789012345678901234567890", "123,456,789,012,345,678,901,234,567,890.0", true},
      {std::string(900, '9'), std::string(900, '9') + ".0", true},
      {std::string(5000, '9'), std::string(5000, '9') + ".0", true},
      {std::string(5000, '9'), std::string(4999, '9') + "8", false},
      {std::string(5000, '9') + "/1", std::string(5000, '9'), false},  // as text
  };
  for (const auto& c : cases) {
    INFO("'" << c.a.substr(0, 60) << "' and '" << c.b.substr(0, 60) << "'");
    CHECK(same_answer(c.a, c.b) == c.same);
    CHECK(same_answer(c.b, c.a) == c.same);
  }
}

TEST_CASE("numeric verifier: every label of GSM8K") {
#if defined(HAS_JSON)
  const std::string folder = IDIOLECT_TEST_DATA_DIR;
  std::ifstream in(folder + "/gsm8k/example_model_solutions.jsonl");
  std::ifstream test(folder + "/gsm8k/test.jsonl");
  if (folder.empty() || !in || !test) {
    return test::skip(
        "GSM8K is not there; get grade-school-math from https://github.com/openai and "
        "configure with -DIDIOLECT_DATA_DIR=");
  }
  int labels = 0;
  int wrong = 0;
  int accepted = 0;
  for (std::string line, asked; std::getline(in, line) && std::getline(test, asked);) {
    const auto r = nlohmann::json::parse(line);
    // The references of the data set, "#### 18"; the file has the same ones as "A: 18".
    const question_answer record{r.at("question"), nlohmann::json::parse(asked).at("answer")};
    for (const auto& field : r.items()) {
      if (!field.value().is_object()) continue;
      const std::string text = field.value().at("solution");
      const bool label = field.value().at("is_correct");
      const bool verdict = numeric_verifier{}(record, text);
      const bool by_own_reference =
          numeric_verifier{}(r.at("ground_truth").get<std::string>(), text);
      ++labels;
      accepted += verdict;
      wrong += (verdict != label) + (by_own_reference != label);
    }
  }
  CHECK(labels == 5276);
  CHECK(wrong == 0);
  CHECK(accepted > 1000);
#else
  test::skip("nlohmann-json is not there to read GSM8K with");
#endif
}

TEST_CASE("command verifier") {
  const command_verifier has_x({"grep", "-q", "x"});
  CHECK(has_x(0, "axb"));
  CHECK_FALSE(has_x(0, "ab"));
  CHECK_FALSE(has_x(0, ""));
  CHECK(has_x(0, std::string(1'000'000, '\n') + "x"));

  // Words reach the program as they are: no shell looks at them.
  CHECK(command_verifier({"test", "$(echo x); `echo y` 'z' *", "=", "$(echo x); `echo y` 'z' *"})(
      0, ""));

  // What the program reads is the caller's affair.
  const auto payload = [](const question_answer& r, std::string_view text) {
    return r.question + "|" + r.answer + "|" + std::string(text);
  };
  CHECK(command_verifier({"grep", "-qx", "q|a|t"}, payload)(question_answer{"q", "a"}, "t"));
  CHECK_FALSE(command_verifier({"grep", "-qx", "q|a|t"}, payload)(question_answer{"q", "b"}, "t"));
  // A program that does not read its input, and one that reads it through its name.
  CHECK(command_verifier({"true"})(0, std::string(1'000'000, 'x')));
  CHECK(command_verifier({"sh", "-c", "grep -q x /dev/stdin"})(0, "x"));
}

TEST_CASE("command verifier: what goes wrong") {
  using Catch::Matchers::ContainsSubstring;
  CHECK_THROWS_AS(command_verifier({}), shape_error);
  CHECK_THROWS_AS(command_verifier({""}), shape_error);
  CHECK_THROWS_AS(command_verifier({"a\0b"s}), shape_error);
  // What cannot be run is found before there is a text.
  for (const char* program : {"/no/such/program", "no-such-program-anywhere", "/", "/etc/passwd"}) {
    CHECK_THROWS_AS(command_verifier({program}), backend_error);
    CHECK_THROWS_WITH(command_verifier({program}), ContainsSubstring("cannot be started"));
  }
  CHECK_THROWS_WITH(command_verifier({"sh", "-c", "exit 3"})(0, ""),
                    ContainsSubstring("exited with 3"));
  CHECK_THROWS_WITH(command_verifier({"sh", "-c", "kill -9 $$"})(0, ""),
                    ContainsSubstring("signal 9"));

  // Too slow: killed with what it started, and the text is not accepted.
  const auto begin = std::chrono::steady_clock::now();
  const command_verifier slow({"sh", "-c", "sleep 60 & sleep 60; exit 0"}, text_alone{},
                              std::chrono::milliseconds(100));
  CHECK_FALSE(slow(0, "x"));
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(20));
}

TEST_CASE("command verifier: in a process that ignores how children end") {
  struct restored {
    struct sigaction before {};
    restored() {
      struct sigaction ignoring {};
      ignoring.sa_handler = SIG_IGN;
      sigaction(SIGCHLD, &ignoring, &before);
    }
    ~restored() { sigaction(SIGCHLD, &before, nullptr); }
  } const ignored;
  CHECK(command_verifier({"true"})(0, ""));
  CHECK_FALSE(command_verifier({"false"})(0, ""));
  CHECK_THROWS_AS(command_verifier({"sh", "-c", "exit 3"})(0, ""), backend_error);
  struct sigaction now {};
  sigaction(SIGCHLD, nullptr, &now);
  CHECK(now.sa_handler == SIG_IGN);  // as it was
}

TEST_CASE("command verifier: what is held back here is not held back there") {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  CHECK_THROWS_WITH(command_verifier({"sh", "-c", "kill -TERM $$; exit 0"})(0, ""),
                    Catch::Matchers::ContainsSubstring("signal 15"));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

TEST_CASE("command verifier: cancelled, and nothing stays behind") {
  using clock = std::chrono::steady_clock;
  const auto begin = clock::now();
  const command_verifier stopped(
      {"sh", "-c", "sleep 60 & sleep 60"}, text_alone{}, std::chrono::seconds(60),
      [&] { return clock::now() - begin > std::chrono::milliseconds(50); });
  CHECK_THROWS_WITH(stopped(0, ""), Catch::Matchers::ContainsSubstring("cancelled"));
  CHECK(clock::now() - begin < std::chrono::seconds(20));

  // The group is gone with the program, also where that ends by itself: it holds the pipe open.
  int ends[2] = {};
  REQUIRE(pipe(ends) == 0);
  const std::string script = "sleep 60 >&" + std::to_string(ends[1]) + " & exit 0";
  CHECK(command_verifier({"sh", "-c", script})(0, ""));
  close(ends[1]);
  char byte = 0;
  CHECK(read(ends[0], &byte, 1) == 0);  // its end, at once
  close(ends[0]);
  CHECK(clock::now() - begin < std::chrono::seconds(20));
}

TEST_CASE("verifiers: any bytes are a text") {
  test::random_source random(3);
  const std::string parts[] = {"####",         "\\boxed{", "}",   "{", "A:", "\n",
                               "\\",           "1",        "-",   "/", ".",  "\\frac{",
                               "\xE2\x88\x92", "\xE2",     "\0"s, ",", "$",  " "};
  const regex_verifier pattern("A:\\s*(\\S+)");
  const behind_marker behind{"\n", numeric_verifier{}};
  for (int i = 0; i < 20'000; ++i) {
    std::string text, reference;
    for (int k = 0; k < 12; ++k) {
      text += parts[random.bits() % std::size(parts)];
      reference += parts[random.bits() % std::size(parts)];
    }
    const bool same = numeric_verifier{}(reference, text);
    CHECK(same == numeric_verifier{}(reference, text));
    (void)exact_verifier{"\\boxed{"}(reference, text);
    (void)pattern(reference, text);
    CHECK((!behind(reference, text) || text.find('\n') != std::string::npos));
    if (const auto own = marked_answer(text); own && !simplified_answer(*own).empty()) {
      CHECK(numeric_verifier{}(text, text));  // every answer is its own
    }
  }
}

}  // namespace
}  // namespace idiolect
