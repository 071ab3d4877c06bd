// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// What is in input files beside the texts: editors' marks, sizes, fields that are there twice or
// that the tool does not know, and bytes that a terminal would act on.

#include <algorithm>

#include "examples/tool_support.hpp"

namespace {

using namespace std::string_literals;
using namespace tool_test;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("tool: fields that it does not know pass through byte for byte") {
  if (tool_is_missing()) return;
  const scratch folder;
  const auto model = tiny_model(folder);
  const std::string id = "[1.00, 123456789012345678901234567890 ,-0.0,1e2,{\"b\":1,\"a\":2}]";
  const std::string more = "\"sc\\u006fre\": 0.1000000000000000055511151231257827021181583404541";
  const auto in = folder.write(
      "qa.jsonl", "\xEF\xBB\xBF{\"z\":null ,\"id\":" + id + ", \"question\":\"a\", " + more +
                      ",\"answer\":\"b\",\"tokens\":[1],\"u\":\"\\u00e9\\/\"}\r\n");
  const auto out = folder / "o.jsonl";
  run_well(arguments{"rewrite", "--in", in, "--out", out, "--tries", "0", "--accept-cut",
                     "--max-tokens", "3", "--verifier", "none"} +
           model);
  const std::string line = read_all(out);
  CHECK_THAT(line, ContainsSubstring("\"id\":" + id + ","));
  CHECK_THAT(line, ContainsSubstring(",\"z\":null,\"sc\\u006fre\":0.1000000000000000055511151231257"
                                     "827021181583404541,\"u\":\"\\u00e9\\/\"}\n"));
  const auto object = folder.read_lines("o.jsonl").at(0);
  CHECK(object.at("tokens").size() > 1);  // its own, not the input's
}

TEST_CASE("tool: marks of editors are none of the text") {
  if (tool_is_missing()) return;
  const scratch folder;
  const auto model = tiny_model(folder);
  const auto tokens = [&](const std::string& name, const std::string& bytes,
                          const arguments& more = {}) {
    const auto o = run_well(arguments{"score", "--in", folder.write(name, bytes), "--json", "-"} +
                            more + model);
    return json::parse(o.out).at("tokens").get<int>();
  };
  const std::string mark = "\xEF\xBB\xBF";
  CHECK(tokens("a.txt", "ab\ncd\n") == 6);
  CHECK(tokens("b.txt", mark + "ab\r\ncd\r\n") == 6);
  CHECK(tokens("c.txt", mark + "ab\r\n\r\n\f\r\ncd", {"--split", "blank"}) == 4);
  CHECK(tokens("a.jsonl", mark + "\r\n{\"text\":\"ab\"}\r\n\f\n\f{\"text\":\"cd\"}\f\r\n") == 4);
  const auto prompts =
      run_well(arguments{"sample", "--max-tokens", "1", "--prompts",
                         folder.write("p.txt", mark + "ab\r\n\f\r\ncd\f\r\n"), "--out", "-"} +
               model);
  CHECK(std::ranges::count(prompts.out, '\n') == 2);
  // One bare line break, and carriage returns are the text's own.
  const auto mixed = run(arguments{"score", "--in", folder.write("m.txt", "ab\ncd\r\n")} + model);
  CHECK(mixed.code == 1);
  CHECK_THAT(mixed.err, ContainsSubstring("'<0x0D>'"));
  for (const std::string name : {"w.txt", "w.jsonl"}) {
    const auto o = run(arguments{"score", "--in", folder.write(name, "\xFF\xFE{\0"s)} + model);
    CHECK(o.code == 1);
    CHECK_THAT(o.err, ContainsSubstring("is UTF-16"));
  }
}

TEST_CASE("tool: records that are too large, too deep or ambiguous are named") {
  if (tool_is_missing()) return;
  const scratch folder;
  const auto model = tiny_model(folder);
  const std::string good = "{\"text\":\"ab\"}\n";
  const auto complaint = [&](const std::string& line, const std::string& why) {
    const auto in = folder.write("in.jsonl", good + line + "\n");
    const auto o = run(arguments{"score", "--in", in} + model);
    CHECK(o.code == 1);
    CHECK_THAT(o.err, ContainsSubstring("in.jsonl:2: "));
    CHECK_THAT(o.err, ContainsSubstring(why));
  };
  complaint("{\"text\":\"" + std::string(17 << 20, 'a') + "\"}", "at most 16777216 bytes, found");
  complaint("{\"x\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}", "brackets");
  complaint(R"({"text":"a","x":1,"te\u0078t":"b"})", "found \"text\" twice");
  complaint(R"({"text":"\ud800"})", "no valid JSON");
  complaint("{\"text\":\"a\0b\"}"s, "no valid JSON");
  complaint(R"({"text":"a\u0000\u001b[2J"})", "'<0x00>'");
  const auto plain =
      run(arguments{"score", "--in", folder.write("in.txt", std::string(17 << 20, 'a'))} + model);
  CHECK(plain.code == 1);
  CHECK_THAT(plain.err, ContainsSubstring("in.txt:1: expected a text of at most 16777216 bytes"));
  // Names are shown like data.
  const auto named = run(arguments{"score", "--in", folder / "a\x1b]0;x\r.txt"} + model);
  CHECK_THAT(named.err, ContainsSubstring("a<0x1B>]0;x<0x0D>.txt"));
}

TEST_CASE("tool: what comes to nothing is no success") {
  if (tool_is_missing()) return;
  const scratch folder;
  const auto model = tiny_model(folder);
  const auto in = folder.write("in.jsonl", "{\"text\":\"abcd\"}\n");
  static_cast<void>(folder.write("old.bin", "old"));
  // A single step: nobody would see what it made of the weights, were it not looked for.
  const auto diverged = run(arguments{"finetune", "--in", in, "--out", folder / "old.bin",
                                      "--steps", "1", "--lr", "1e38", "--weight-decay", "0"} +
                            model);
  CHECK(diverged.code == 1);
  CHECK_THAT(diverged.err, ContainsSubstring("lower --lr"));
  CHECK(read_all(folder / "old.bin") == "old");
  const arguments rewrite =
      arguments{"rewrite",
                "--in",
                folder.write("qa.jsonl", "{\"question\":\"a\",\"answer\":\"b\"}\n"),
                "--out",
                folder / "o.jsonl",
                "--tries",
                "0",
                "--verifier",
                "command:false"} +
      model;
  const auto rejected = run(rewrite);
  CHECK(rejected.code == 1);
  CHECK_THAT(rejected.err, ContainsSubstring("none of 1 record has an answer"));
  CHECK_FALSE(fs::exists(folder / "o.jsonl.unfinished"));
  run_well(rewrite + arguments{"--rejected", folder / "r.jsonl"});  // there is something to look at
  CHECK(folder.read_lines("r.jsonl").size() == 1);
}

}  // namespace
