// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The program as a process: what it writes, what it keeps, its exit codes.

#include "support.hpp"

#include "examples/tool_support.hpp"
#include "torch_trainer/weights.hpp"

namespace idiolect::test {

using Catch::Matchers::ContainsSubstring;
using tool_test::arguments;
using tool_test::operator+;

namespace {

tool_test::outcome run(const arguments& args) {
  const tool_test::scratch folder;
  tool_test::outcome o;
  o.code = tool_test::wait_for(tool_test::start(folder, args, IDIOLECT_TEST_TORCH_TRAINER));
  o.out = tool_test::read_all(folder / "stdout");
  o.err = tool_test::read_all(folder / "stderr");
  return o;
}

std::string lines_of(const torch_trainer::example_set& texts) {
  std::string lines;
  for (const auto& e : texts.examples) {
    auto tokens = e.tokens;
    tokens.push_back(e.targets.back());
    lines += nlohmann::json{{"tokens", tokens}, {"prompt_tokens", 2}}.dump() + "\n";
  }
  return lines;
}

/// A folder with a tiny model and texts, and the arguments for them.
struct world : tool_test::scratch {
  world() {
    std::filesystem::create_directory(*this / "model");
    torch_trainer::save_model(in_torch(tiny_weights()), *this / "model", torch_trainer::dtype::f32);
    static_cast<void>(write("train.jsonl", lines_of(random_texts(12))));
    static_cast<void>(write("eval.jsonl", lines_of(random_texts(3))));
  }
  [[nodiscard]] arguments args(const std::string& out) const {
    return {"--model",   *this / "model",
            "--train",   *this / "train.jsonl",
            "--eval",    *this / "eval.jsonl",
            "--out",     *this / out,
            "--threads", "1"};
  }
};

}  // namespace

TEST_CASE("the program trains and says what it did and goes on where it stopped") {
  const world w;
  const arguments how = {"--loss",  "idft", "--transition",  "0.5", "--steps", "4",
                         "--batch", "4",    "--micro-batch", "2",   "--lr",    "1e-3"};
  const auto all = run(w.args("all") + how + arguments{"--eval-every", "2", "--dtype", "bf16"});
  INFO(all.err);
  REQUIRE(all.code == 0);
  CHECK_THAT(all.err,
             ContainsSubstring("step 4 of 4: loss ") && ContainsSubstring(" tokens/s, 0:00 left"));
  const auto report = w.read_json("all/report.json");
  CHECK(report["steps"].size() == 4);
  CHECK(report["eval"]["curve"].size() == 3);
  CHECK(report["eval"]["curve"][0]["step"] == 0);
  CHECK(report["settings"]["loss"]["name"] == "idft");
  CHECK(torch_trainer::load_model(w / "all").config() ==
        torch_trainer::load_model(w / "model").config());

  const arguments saving = {"--save-every", "100"};
  const auto half = run(w.args("half") + how + saving + arguments{"--stop-after", "2"});
  INFO(half.err);
  REQUIRE(half.code == 0);
  CHECK_THAT(half.err, ContainsSubstring("stopped after 2 steps; go on with --resume"));
  CHECK_FALSE(std::filesystem::exists(w / "half/model.safetensors"));
  const auto rest = run(w.args("half") + how + saving +
                        arguments{"--resume", w / "half/state.safetensors", "--dtype", "bf16"});
  INFO(rest.err);
  REQUIRE(rest.code == 0);
  CHECK(tool_test::read_all(w / "half/model.safetensors") ==
        tool_test::read_all(w / "all/model.safetensors"));
}

TEST_CASE("the program trains for as long as it is told") {
  const world w;
  const auto o = run(w.args("out") + arguments{"--seconds", "1", "--loss", "nll"});
  INFO(o.err);
  REQUIRE(o.code == 0);
  const auto report = w.read_json("out/report.json");
  double seconds = 0;
  for (const auto& s : report["steps"]) seconds += s["seconds"].get<double>();
  CHECK(report["steps"].size() > 1);
  // The last step may end up to half its own length late.
  CHECK(seconds < 1.0 + report["steps"].back()["seconds"].get<double>() + 0.01);
  CHECK(report["settings"]["steps"] == 0);
}

TEST_CASE("what makes no sense is said before anything is done") {
  const world w;
  const auto error = [&](const arguments& args, int code) {
    const auto o = run(args);
    CHECK(o.code == code);
    return o.err;
  };
  CHECK_THAT(error(w.args("o") + arguments{"--loss", "magic"}, 2), ContainsSubstring("--loss"));
  CHECK_THAT(error(w.args("o") + arguments{"--loss", "dft", "--beta", "1"}, 2),
             ContainsSubstring("--beta has no meaning"));
  CHECK_THAT(error(w.args("o") + arguments{"--batch", "0"}, 2), ContainsSubstring("--batch"));
  CHECK_THAT(error(w.args("o") + arguments{"--stop-after", "1"}, 2),
             ContainsSubstring("--save-every"));
  CHECK_THAT(error({"--model", "x"}, 2), ContainsSubstring("required"));
  CHECK_THAT(error(w.args("model"), 2), ContainsSubstring("would replace the file of --model"));
  CHECK_THAT(error(w.args("o") + arguments{"--tokenizer", w / "train.jsonl"}, 1),
             ContainsSubstring("train.jsonl"));
  static_cast<void>(w.write("train.jsonl", "{\"tokens\":[1,2,400]}\n"));
  CHECK_THAT(error(w.args("o"), 1), ContainsSubstring("train.jsonl:1: \"tokens\""));
}

TEST_CASE("a run that diverges ends with an error and leaves the old files") {
  const world w;
  REQUIRE(run(w.args("out") + arguments{"--steps", "1"}).code == 0);
  const auto old = tool_test::read_all(w / "out/model.safetensors");
  const auto o = run(w.args("out") +
                     arguments{"--steps", "20", "--lr", "1e30", "--clip", "0", "--lr-warmup", "0"});
  CHECK(o.code == 1);
  CHECK_THAT(o.err, ContainsSubstring("training diverged at step"));
  CHECK(tool_test::read_all(w / "out/model.safetensors") == old);
}

}  // namespace idiolect::test
