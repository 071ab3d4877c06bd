// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The tool on stories260K: the reference's tokens, log-probabilities and entropies, and what CLL
// says of stories, Shakespeare, word problems and the model's own samples.

#include <cmath>

#include "examples/tool_support.hpp"

namespace {

using namespace tool_test;
using Catch::Matchers::WithinAbs;

json scored(const scratch& folder, const arguments& args) {
  run_well(arguments{"score", "--json", folder / "score.json"} + args);
  return folder.read_json("score.json");
}

std::string first_line(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line + "\n";
}

TEST_CASE("tool: stories260K agrees with the reference at every position") {
  if (tool_is_missing()) return;
  const auto model = real_model();
  if (model.empty()) return;
  for (const std::string name : {"tinystories", "gsm8k"}) {
    const auto file = real_data("reference/reference_" + name + ".json");
    if (file.empty()) return;
    const auto reference = json::parse(read_all(file));
    const scratch folder;
    const auto text = folder.write("text.txt", reference["text"].get<std::string>());
    const auto& ids = reference["token_ids"];
    for (const arguments& how : std::vector<arguments>{
             {"--threads", "1"}, {"--threads", "2"}, {"--threads", "2", "--chunk", "1"}}) {
      run_well(arguments{"score", "--in", text, "--per-token", folder / "t.jsonl"} + model + how);
      const auto lines = folder.read_lines("t.jsonl");
      REQUIRE(lines.size() + 1 == ids.size());
      double worst = 0;
      for (std::size_t i = 0; i < lines.size(); ++i) {
        REQUIRE(lines[i]["token"] == ids[i + 1]);
        const double log_prob = lines[i]["log_prob"];
        const double entropy = lines[i]["entropy"];
        worst = std::max(worst, std::fabs(log_prob - reference["logp"][i].get<double>()));
        worst = std::max(worst, std::fabs(entropy - reference["entropy"][i].get<double>()));
      }
      CHECK(worst < 1e-4);
    }
  }
}

TEST_CASE("tool: stories260K finds stories familiar and other texts foreign") {
  if (tool_is_missing()) return;
  const auto model = real_model();
  const auto stories = real_data("text/tinystories_sample.txt");
  const auto plays = real_data("text/tinyshakespeare.txt");
  const auto problems = real_data("gsm8k/test.jsonl");
  if (model.empty() || stories.empty() || plays.empty() || problems.empty()) return;
  const scratch folder;
  const auto own = scored(folder, arguments{"--in", stories, "--split", "<|endoftext|>"} + model);
  CHECK(own["sequences"] == 5);
  CHECK_THAT(own["mean_phi"].get<double>(), WithinAbs(0, 0.1));
  CHECK_THAT(own["mean_nll"].get<double>(), WithinAbs(1.27, 0.02));

  const auto problem = scored(
      folder,
      arguments{"--in", folder.write("line.jsonl", first_line(problems)), "--whole"} + model);
  CHECK(problem["tokens"] == 245);
  CHECK_THAT(problem["mean_nll"].get<double>(), WithinAbs(5.2554, 1e-4));
  CHECK_THAT(problem["mean_entropy"].get<double>(), WithinAbs(2.1088, 1e-4));
  CHECK_THAT(problem["mean_phi"].get<double>(), WithinAbs(2.1088 - 5.2554, 2e-4));

  const auto play =
      scored(folder, arguments{"--in", folder.write("play.txt", read_all(plays).substr(0, 20000)),
                               "--split", "blank", "--against", stories} +
                         model);
  CHECK(play["mean_phi"] < -1);
  CHECK(play["z"] < -50);
}

TEST_CASE("tool: own samples of stories260K are in distribution") {
  if (tool_is_missing()) return;
  const auto model = real_model();
  if (model.empty()) return;
  const scratch folder;
  const arguments sample = arguments{"sample", "--count", "32", "--max-tokens", "160"} + model;
  run_well(sample + arguments{"--out", folder / "own.jsonl"});
  const auto own = scored(folder, arguments{"--in", folder / "own.jsonl"} + model);
  CHECK(own["tokens"] > 4000);
  CHECK(std::fabs(own["mean_phi"].get<double>()) < 3 * own["standard_error"].get<double>());
  CHECK_THAT(own["z_of_sequences"]["variance"].get<double>(), WithinAbs(1, 0.75));  // 3 sqrt(2 / 32)

  run_well(sample + arguments{"--temperature", "0.3", "--out", folder / "cold.jsonl"});
  const arguments cold = arguments{"--in", folder / "cold.jsonl"} + model;
  CHECK(scored(folder, cold)["mean_phi"] > 0.2);
  const auto centred = scored(folder, cold + arguments{"--sampler-temperature", "0.3"});
  CHECK(std::fabs(centred["z"].get<double>()) < 3);
}

}  // namespace
