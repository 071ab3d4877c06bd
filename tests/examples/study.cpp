// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The study as a process: the same figures for any number of threads and wherever it was
// interrupted. And what its program computes with: intervals, and the pairwise losses.

#include <chrono>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "examples/tool_support.hpp"
#include "study/statistics.hpp"
#include "support/catch.hpp"

namespace {

namespace fs = std::filesystem;
using tool_test::arguments;
using tool_test::json;
using tool_test::scratch;
using tool_test::operator+;

#if !defined(IDIOLECT_TEST_STUDY)
#define IDIOLECT_TEST_STUDY ""
#endif

bool study_is_missing() {
  if (!std::string(IDIOLECT_TEST_STUDY).empty()) return false;
  idiolect::test::skip("the study is not built (IDIOLECT_BUILD_EXAMPLES), or built with sanitizers");
  return true;
}

/// A study as small as it can be and still have every part.
arguments small_study(const std::string& out) {
  return {"--quick", "--out",      out,  "--records", "24", "--questions",
          "12",      "--detected", "16", "--steps",   "4"};
}

pid_t start_study(const scratch& folder, const arguments& args) {
  return tool_test::start(folder, args, IDIOLECT_TEST_STUDY);
}

json finished(const scratch& folder, const std::string& out, const arguments& more = {}) {
  const scratch output;
  const int code = tool_test::wait_for(start_study(output, small_study(folder / out) + more));
  INFO(tool_test::read_all(output / "stderr"));
  REQUIRE(code == 0);
  return folder.read_json(out + "/report.json");
}

/// All but the times.
json without_seconds(json j) {
  if (j.is_object()) j.erase("seconds");
  for (auto& part : j) {
    if (part.is_structured()) part = without_seconds(part);
  }
  return j;
}

std::ptrdiff_t stages_in(const fs::path& folder) {
  std::ptrdiff_t n = 0;
  if (!fs::exists(folder)) return 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    n += entry.path().extension() == ".json" ? 1 : 0;
  return n;
}

}  // namespace

TEST_CASE("a study gives the same figures again, for any number of threads") {
  if (study_is_missing()) return;
  const scratch folder;
  const json first = without_seconds(finished(folder, "a", {"--jobs", "1"}));
  const json second = without_seconds(finished(folder, "b", {"--jobs", "3"}));
  CHECK(first == second);
  CHECK(first.at("checks").size() > 15);
  const auto page = tool_test::read_all(folder / "a/index.html");
  CHECK(page.find("<svg") != std::string::npos);
  CHECK(page.find("http://") == std::string::npos);
  CHECK(page.find("nan") == std::string::npos);

  // Other settings do not mix with what is there.
  const scratch output;
  CHECK(tool_test::wait_for(start_study(output, {"--quick", "--out", folder / "a"})) == 1);
  CHECK(tool_test::read_all(output / "stderr").find("other settings") != std::string::npos);
}

TEST_CASE("a study that was killed goes on and ends with the same figures") {
  if (study_is_missing()) return;
  const scratch folder;
  const json whole = without_seconds(finished(folder, "whole"));

  const scratch output;
  const pid_t child = start_study(output, small_study(folder / "cut") + arguments{"--jobs", "1"});
  const fs::path stages = folder / "cut/stages";
  const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(120);
  while (stages_in(stages) < 8 && std::chrono::steady_clock::now() < patience)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  kill(child, SIGKILL);
  tool_test::wait_for(child);
  REQUIRE(!fs::exists(folder / "cut/report.json"));
  REQUIRE(stages_in(stages) >= 8);
  CHECK(without_seconds(finished(folder, "cut")) == whole);
}

TEST_CASE("intervals of the study") {
  using namespace study;
  // A share of 3 in 4: variance p (1 - p) n / (n - 1) / n.
  const auto share = share_of("1101");
  CHECK(share.value == Approx(0.75));
  CHECK(share.high - share.value == Approx(1.96 * std::sqrt(0.75 * 0.25 / 3)));
  // A ratio of sums is the token-weighted mean; equal ratios have no spread.
  const auto even = ratio(std::vector{1.0, 2.0, 4.0}, std::vector{2.0, 4.0, 8.0});
  CHECK(even.value == Approx(0.5));
  CHECK(even.high == Approx(0.5));
  CHECK(paired_difference("1100", "1010").value == Approx(0.0));
  // Student's t for three seeds 1, 2, 3: 2 +- 4.303 / sqrt 3.
  const auto seeds = over_seeds(std::vector{1.0, 2.0, 3.0});
  CHECK(seeds.value == Approx(2.0));
  CHECK(seeds.low == Approx(2.0 - 4.303 / std::sqrt(3.0)));
  CHECK(std::isnan(over_seeds(std::vector{1.0}).low));
  const auto d = difference(normal_interval(2, 3), normal_interval(1, 4));
  CHECK(d.value == Approx(1.0));
  CHECK(d.high - d.value == Approx(1.96 * 5));
}
