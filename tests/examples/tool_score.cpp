// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// idiolect score and sample on a random model: the figures are those of the library, whatever the
// threads and batches; windows score each token once; own samples are in distribution.

#include <cmath>
#include <numeric>
#include <set>

#include <idiolect/backend/cpu/cpu.hpp>
#include <idiolect/cll/score.hpp>

#include "examples/tool_support.hpp"
#include "tiny_llama/model.hpp"

namespace {

using namespace tool_test;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::WithinAbs;

/// The tool and this test may be compiled for different instruction sets.
constexpr double rounding = 1e-4;

double mean(const std::vector<json>& lines, const char* key) {
  double sum = 0;
  for (const auto& line : lines) sum += line.at(key).get<double>();
  return sum / static_cast<double>(lines.size());
}

/// Scores by the library, without the tool.
std::vector<idiolect::token_score> by_library(const scratch& folder,
                                              const std::vector<idiolect::token_id>& tokens) {
  tiny_llama::model<float> model(tiny_llama::read_checkpoint<float>(folder / "model.bin"));
  const auto stream = model.open();
  const idiolect::chunk all{stream, std::span(tokens).first(tokens.size() - 1),
                            idiolect::want_logits::all};
  REQUIRE(model.forward(std::span(&all, 1)) == idiolect::forward_status::ok);
  return idiolect::score(idiolect::cpu{}, model.logits(stream), std::span(tokens).subspan(1));
}

TEST_CASE("tool: per-token scores are the library's for any threads and batches") {
  if (tool_is_missing()) return;
  const scratch folder;
  const auto model = tiny_model(folder);
  const auto text = folder.write("text.txt", "once upon a time.\n");
  std::vector<std::string> files;
  for (const arguments& how : std::vector<arguments>{{"--threads", "1"},
                                                     {"--threads", "2"},
                                                     {"--threads", "2", "--chunk", "1"},
                                                     {"--streams", "1", "--chunk", "5"}}) {
    run_well(arguments{"score", "--in", text, "--per-token", folder / "tokens.jsonl"} + model +
             how);
    files.push_back(read_all(folder / "tokens.jsonl"));
    CHECK(files.back() == files.front());
  }
  const auto lines = folder.read_lines("tokens.jsonl");
  std::vector<idiolect::token_id> tokens;
  tiny_llama::read_tokenizer(folder / "tokenizer.bin").encode(read_all(text), tokens);
  const auto expected = by_library(folder, tokens);
  REQUIRE(lines.size() == expected.size());
  for (std::size_t i = 0; i < lines.size(); ++i) {
    CHECK(lines[i]["position"] == i + 1);
    CHECK(lines[i]["token"] == tokens[i + 1]);
    CHECK_THAT(lines[i]["log_prob"].get<double>(), WithinAbs(expected[i].log_prob, rounding));
    CHECK_THAT(lines[i]["entropy"].get<double>(), WithinAbs(expected[i].entropy, rounding));
    CHECK_THAT(lines[i]["phi"].get<double>(), WithinAbs(expected[i].phi, rounding));
    CHECK_THAT(lines[i]["varentropy"].get<double>(), WithinAbs(expected[i].varentropy, rounding));
  }
  CHECK(lines.front()["piece"] == "o");
}

TEST_CASE("tool: the JSON of a score has the totals and agrees with the tokens") {
  if (tool_is_missing()) return;
  const scratch folder;
  const auto text = folder.write("text.txt", "a cat.\n\n  a dog.\n \nthe end");
  run_well(arguments{"score", "--in", text, "--split", "blank", "--json", folder / "s.json",
                     "--per-token", folder / "t.jsonl"} +
           tiny_model(folder));
  const auto all = folder.read_json("s.json");
  const auto lines = folder.read_lines("t.jsonl");
  CHECK(all["sequences"] == 3);
  REQUIRE(all["tokens"] == lines.size());
  CHECK(lines.size() == 6 + 6 + 7);  // parts are stripped
  CHECK_THAT(all["mean_nll"].get<double>(), WithinAbs(-mean(lines, "log_prob"), 1e-12));
  CHECK_THAT(all["mean_entropy"].get<double>(), WithinAbs(mean(lines, "entropy"), 1e-12));
  CHECK_THAT(all["mean_phi"].get<double>(), WithinAbs(mean(lines, "phi"), 1e-12));
  const double z =
      mean(lines, "phi") * std::sqrt(static_cast<double>(lines.size()) / mean(lines, "varentropy"));
  CHECK_THAT(all["z"].get<double>(), WithinAbs(z, 1e-9));
  const auto& second = all["by_sequence"][1];
  CHECK_THAT(second["where"].get<std::string>(), ContainsSubstring("text.txt:3"));
}

TEST_CASE("tool: a prompt is given and not scored unless whole is asked for") {
  if (tool_is_missing()) return;
  const scratch folder;
  const auto model = tiny_model(folder);
  const auto in = folder.write("in.jsonl",
                               "{\"question\":\"who\",\"answer\":\"me.\"}\n\n"
                               "{\"prompt\":\"who\\n\",\"completion\":\"me.\",\"other\":[1]}\n"
                               "{\"tokens\":[1,25,10,17,31,15,7,30],\"prompt_tokens\":5}\n"
                               "{\"text\":\"who\\nme.\"}\n");
  const arguments command =
      arguments{"score", "--in", in, "--per-token", folder / "t.jsonl"} + model;
  run_well(command);
  const auto given = folder.read_lines("t.jsonl");
  REQUIRE(given.size() == 3 + 3 + 3 + 7);
  for (std::size_t i = 0; i < 3; ++i) {
    for (const std::size_t other : {3u, 6u, 13u}) {
      CHECK(given[i]["token"] == given[i + other]["token"]);
      CHECK(given[i]["log_prob"] == given[i + other]["log_prob"]);
    }
    CHECK(given[i]["position"] == 5 + i);
  }
  run_well(command + arguments{"--whole"});
  CHECK(folder.read_lines("t.jsonl").size() == 4 * 7);
}

TEST_CASE("tool: a text longer than the context is read in windows") {
  if (tool_is_missing()) return;
  const scratch folder;
  const auto model = tiny_model(folder);
  std::string text;
  while (text.size() < 100) text += "one thing after another. ";
  const auto in = folder.write("in.txt", text);
  const auto said = run_well(arguments{"score", "--in", in, "--per-token", folder / "t.jsonl",
                                       "--json", folder / "s.json", "--overlap", "8"} +
                             model);
  CHECK_THAT(said.out, ContainsSubstring("longer than the context of 32 tokens"));
  CHECK(folder.read_json("s.json")["sequences_in_windows"] == 1);
  CHECK(folder.read_json("s.json")["by_sequence"][0]["windows"] == 4);
  const auto lines = folder.read_lines("t.jsonl");
  REQUIRE(lines.size() == text.size());
  std::vector<idiolect::token_id> tokens;
  tiny_llama::read_tokenizer(folder / "tokenizer.bin").encode(text, tokens);
  for (std::size_t i = 0; i < lines.size(); ++i) CHECK(lines[i]["position"] == i + 1);
  // The second window holds rows 24 to 55 and scores from row 32 on.
  const auto second = by_library(folder, {tokens.begin() + 24, tokens.begin() + 57});
  for (std::size_t row = 32; row < 56; ++row) {
    CHECK_THAT(lines[row]["log_prob"].get<double>(),
               WithinAbs(second[row - 24].log_prob, rounding));
  }
}

TEST_CASE("tool: own samples are in distribution and their ids score as drawn") {
  if (tool_is_missing()) return;
  const scratch folder;
  const auto model = tiny_model(folder);
  run_well(arguments{"sample", "--count", "200", "--seed", "3", "--out", folder / "a.jsonl"} +
           model);
  run_well(arguments{"sample", "--count", "200", "--seed", "3", "--out", folder / "b.jsonl",
                     "--streams", "7", "--threads", "1"} +
           model);
  CHECK(read_all(folder / "a.jsonl") == read_all(folder / "b.jsonl"));
  run_well(arguments{"score", "--in", folder / "a.jsonl", "--json", folder / "s.json"} + model);
  const auto s = folder.read_json("s.json");
  CHECK(s["tokens"] > 2000);
  CHECK(std::fabs(s["z"].get<double>()) < 3);
  CHECK(std::fabs(s["mean_phi"].get<double>()) < 3 * s["standard_error"].get<double>());
  CHECK_THAT(s["z_of_sequences"]["variance"].get<double>(), WithinAbs(1, 0.4));

  run_well(arguments{"sample", "--count", "200", "--temperature", "0.3", "--out",
                     folder / "cold.jsonl"} +
           model);
  const arguments score =
      arguments{"score", "--in", folder / "cold.jsonl", "--json", folder / "s.json"} + model;
  run_well(score);
  CHECK(folder.read_json("s.json")["mean_phi"] > 0.1);
  run_well(score + arguments{"--sampler-temperature", "0.3"});
  CHECK(std::fabs(folder.read_json("s.json")["z"].get<double>()) < 3);
}

TEST_CASE("tool: own samples of the default model are in distribution") {
  if (tool_is_missing()) return;
  const fs::path model = fs::path(IDIOLECT_TEST_SOURCE_DIR) / "examples/default_model/model.bin";
  if (!fs::exists(model)) return idiolect::test::skip("there is no " + model.string());
  const scratch folder;
  run_well({"sample", "--count", "150", "--out", folder / "own.jsonl"});
  run_well({"score", "--in", folder / "own.jsonl", "--json", folder / "s.json"});
  const auto own = folder.read_json("s.json");
  CHECK(own["tokens"] > 4000);
  CHECK(std::fabs(own["mean_phi"].get<double>()) < 3 * own["standard_error"].get<double>());
  CHECK_THAT(own["z_of_sequences"]["variance"].get<double>(), WithinAbs(1, 0.4));
  run_well({"sample", "--count", "150", "--temperature", "0.3", "--out", folder / "cold.jsonl"});
  run_well({"score", "--in", folder / "cold.jsonl", "--json", folder / "s.json"});
  CHECK(folder.read_json("s.json")["z"] > 5);
  run_well({"score", "--in", folder / "cold.jsonl", "--json", folder / "s.json",
            "--sampler-temperature", "0.3"});
  CHECK(std::fabs(folder.read_json("s.json")["z"].get<double>()) < 3);
}

TEST_CASE("tool: samples continue their prompts and differ from each other") {
  if (tool_is_missing()) return;
  const scratch folder;
  const auto prompts = folder.write("p.txt", "ab\ncd\n");
  run_well(arguments{"sample", "--prompts", prompts, "--count", "3", "--max-tokens", "6", "--out",
                     folder / "s.jsonl"} +
           tiny_model(folder));
  const auto lines = folder.read_lines("s.jsonl");
  REQUIRE(lines.size() == 6);
  std::set<std::string> completions;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const auto& l = lines[i];
    CHECK(l["prompt"] == (i < 3 ? "ab" : "cd"));
    CHECK(l["text"] == l["prompt"].get<std::string>() + l["completion"].get<std::string>());
    CHECK(l["prompt_tokens"] == 3);
    CHECK(l["tokens"].size() <= 9);
    CHECK((l["finish"] == "length") == (l["tokens"].size() == 9 && l["tokens"].back() != 2));
    completions.insert(l["completion"].get<std::string>());
  }
  CHECK(completions.size() > 3);
}

TEST_CASE("tool: comparing says which text is more like the model's own") {
  if (tool_is_missing()) return;
  const scratch folder;
  const auto model = tiny_model(folder);
  run_well(arguments{"sample", "--count", "60", "--out", folder / "own.jsonl"} + model);
  std::string foreign;
  for (int i = 0; i < 60; ++i) foreign += "the cat sat on the mat.\n\n";
  const auto other = folder.write("other.txt", foreign);
  const arguments score =
      arguments{"score", "--split", "blank", "--json", folder / "c.json"} + model;
  const auto said = run_well(score + arguments{"--in", folder / "own.jsonl", "--against", other});
  const auto c = folder.read_json("c.json")["comparison"];
  const double auroc = c["mean_phi"]["auroc"]["value"];
  CHECK(c["mean_phi"]["auroc"]["low"] <= auroc);
  CHECK(c["mean_phi"]["auroc"]["high"] >= auroc);
  CHECK(c.contains("perplexity"));
  run_well(score + arguments{"--in", other, "--against", folder / "own.jsonl"});
  const auto reverse = folder.read_json("c.json")["comparison"];
  CHECK_THAT(reverse["mean_phi"]["auroc"]["value"].get<double>(), WithinAbs(1 - auroc, 1e-12));
  CHECK_THAT(said.out, ContainsSubstring("AUROC"));
}

}  // namespace
