// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// idiolect finetune and tour on a random model: it learns, the bits do not depend on the threads,
// prompts are not trained and ends are, and every loss runs.

#include "examples/tool_support.hpp"

namespace {

using namespace tool_test;
using Catch::Matchers::ContainsSubstring;

std::string questions(int count) {
  std::string lines;
  for (int i = 0; i < count; ++i) {
    const char letter = static_cast<char>('a' + i % 20);
    lines += json{{"prompt", std::string("say ") + letter},
                  {"completion", std::string(2, letter) + " " + letter + "."}}
                 .dump() +
             "\n";
  }
  return lines;
}

double figure(const json& result, const char* text, const char* when, const char* name) {
  return result.at(text).at(when).at(name).get<double>();
}

TEST_CASE("tool: fine-tuning learns and is the same for any number of threads") {
  if (tool_is_missing()) return;
  const scratch folder;
  const auto model = tiny_model(folder);
  const auto in = folder.write("in.jsonl", questions(60));
  const auto other = folder.write("other.txt", "the cat sat on the mat.\n\nthe dog ran off.");
  for (const std::string threads : {"1", "2"}) {
    run_well(arguments{"finetune",
                       "--loss",
                       "sft",
                       "--in",
                       in,
                       "--eval",
                       in,
                       "--retain",
                       other,
                       "--split",
                       "blank",
                       "--out",
                       folder / ("out" + threads + ".bin"),
                       "--json",
                       folder / "f.json",
                       "--steps",
                       "60",
                       "--lr",
                       "1e-2",
                       "--threads",
                       threads} +
             model);
  }
  CHECK(read_all(folder / "out1.bin") == read_all(folder / "out2.bin"));
  CHECK(read_all(folder / "out1.bin").size() == read_all(folder / "model.bin").size());
  const auto f = folder.read_json("f.json");
  CHECK(figure(f, "eval", "after", "mean_nll") < figure(f, "eval", "before", "mean_nll") - 0.5);
  CHECK(figure(f, "eval", "after", "end_prob") > figure(f, "eval", "before", "end_prob") + 0.2);
  CHECK(f["retain"]["after"]["tokens"] == f["retain"]["before"]["tokens"]);
  CHECK(f["curve"].size() == 60);
  // 5 characters and the end of each text, and nothing of the prompt: 16 texts a step.
  CHECK(f["curve"][0]["tokens"] == 16 * 6);

  // The figures are those that score gives for the new checkpoint.
  run_well({"score", "--in", in, "--with-end", "--model", folder / "out1.bin", "--tokenizer",
            folder / "tokenizer.bin", "--json", folder / "s.json"});
  CHECK(folder.read_json("s.json")["mean_nll"] == f["eval"]["after"]["mean_nll"]);
}

TEST_CASE("tool: every loss trains") {
  if (tool_is_missing()) return;
  const scratch folder;
  const auto model = tiny_model(folder);
  const auto in = folder.write("in.jsonl", questions(20));
  const std::vector<arguments> losses = {
      {"sft"},
      {"dft"},
      {"deft"},
      {"chord"},
      {"endorsement"},
      {"idft", "--beta", "0.5", "--gamma-max", "1", "--warmup", "0.2", "--transition", "0.3"},
      {"idft", "--gamma-form", "clamp_phi", "--bound", "4", "--protect-end", "1"},
      {"power", "--q", "0.5", "--theta", "0.001"},
      {"eaft", "--h-norm", "3", "--alpha", "2"},
      {"profit", "--theta", "0.01"},
      {"phi-mask", "--theta", "-3"},
      {"talr", "--t", "2", "--floor", "0.1"},
      {"reverse", "--gamma", "2"}};
  for (const auto& loss : losses) {
    INFO(loss.front());
    run_well(arguments{"finetune", "--in", in, "--out", folder / "out.bin", "--json",
                       folder / "f.json", "--steps", "3", "--batch", "4", "--reduction", "sequence",
                       "--lr-schedule", "cosine", "--loss"} +
             loss + model);
    const auto f = folder.read_json("f.json");
    for (const auto& step : f["curve"]) CHECK(step["loss"].is_number());
    CHECK(read_all(folder / "out.bin") != read_all(folder / "model.bin"));
  }
}

TEST_CASE("tool: a record of weight 0 is not learned") {
  if (tool_is_missing()) return;
  const scratch folder;
  const auto model = tiny_model(folder);
  const auto in = folder.write("in.jsonl", "{\"text\":\"abc\",\"weight\":0}\n");
  run_well(arguments{"finetune", "--in", in, "--out", folder / "out.bin", "--steps", "3",
                     "--weight-decay", "0"} +
           model);
  CHECK(read_all(folder / "out.bin") == read_all(folder / "model.bin"));
}

TEST_CASE("tool: the tour compares and trains") {
  if (tool_is_missing()) return;
  const scratch folder;
  const auto model = tiny_model(folder);
  run_well(arguments{"sample", "--count", "20", "--out", folder / "own.jsonl"} + model);
  const auto foreign = folder.write("foreign.jsonl", questions(40));
  const auto said =
      run_well(arguments{"tour", "--own", folder / "own.jsonl", "--foreign", foreign, "--steps",
                         "60", "--lr", "1e-2", "--answer-after", " ", "--json", folder / "t.json"} +
               model);
  CHECK_THAT(said.out, ContainsSubstring("IDFT 0.01 takes up"));
  const auto t = folder.read_json("t.json");
  CHECK(t["own_samples"]["sequences"] == 40);
  CHECK(t["training"]["SFT 0.01"]["foreign"]["mean_nll"] <
        t["training"]["before"]["foreign"]["mean_nll"]);
  CHECK(t["training"]["IDFT 0.01"]["retained"].contains("mean_nll"));
  CHECK(t["training"]["SFT 0.01"]["foreign"]["answers"]["asked"] == 10);  // one in four is held out
  CHECK(t["training"]["SFT 0.01"]["foreign"]["answers"]["ended"] == 10);
}

}  // namespace
