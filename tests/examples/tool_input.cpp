// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// What the tool says to nonsense: the exit code, the place, what was expected, and no output file.

#include "examples/tool_support.hpp"

namespace {

using namespace tool_test;
using Catch::Matchers::ContainsSubstring;

struct nonsense {
  arguments args;
  int code;
  std::string message;
};

void check(const nonsense& n) {
  std::string line;
  for (const auto& word : n.args) line += word + " ";
  INFO(line);
  const auto o = run(n.args);
  CHECK(o.code == n.code);
  CHECK_THAT(o.err, ContainsSubstring(n.message));
  CHECK(o.out.empty());
}

TEST_CASE("tool: files that cannot be read as texts") {
  if (tool_is_missing()) return;
  const scratch folder;
  const auto model = tiny_model(folder);
  const auto file = [&](const std::string& name, const std::string& bytes) {
    return arguments{"score", "--in", folder.write(name, bytes)} + model;
  };
  const std::vector<nonsense> all = {
      {arguments{"score", "--in", folder / "none.txt"} + model, 1, "found no such file"},
      {arguments{"score", "--in", folder / "."} + model, 1, "found a folder"},
      {file("empty.txt", ""), 1, "found an empty file"},
      {file("blank.txt", " \n\n \n") + arguments{"--split", "blank"}, 1, "nothing but white space"},
      {file("upper.txt", "ab\ncD"), 1, "found 'D' at byte 4"},
      {file("latin.txt", "caf\xe9"), 1, "found '<0xE9>' at byte 3"},
      {file("type.jsonl", "{\"text\":\"a\"}\n{\"text\":5}\n"), 1,
       "type.jsonl:2: expected \"text\" to be a string, found number"},
      {file("cut.jsonl", "{\"text\":\"a\"}\n\n{\"text\":"), 1,
       "cut.jsonl:3: expected a JSON object"},
      {file("utf8.jsonl", "{\"text\":\"a\xff\"}\n"), 1, "ill-formed UTF-8"},
      {file("array.jsonl", "[1, 2]\n"), 1, "array.jsonl:1: expected a JSON object"},
      {file("half.jsonl", "{\"prompt\":\"a\"}\n"), 1, "found no \"completion\""},
      {file("none.jsonl", "{\"foo\":1}\n"), 1, "found none of them"},
      {file("void.jsonl", "{\"text\":\"\"}\n"), 1, "found an empty one"},
      {file("one.jsonl", "{\"tokens\":[1]}\n"), 1, "expected 2 token ids or more"},
      {file("float.jsonl", "{\"tokens\":[1,2.5]}\n"), 1, "found 2.5 at position 1"},
      {file("minus.jsonl", "{\"tokens\":[1,-2]}\n"), 1, "found -2 at position 1"},
      {file("big.jsonl", "{\"tokens\":[1,2,600]}\n"), 1, "found 600 at position 2"},
      {file("given.jsonl", "{\"tokens\":[1,5],\"prompt_tokens\":2}\n"), 1, "from 0 to 1"},
      {file("weight.jsonl", "{\"text\":\"a\",\"weight\":\"x\"}\n"), 1,
       "expected \"weight\" to be a finite number"},
      {arguments{"sample", "--prompts", folder / "none.jsonl"} + model, 1,
       "none.jsonl:1: expected \"prompt\""},
      {arguments{"sample", "--prompt", std::string(40, 'a')} + model, 1, "found 41"}};
  for (const auto& n : all) check(n);
}

TEST_CASE("tool: models that cannot be used") {
  if (tool_is_missing()) return;
  const scratch folder;
  tiny_model(folder);
  const auto text = folder.write("text.txt", "abc");
  const auto with = [&](const std::string& model, const std::string& tokenizer) {
    return arguments{"score",           "--in", text, "--model", folder / model, "--tokenizer",
                     folder / tokenizer};
  };
  const std::string bytes = read_all(folder / "model.bin");
  static_cast<void>(folder.write("cut.bin", bytes.substr(0, bytes.size() / 2)));
  static_cast<void>(folder.write("junk.bin", std::string(500, '\x91')));
  std::string nan = bytes;
  nan.replace(40, 4, std::string(4, '\xff'));
  static_cast<void>(folder.write("nan.bin", nan));
  tiny_llama::write_tokenizer(tiny_llama::character_tokenizer("abc"), folder / "small.bin");
  const std::vector<nonsense> all = {
      {with("none.bin", "tokenizer.bin"), 1, "found no such file"},
      {with(".", "tokenizer.bin"), 1, "found a folder"},
      {with("cut.bin", "tokenizer.bin"), 1, "cut.bin: expected " + std::to_string(bytes.size())},
      {with("junk.bin", "tokenizer.bin"), 1, "is not a llama2.c checkpoint"},
      {with("nan.bin", "tokenizer.bin"), 1, "not finite"},
      {with("tokenizer.bin", "model.bin"), 1, "tokenizer.bin: "},
      {with("model.bin", "junk.bin"), 1, "junk.bin: "},
      {with("model.bin", "small.bin"), 1, "only works with the tokenizer"},
      {{"score", "--in", text, "--model", folder / "model.bin"}, 2, "--model needs --tokenizer"}};
  for (const auto& n : all) check(n);
}

TEST_CASE("tool: options that make no sense") {
  if (tool_is_missing()) return;
  const scratch folder;
  const auto model = tiny_model(folder);
  const arguments score = arguments{"score", "--in", folder.write("text.txt", "abc")} + model;
  const arguments tune =
      arguments{"finetune", "--in", folder / "text.txt", "--out", folder / "out.bin"} + model;
  const std::vector<nonsense> all = {
      {{}, 2, "expected a command"},
      {{"frobnicate"}, 2, "found frobnicate"},
      {{"score"}, 2, "--in is required"},
      {score + arguments{"--frob"}, 2, "--frob"},
      {score + arguments{"--threads", "-1"}, 2, "--threads"},
      {score + arguments{"--threads", "many"}, 2, "expected a number"},
      {score + arguments{"--temperature", "0"}, 2, "--temperature"},
      {score + arguments{"--temperature", "nan"}, 2, "--temperature"},
      {score + arguments{"--overlap", "32"}, 2, "from 0 to 31"},
      {score + arguments{"--split", ""}, 2, "--split"},
      {score + arguments{"--top-p", "1.5"}, 2, "--top-p"},
      {score + arguments{"--seed", "-1"}, 2, "--seed"},
      {score + arguments{"--bootstrap", "-5"}, 2, "--bootstrap"},
      {score + arguments{"--end-token", "99"}, 2, "--end-token"},
      {score + arguments{"--json", folder / "no/where.json"}, 1, "there is no folder"},
      {score + arguments{"--json", folder / "."}, 1, "found a folder"},
      {score + arguments{"--json", "/dev/full"}, 1, "/dev/full"},
      {score + arguments{"--json", folder / "./text.txt"}, 2, "would replace the file of --in"},
      {arguments{"sample", "--count", "-1"} + model, 2, "--count"},
      {arguments{"sample", "--temperature", "-1"} + model, 2, "--temperature"},
      {arguments{"sample", "--prompt", "a", "--prompts", "b"} + model, 2, "exclude each other"},
      {tune + arguments{"--loss", "nothing"}, 2, "expected one of sft, dft, idft"},
      {tune + arguments{"--loss", "sft", "--beta", "1"}, 2, "--beta has no meaning"},
      {tune + arguments{"--loss", "idft", "--beta", "0"}, 2,
       "idft::beta: must be finite and > 0, got 0"},
      {tune + arguments{"--loss", "idft", "--gamma-form", "x"}, 2,
       "expected clamp_gamma or clamp_phi"},
      {tune + arguments{"--steps", "-1"}, 2, "--steps"},
      {tune + arguments{"--lr", "-1"}, 2, "--lr"},
      {tune + arguments{"--lr", "1e20"}, 1, "lower --lr"},
      {tune + arguments{"--retain", folder / "none.txt"}, 1, "found no such file"}};
  for (const auto& n : all) check(n);
  CHECK(folder.files() == 3);  // model, tokenizer and text: nothing was written
  CHECK(read_all(folder / "text.txt") == "abc");
}

TEST_CASE("tool: help and version end well") {
  if (tool_is_missing()) return;
  CHECK_THAT(run_well({"--version"}).out, ContainsSubstring("idiolect 0."));
  for (const std::string command : {"score", "finetune", "sample", "tour"}) {
    CHECK_THAT(run_well({command, "--help"}).out, ContainsSubstring("--threads"));
  }
}

TEST_CASE("tool: a stopped run leaves nothing behind") {
  if (tool_is_missing()) return;
  const scratch folder;
  const auto model = tiny_model(folder);
  std::string text;
  while (text.size() < 2000000) text += "one thing after another. ";
  const auto in = folder.write("in.txt", text);
  const auto old = folder.write("out.bin", "an older file");
  for (const int signal : {SIGINT, SIGTERM, SIGKILL}) {
    const scratch output;
    const pid_t child = start(output, arguments{"finetune", "--in", in, "--out", old, "--json",
                                                folder / "f.json", "--steps", "1000000"} +
                                          model);
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    kill(child, signal);
    CHECK(wait_for(child) == 128 + signal);
    CHECK(folder.files() == 4);
    CHECK(read_all(old) == "an older file");
  }
}

}  // namespace
