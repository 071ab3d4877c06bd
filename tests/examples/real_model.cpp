// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The problems and the page of examples/real_model.sh, from small results that look like those of
// the tool and the trainer: pages of whole and of partial runs, and files that are broken.

#include <cmath>
#include <functional>
#include <regex>
#include <string>
#include <vector>

#include "examples/tool_support.hpp"
#include "support/catch.hpp"

namespace {

namespace fs = std::filesystem;
using tool_test::arguments;
using tool_test::json;
using tool_test::outcome;
using tool_test::read_all;
using tool_test::scratch;

#if !defined(IDIOLECT_TEST_REAL_MODEL)
#define IDIOLECT_TEST_REAL_MODEL ""
#endif

bool program_is_missing() {
  if (!std::string(IDIOLECT_TEST_REAL_MODEL).empty()) return false;
  idiolect::test::skip("the real model's page is not built (IDIOLECT_BUILD_EXAMPLES)");
  return true;
}

outcome run(const arguments& args) {
  const scratch output;
  outcome o;
  o.code = tool_test::wait_for(tool_test::start(output, args, IDIOLECT_TEST_REAL_MODEL));
  o.out = read_all(output / "stdout");
  o.err = read_all(output / "stderr");
  return o;
}

/// A run's folder.
struct folder {
  scratch files;

  folder() {
    for (const char* name : {"scores", "done", "sft", "idft"}) fs::create_directory(files / name);
  }
  [[nodiscard]] std::string path() const { return files / "."; }
  [[nodiscard]] outcome page() const { return run({"page", "--out", path()}); }

  /// Texts of four tokens, whose phi is `phi` less or plus a little.
  void scored(const std::string& key, double phi, double entropy, int texts = 6) const {
    std::string lines;
    for (int i = 0; i < texts; ++i) {
      for (int k = 0; k < 4; ++k) {
        const double value = phi + 0.1 * ((i + k) % 3 - 1);
        lines += json{{"sequence", i},
                      {"position", 10 + k},
                      {"token", k},
                      {"piece", k == 3 ? "\n" : " <w" + std::to_string(k) + ">"},
                      {"log_prob", value - entropy},
                      {"entropy", entropy},
                      {"phi", value},
                      {"varentropy", 1.0}}
                     .dump() +
                 "\n";
      }
    }
    static_cast<void>(files.write("scores/" + key + ".tokens.jsonl", lines));
    static_cast<void>(files.write("scores/" + key + ".json",
                                  R"({"model": {"path": "/models/tiny.gguf", "parameters": 7}})"));
  }

  void hinted(const std::string& how) const {
    std::string lines;
    for (const char* one : {"rollout", how.c_str(), how.c_str()}) {
      lines += json{{"how", one},
                    {"question", "How many <b> are 2 & 2?"},
                    {"answer", "2 + 2 = 4\n#### 4"},
                    {"reference", "4\n#### 4"},
                    {"lambda", {0.0, 0.2, 0.6, 1.0}},
                    {"student_from", 3},
                    {"reference_cll", {{"tokens", 3}, {"mean_phi", -0.8}}}}
                   .dump() +
               "\n";
    }
    static_cast<void>(files.write("hinted.jsonl", lines));
    scored("hinted", -0.1, 1, 3);
  }

  void trained(const std::string& model, double reference, double own) const {
    json steps = json::array();
    for (int i = 0; i < 5; ++i)
      steps.push_back({{"nll", 2 - 0.1 * i}, {"weight", 0.8}, {"seconds", 2}});
    if (model != "untouched") {
      static_cast<void>(files.write(
          model + "/report.json", json{{"steps", steps},
                                       {"tokens_per_second", 120},
                                       {"eval", {{"curve", {{{"nll", 2}}, {{"nll", reference}}}}}}}
                                      .dump()));
    }
    scored(model + "-reference", -reference + 1, 1);
    scored(model + "-own", -own + 1, 1);
    scored(model + "-other", -own + 1, 1);
    static_cast<void>(files.write("answers-" + model + ".jsonl",
                                  R"({"question": "1 + 1?", "answer": "It is )" + model + "\"}\n"));
  }

  void whole_run() const {
    static_cast<void>(files.write("settings.json", R"({"asked": 6})"));
    scored("own", 0, 1.5);
    scored("cool", 0.6, 1);
    scored("cool-centred", 0, 1);
    scored("reference", -0.7, 0.4);
    scored("swapped", -1.5, 1);
    hinted("hinted");
    trained("untouched", 2, 1);
    trained("sft", 1.5, 1.3);
    trained("idft", 1.6, 1.1);
    static_cast<void>(
        files.write("done/own.json", R"({"stage": "own", "seconds": 12.5, "finished": 1.5})"));
  }
};

int count(const std::string& text, const std::string& what) {
  int n = 0;
  for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++n;
  return n;
}

/// Whether every element that is opened is closed again, in order.
bool balanced(const std::string& html) {
  static const std::regex tag("<(/?)([a-z0-9]+)[^>]*?(/?)>");
  std::vector<std::string> open;
  for (auto at = std::sregex_iterator(html.begin(), html.end(), tag); at != std::sregex_iterator();
       ++at) {
    const std::string name = (*at)[2];
    if (name == "meta" || name == "br" || name == "wbr" || (*at)[3].length() > 0) continue;
    if ((*at)[1].length() == 0) {
      open.push_back(name);
    } else if (open.empty() || open.back() != name) {
      UNSCOPED_INFO("closed: " << name << ", open: " << (open.empty() ? "none" : open.back()));
      return false;
    } else {
      open.pop_back();
    }
  }
  return open.empty();
}

TEST_CASE("real model: a whole run becomes a page and a summary") {
  if (program_is_missing()) return;
  const folder f;
  f.whole_run();
  const outcome o = f.page();
  INFO(o.err);
  REQUIRE(o.code == 0);
  const std::string page = read_all(f.files / "index.html");
  CHECK(balanced(page));
  CHECK(count(page, "<svg") == 7);
  CHECK(page.find("nan") == std::string::npos);
  CHECK(page.find("has not run") == std::string::npos);
  // Nothing from elsewhere, and texts are text.
  CHECK(page.find("src=") == std::string::npos);
  CHECK(page.find("href=") == std::string::npos);
  CHECK(page.find("How many &lt;b&gt; are 2 &amp; 2?") != std::string::npos);
  CHECK(page.find("tiny.gguf") != std::string::npos);
  CHECK(page.find("own 12") != std::string::npos);
  CHECK(page.find("LibTorch gives the first 6 references an NLL of 1.5000, llama.cpp 1.5000") !=
        std::string::npos);
  CHECK(page.find("It is idft") != std::string::npos);

  CHECK(o.out == read_all(f.files / "summary.txt"));
  CHECK(count(o.out, "holds: ") == 11);
  CHECK(o.out.find("mean phi 0.000 over 24 tokens") != std::string::npos);
  // References: NLL 1.1 against 1.5, so that likelihood points the wrong way for every pair.
  CHECK(o.out.find("CLL 1.00 [1.00, 1.00]") != std::string::npos);
  CHECK(o.out.find("mean log-likelihood 0.00 [0.00, 0.00]") != std::string::npos);
  CHECK(o.out.find("Of 3 problems 1 are solved without it, 2 more with it, and 0 not at all") !=
        std::string::npos);
  // Rises of 0.3 and 0.1 nats, for gains of 0.5 and 0.4.
  CHECK(o.out.find("SFT 0.60, IDFT 0.25") != std::string::npos);
}

TEST_CASE("real model: what does not hold is said") {
  if (program_is_missing()) return;
  const folder f;
  f.whole_run();
  f.scored("own", -2, 1.5);     // its own text is foreign to it
  f.scored("swapped", 0.2, 1);  // and another's answer fits better than the right one
  f.trained("idft", 1.6, 1.8);  // IDFT forgets more
  f.hinted("rejected");         // nothing is accepted with the hint
  const outcome o = f.page();
  REQUIRE(o.code == 0);
  const auto denied = [&](const std::string& claim) {
    INFO(claim);
    CHECK(o.out.find("DOES NOT HOLD: " + claim) != std::string::npos);
  };
  denied("The model\u2019s own samples");
  denied("The answer to another problem");
  denied("CLL tells own from foreign");
  denied("The hint brings right answers");
  denied("IDFT forgets less");
  CHECK(count(o.out, "DOES NOT HOLD") == 5);
  CHECK(count(read_all(f.files / "index.html"), "class=\"bad\"") == 5);
}

TEST_CASE("real model: a page of what is there, while the rest has not run") {
  if (program_is_missing()) return;
  const folder f;
  SECTION("nothing") {
    const outcome o = f.page();
    REQUIRE(o.code == 0);
    CHECK(o.out.empty());
    CHECK(count(read_all(f.files / "index.html"), "has not run") == 4);
  }
  SECTION("only scores") {
    f.scored("own", 0, 1.5);
    f.scored("reference", -0.7, 0.4);
    const outcome o = f.page();
    REQUIRE(o.code == 0);
    CHECK(count(o.out, "holds: ") == 3);
    const std::string page = read_all(f.files / "index.html");
    CHECK(count(page, "has not run") == 2);
    CHECK(count(page, "<svg") == 4);
    CHECK(balanced(page));
  }
  SECTION("only one of two trainings") {
    f.trained("untouched", 2, 1);
    f.trained("sft", 1.5, 1.3);
    const outcome o = f.page();
    REQUIRE(o.code == 0);
    CHECK(o.out.empty());  // there is nothing to compare yet
    CHECK(count(read_all(f.files / "index.html"), "<svg") == 2);
  }
}

TEST_CASE("real model: a broken file is named, and no page is written") {
  if (program_is_missing()) return;
  struct breakage {
    const char* file;
    const char* content;
    const char* said;
  };
  const auto broken = GENERATE(
      breakage{"scores/own.tokens.jsonl", "{\"sequence\": 0, \"piece\"",
               "own.tokens.jsonl:1: is not"},
      breakage{"scores/own.tokens.jsonl", "{\"sequence\": 0}\n", "key 'piece' not found"},
      breakage{"scores/own.tokens.jsonl", "", "expected scored tokens, found none"},
      breakage{"scores/own.json", "[]", "own.json: expected a JSON object"},
      breakage{"scores/hinted.tokens.jsonl",
               "{\"sequence\": 0, \"piece\": \"a\", \"log_prob\": -1, \"entropy\": 1, "
               "\"varentropy\": 1, "
               "\"phi\": 0}\n",
               "hinted.jsonl:1: its tokens are not those that were scored"},
      breakage{"hinted.jsonl", "{\"how\": 3}\n", "hinted.jsonl:1: is not what the stage writes"},
      breakage{"sft/report.json", "{\"steps\": [{}]}", "sft/report.json: is not"},
      breakage{"answers-idft.jsonl", "{\"question\": \"?\"}\n", "key 'answer' not found"},
      breakage{"done/own.json", "{\"stage\": \"own\"}", "done/own.json: is not"},
      breakage{"settings.json", "no", "settings.json: is not"});
  const folder f;
  f.whole_run();
  static_cast<void>(f.files.write(broken.file, broken.content));
  const outcome o = f.page();
  CAPTURE(broken.file, broken.content, o.err);
  CHECK(o.code == 1);
  CHECK(o.err.find(broken.said) != std::string::npos);
  CHECK(count(o.err, "\n") == 1);
  CHECK_FALSE(fs::exists(f.files / "index.html"));
}

TEST_CASE("real model: texts of two models must be the same") {
  if (program_is_missing()) return;
  const folder f;
  f.whole_run();
  f.scored("sft-own", -0.3, 1, 5);
  const outcome o = f.page();
  CHECK(o.code == 1);
  CHECK(o.err.find("the texts of two models differ") != std::string::npos);
}

TEST_CASE("real model: problems are dealt out, none to both sides") {
  if (program_is_missing()) return;
  const folder f;
  REQUIRE(run({"problems", "--out", f.path()}).code == 0);
  const auto train = f.files.read_lines("data/train.jsonl");
  const auto held_out = f.files.read_lines("data/held_out.jsonl");
  const auto swapped = f.files.read_lines("data/swapped.jsonl");
  CHECK(train.size() == 52);
  REQUIRE(held_out.size() == 48);
  REQUIRE(swapped.size() == 48);
  for (const auto& a : train) {
    for (const auto& b : held_out) CHECK(a.at("question") != b.at("question"));
  }
  for (std::size_t i = 0; i < held_out.size(); ++i) {
    CHECK(swapped[i].at("question") == held_out[i].at("question"));
    CHECK(swapped[i].at("answer") == held_out[(i + 1) % 48].at("answer"));
  }
  CHECK(f.files.read_lines("data/hinted.jsonl").size() == 12);
  CHECK(f.files.read_lines("data/other_prompts.jsonl").size() == 16);

  // Again the same; other settings need another folder.
  CHECK(run({"problems", "--out", f.path()}).code == 0);
  const outcome other = run({"problems", "--out", f.path(), "--quick"});
  CHECK(other.code == 1);
  CHECK(other.err.find("other settings") != std::string::npos);
}

TEST_CASE("real model: the project's own problems are worked out rightly") {
  if (program_is_missing()) return;
  const folder f;
  REQUIRE(run({"problems", "--out", f.path()}).code == 0);
  static const std::regex equation(R"((\d+)((?: [-+*/] \d+)+) = (\d+))");
  static const std::regex term(R"( ([-+*/]) (\d+))");
  int equations = 0;
  for (const char* file : {"data/train.jsonl", "data/held_out.jsonl"}) {
    for (const auto& line : f.files.read_lines(file)) {
      const auto answer = line.at("answer").get<std::string>();
      INFO(answer);
      double last = -1;
      for (auto e = std::sregex_iterator(answer.begin(), answer.end(), equation);
           e != std::sregex_iterator(); ++e) {
        double value = std::stod((*e)[1]);
        const std::string terms = (*e)[2];
        for (auto t = std::sregex_iterator(terms.begin(), terms.end(), term);
             t != std::sregex_iterator(); ++t) {
          const double x = std::stod((*t)[2]);
          const std::string sign = (*t)[1];
          value = sign == "+"   ? value + x
                  : sign == "-" ? value - x
                  : sign == "*" ? value * x
                                : value / x;
        }
        last = std::stod((*e)[3]);
        CHECK(value == last);
        ++equations;
      }
      CHECK(answer.ends_with("\n#### " + std::to_string(static_cast<int>(last))));
    }
  }
  CHECK(equations > 150);
}

TEST_CASE("real model: problems of one's own are checked") {
  if (program_is_missing()) return;
  const folder f;
  const auto refused = [&](const std::string& content, const std::string& said) {
    const outcome o = run({"problems", "--quick", "--out", f.path(), "--gsm8k",
                           f.files.write("mine.jsonl", content)});
    CAPTURE(content, o.err);
    CHECK(o.code == 1);
    CHECK(o.err.find(said) != std::string::npos);
    CHECK_FALSE(fs::exists(f.files / "settings.json"));
  };
  refused("{\"question\": \"a\", \"answer\": \"b\"}\n", "at least 36 problems, found 1");
  refused("{\"question\": \"a\"}\n", "mine.jsonl:1: expected an object such as");
  refused("{\"question\": \"a\", \"answer\": \" \"}\n", "mine.jsonl:1: answer is empty");
  refused("nonsense\n", "mine.jsonl:1: ");
}

}  // namespace
