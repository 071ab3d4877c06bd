// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// `idiolect rewrite` as a process: the same bytes however it is run and however often it is killed,
// and a report of every line that it cannot use.

#if defined(IDIOLECT_TEST_TOOL) && __has_include(<nlohmann/json.hpp>)

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <idiolect/core/philox.hpp>

#include "support/catch.hpp"
#include "support/rows.hpp"
#include "tiny_llama/checkpoint.hpp"
#include "tiny_llama/tokenizer.hpp"
#include "world/document.hpp"
#include "world/vocabulary.hpp"

extern "C" char** environ;

namespace {

namespace fs = std::filesystem;
using idiolect::test::random_source;
using words = std::vector<std::string>;
using Catch::Matchers::ContainsSubstring;

std::string read(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

void write(const fs::path& file, const std::string& bytes) {
  std::ofstream(file, std::ios::binary) << bytes;
}

/// A folder of its own with a small model of random weights and questions of the world.
struct workplace {
  fs::path folder;
  std::vector<std::string> lines;  // of questions.jsonl

  explicit workplace(std::size_t records) {
    folder = fs::temp_directory_path() /
             ("idiolect_rewrite_" + std::to_string(getpid()) + "_" + std::to_string(records));
    fs::remove_all(folder);
    fs::create_directories(folder);
    const tiny_llama::config shape{.dim = 16,
                                   .hidden_dim = 32,
                                   .layers = 1,
                                   .heads = 2,
                                   .kv_heads = 2,
                                   .vocab_size = world::vocab_size,
                                   .context_size = 128};
    tiny_llama::weights<float> weights(shape);
    const idiolect::philox random{3, 1};
    std::uint64_t position = 0;
    for (float& x : weights.flat()) x = static_cast<float>(2 * random.uniform(position++) - 1);
    tiny_llama::write_checkpoint(weights, folder / "model.bin");
    tiny_llama::write_tokenizer(tiny_llama::character_tokenizer(world::characters),
                                folder / "tokenizer.bin");
    std::string text;
    for (std::size_t i = 0; i < records; ++i) {
      const auto e = world::make_example(world::question_set::target, world::teacher_style, 1, i);
      lines.push_back(nlohmann::json{
          {"question", world::to_text(e.asked)},
          {"answer", e.answer()},
          {"id", i}}.dump());
      text += lines.back() + "\n";
    }
    write(folder / "questions.jsonl", text);
  }
  workplace(const workplace&) = delete;
  workplace& operator=(const workplace&) = delete;
  ~workplace() { fs::remove_all(folder); }

  [[nodiscard]] std::string path(const std::string& name) const { return (folder / name).string(); }

  /// `idiolect rewrite` on this model, writing `out`; `more` is options with their values, and
  /// flags.
  [[nodiscard]] words command(const std::string& out, const words& more = {}) const {
    words w = {IDIOLECT_TEST_TOOL,
               "rewrite",
               "--model",
               path("model.bin"),
               "--tokenizer",
               path("tokenizer.bin"),
               "--in",
               path("questions.jsonl"),
               "--out",
               path(out),
               "--rejected",
               path(out + ".rejected"),
               "--delimiter",
               ">",
               "--verifier",
               "regex:[0-3]$",
               "--hint-template",
               "H{hint}\\n{question}\\n",
               "--max-tokens",
               "60",
               "--threads",
               "1"};
    if (std::ranges::find(more, "--schedule") == more.end()) w.insert(w.end(), {"--beta", "1"});
    for (std::size_t i = 0; i < more.size(); ++i) {
      const auto there = std::ranges::find(w, more[i]);
      const bool once = more[i].starts_with("--") && more[i] != "--verifier-arg";
      if (once && there != w.end()) {
        *(there + 1) = more[++i];
      } else {
        w.push_back(more[i]);
      }
    }
    return w;
  }
};

struct finished {
  int code = -1;  // 128 + signal for a process that was ended by one
  std::string out;
  std::string err;
};

pid_t start(const words& command, const std::string& out, const std::string& err) {
  std::vector<char*> argv;
  for (const auto& w : command) argv.push_back(const_cast<char*>(w.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 1, out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
  posix_spawn_file_actions_addopen(&files, 2, err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
  pid_t child = 0;
  const int failure = posix_spawn(&child, argv[0], &files, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  REQUIRE(failure == 0);
  return child;
}

int wait_for(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

finished run(const workplace& at, const words& command) {
  finished f;
  f.code = wait_for(start(command, at.path("stdout"), at.path("stderr")));
  f.out = read(at.path("stdout"));
  f.err = read(at.path("stderr"));
  return f;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

/// Result and rejected records as one.
std::string result(const workplace& at, const std::string& out) {
  return read(at.path(out)) + "--\n" + read(at.path(out + ".rejected"));
}

/// Whole and regular: every record once, in order, and nothing left lying about.
void check_complete(const workplace& at, const std::string& out, std::size_t records) {
  std::set<std::size_t> seen;
  for (const std::string& name : {out, out + ".rejected"}) {
    std::size_t last = 0;
    for (const auto& text : lines_of(read(at.path(name)))) {
      const auto line = nlohmann::json::parse(text);
      const std::size_t number = line.at("line");
      CHECK(number > last);
      CHECK(line.at("id") == number - 1);
      CHECK((line.at("how") == "rejected") == (name != out));
      seen.insert(last = number);
    }
  }
  CHECK(seen.size() == records);
  CHECK_FALSE(fs::exists(at.path(out + ".unfinished")));
}

}  // namespace

TEST_CASE("rewrite command: the same bytes for any parallelism and any number of threads") {
  const workplace at(60);
  const auto first = run(at, at.command("a", {"--parallel", "1"}));
  REQUIRE(first.err == "");
  REQUIRE(first.code == 0);
  check_complete(at, "a", 60);
  CHECK(fs::file_size(at.path("a")) > 0);
  CHECK(fs::file_size(at.path("a.rejected")) > 0);
  for (const words& more : {words{"--parallel", "7"}, words{"--parallel", "64"},
                            words{"--parallel", "64", "--threads", "2"}}) {
    CHECK(run(at, at.command("b", more)).code == 0);
    CHECK(result(at, "b") == result(at, "a"));
  }
  CHECK(run(at, at.command("c", {"--seed", "1"})).code == 0);
  CHECK(result(at, "c") != result(at, "a"));

  // Nor do students that lag behind change a byte: this model does not care how a text is cut.
  for (const words& schedule : {words{"--schedule", "piecewise", "--low", "0.5", "--high", "0.8"},
                                words{"--beta", "0", "--rollouts", "0"}}) {
    words more = schedule;
    more.emplace_back("--trace");
    CHECK(run(at, at.command("eager", more)).code == 0);
    more.emplace_back("--defer-student");
    CHECK(run(at, at.command("late", more)).code == 0);
    CHECK(result(at, "late") == result(at, "eager"));
    more.insert(more.end(), {"--max-lag", "3"});
    CHECK(run(at, at.command("late", more)).code == 0);
    CHECK(result(at, "late") == result(at, "eager"));
    CHECK(fs::file_size(at.path("late")) > 0);
  }
}

TEST_CASE("rewrite command: options of the decoding reach it") {
  const workplace at(40);
  const auto records = [&](const words& more) {
    words w = {"--rollouts", "0", "--trace"};
    w.insert(w.end(), more.begin(), more.end());
    const auto f = run(at, at.command("a", w));
    INFO(f.err);
    REQUIRE(f.code == 0);
    std::vector<nlohmann::json> all;
    for (const char* name : {"a", "a.rejected"}) {
      for (const auto& line : lines_of(read(at.path(name)))) {
        all.push_back(nlohmann::json::parse(line));
      }
    }
    REQUIRE(all.size() == 40);
    return all;
  };
  const auto first_lambda = [](const nlohmann::json& r) {
    return r.at("lambda").at(0).get<double>();
  };
  const auto longest = [](const std::vector<nlohmann::json>& all) {
    std::size_t most = 0;
    for (const auto& r : all) most = std::max(most, r.at("lambda").size());
    return most;
  };
  const auto stopped_by = [](const std::vector<nlohmann::json>& all, const std::string& stop) {
    return std::ranges::count_if(all, [&](const auto& r) { return r.at("stop") == stop; });
  };
  const auto plain = records({});
  CHECK(std::ranges::all_of(plain, [&](const auto& r) { return first_lambda(r) == 0; }));

  const auto scheduled = records({"--first-token", "schedule"});
  CHECK(std::ranges::all_of(scheduled, [&](const auto& r) { return first_lambda(r) > 0; }));

  // ln V of this vocabulary over ln of another; a lambda is written with four digits.
  const auto padded = records({"--first-token", "schedule", "--entropy-vocab", "151936"});
  const double ratio = std::log(static_cast<double>(world::vocab_size)) / std::log(151936.0);
  for (std::size_t i = 0; i < padded.size(); ++i) {
    if (padded[i].at("line") != scheduled[i].at("line")) continue;  // accepted in one alone
    CHECK(first_lambda(padded[i]) == Approx(ratio * first_lambda(scheduled[i])).margin(1e-4));
  }
  const auto strict =
      stopped_by(records({"--repeat-length", "1", "--repeat-times", "3"}), "repetition");
  CHECK(strict > stopped_by(plain, "repetition") + 5);
  CHECK(stopped_by(records({"--repeat-length", "1", "--repeat-times", "0"}), "repetition") == 0);

  const words cut = {"--max-tokens", "9", "--verifier", "none"};
  const auto kept = [](const std::vector<nlohmann::json>& all) {
    return std::ranges::count_if(all, [](const auto& r) { return r.at("how") != "rejected"; });
  };
  const auto ended = records(cut);
  CHECK(longest(ended) == 9);
  words and_cut = cut;
  and_cut.emplace_back("--accept-cut");
  CHECK(kept(ended) < 40);
  CHECK(kept(records(and_cut)) == 40);

  // The student alone with one candidate is greedy: every seed gives the same.
  const auto greedy = [&](const std::string& seed, const words& how) {
    words w = {"--rollouts", "1", "--tries", "0", "--seed", seed};
    w.insert(w.end(), how.begin(), how.end());
    REQUIRE(run(at, at.command("g", w)).code == 0);
    return result(at, "g");
  };
  for (const words& how : {words{"--rollout-top-k", "1"}, words{"--rollout-min-p", "1"}}) {
    CHECK(greedy("1", how) == greedy("18446744073709551615", how));
  }
  CHECK(greedy("1", {}) != greedy("18446744073709551615", {}));
}

TEST_CASE("rewrite command: its lines can be scored and say what happened") {
  const workplace at(40);
  const auto f = run(at, at.command("a", {"--show", "1", "--trace", "--json", at.path("json")}));
  REQUIRE(f.err == "");
  CHECK_THAT(f.out, ContainsSubstring("verified yield"));
  CHECK_THAT(f.out, ContainsSubstring("Who led"));
  const auto summary = nlohmann::json::parse(read(at.path("json")));
  CHECK(summary.at("records") == 40);
  CHECK(summary.at("references").at("texts") == 40);
  double phi = 0;
  double tokens = 0;
  for (const auto& text : lines_of(read(at.path("a")))) {
    const auto line = nlohmann::json::parse(text);
    const std::size_t made = line.at("tokens").size() - line.at("prompt_tokens").get<std::size_t>();
    CHECK(line.at("lambda").size() == made);
    CHECK(line.at("phi").size() == made);
    CHECK(line.at("tokens").back() == world::end_token);
    CHECK(line.at("stop") == "end_of_sequence");
    CHECK(line.at("cll").at("tokens") == made);
    for (const double x : line.at("phi")) phi += x;
    tokens += static_cast<double>(made);
  }
  CHECK(summary.at("kept").at("mean_phi").get<double>() == Approx(phi / tokens).margin(1e-9));

  // The tool itself, asked about the very tokens, says the same.
  const auto scored = run(at, {IDIOLECT_TEST_TOOL, "score", "--model", at.path("model.bin"),
                               "--tokenizer", at.path("tokenizer.bin"), "--in", at.path("a"),
                               "--format", "jsonl", "--json", at.path("scores")});
  REQUIRE(scored.code == 0);
  const auto scores = nlohmann::json::parse(read(at.path("scores")));
  CHECK(scores.at("tokens") == tokens);
  CHECK(scores.at("mean_phi").get<double>() == Approx(phi / tokens).margin(1e-9));
}

TEST_CASE("rewrite command: killed again and again it ends with the same bytes") {
#if defined(IDIOLECT_TEST_SANITIZED)
  const int wanted = 20;  // a run takes seconds there
#else
  const int wanted = 100;
#endif
  const std::size_t records = 400;
  const workplace at(records);
  const auto clock = [] { return std::chrono::steady_clock::now(); };
  const auto begin = clock();
  const auto whole = run(at, at.command("whole", {"--parallel", "4"}));
  const auto duration = clock() - begin;
  REQUIRE(whole.err == "");
  REQUIRE(whole.code == 0);
  check_complete(at, "whole", records);
  const std::string expected = result(at, "whole");

  random_source random(11);
  const words command = at.command("killed", {"--parallel", "4"});
  int kills = 0;
  int with_work = 0;  // of them, those that left finished records behind
  int completed = 0;
  for (int starts = 0; starts < 3000 && (kills < wanted || completed == 0); ++starts) {
    const pid_t child = start(command, at.path("stdout"), at.path("stderr"));
    if (kills < wanted) {
      // Often in the middle of the work, now and then while it starts or ends.
      const double share = random.uniform() * (starts % 5 == 0 ? 1.1 : 0.4);
      std::this_thread::sleep_for(
          std::chrono::duration_cast<std::chrono::microseconds>(duration * share));
      kill(child, SIGKILL);
    }
    const int code = wait_for(child);
    if (code == 128 + SIGKILL) {
      ++kills;
      const auto left = lines_of(read(at.path("killed.unfinished")));
      with_work += left.size() > 1;
      continue;
    }
    INFO(read(at.path("stderr")));
    REQUIRE(code == 0);
    ++completed;
    CHECK(read(at.path("stdout")) == whole.out);  // the summary too
    REQUIRE(result(at, "killed") == expected);
    check_complete(at, "killed", records);
    for (const char* name : {"killed", "killed.rejected"}) fs::remove(at.path(name));
  }
  CHECK(kills >= wanted);
  CHECK(with_work >= wanted * 3 / 10);
  CHECK(completed >= 1);
}

TEST_CASE("rewrite command: whatever was left on the disk") {
  const workplace at(120);
  REQUIRE(run(at, at.command("whole")).code == 0);
  const std::string expected = result(at, "whole");

  // A run that was killed, once it has written something.
  const words command = at.command("cut");
  std::string left;
  for (int i = 0; i < 200 && lines_of(left).size() < 20; ++i) {
    fs::remove(at.path("cut"));
    const pid_t child =
        start(at.command("cut", {"--parallel", "1"}), at.path("stdout"), at.path("stderr"));
    for (int k = 0; k < 10'000; ++k) {
      left = read(at.path("cut.unfinished"));
      if (lines_of(left).size() >= 20) break;
      if (waitpid(child, nullptr, WNOHANG) == child) break;
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    kill(child, SIGKILL);
    wait_for(child);
    left = read(at.path("cut.unfinished"));
  }
  REQUIRE(lines_of(left).size() >= 20);

  const auto check_from = [&](const std::string& content) {
    write(at.path("cut.unfinished"), content);
    const auto f = run(at, command);
    INFO(f.err);
    CHECK(f.code == 0);
    CHECK(result(at, "cut") == expected);
    check_complete(at, "cut", 120);
  };
  random_source random(5);
  const auto header = left.substr(0, left.find('\n') + 1);
  for (int i = 0; i < 20; ++i) {
    check_from(left.substr(0, header.size() + random.bits() % (left.size() - header.size())));
  }
  check_from(header);
  // All its records are there, and no result could be put in its place.
  fs::remove(at.path("cut"));
  const auto full = run(at, at.command("cut", {"--json", "/dev/full"}));
  CHECK(full.code == 1);
  CHECK_FALSE(fs::exists(at.path("cut")));
  const std::string all = read(at.path("cut.unfinished"));
  CHECK(lines_of(all).size() == 121);
  check_from(all);

  // Lines that are missing, there twice, exchanged or damaged are done again.
  const auto lines = lines_of(all);
  const auto check_lines = [&](const std::vector<std::string>& changed) {
    std::string content;
    for (const auto& l : changed) content += l + "\n";
    check_from(content);
    CHECK_THAT(read(at.path("stderr")), ContainsSubstring("done again"));
  };
  for (const std::size_t place : {std::size_t{1}, std::size_t{60}, std::size_t{119}}) {
    auto changed = lines;
    changed.erase(changed.begin() + static_cast<std::ptrdiff_t>(place));
    check_lines(changed);
    changed = lines;
    changed.insert(changed.begin() + static_cast<std::ptrdiff_t>(place), lines[place]);
    check_lines(changed);
    changed = lines;
    std::swap(changed[place], changed[place + 1]);
    check_lines(changed);
    changed = lines;
    changed[place][changed[place].find("\"answer\":\"") + 10] ^= 1;
    check_lines(changed);
    changed = lines;
    changed[place].clear();
    check_lines(changed);
  }
  auto twice = lines;
  twice.push_back(lines.back());
  check_lines(twice);

  // What is not its own: refused, and left as it was.
  const auto refused = [&](const std::string& content, const words& how, const std::string& why) {
    fs::remove(at.path("cut"));
    write(at.path("cut.unfinished"), content);
    const auto f = run(at, how);
    CHECK(f.code == 1);
    CHECK_THAT(f.err, ContainsSubstring(why));
    CHECK(read(at.path("cut.unfinished")) == content);
    CHECK_FALSE(fs::exists(at.path("cut")));
  };
  refused(left, at.command("cut", {"--seed", "9"}), "--seed was 0 and is 9");
  refused(left, at.command("cut", {"--seed", "9"}), "--restart");
  refused(left, at.command("cut", {"--tries", "2", "--top-p", "0.5"}),
          "--tries was 3 and is 2; --top-p");
  refused("hello\nyou\n", command, "not this tool's");
  refused("", command, "Move it away");
  refused(header.substr(0, header.size() - 1), command, "Move it away");
  {
    std::string question = read(at.path("questions.jsonl"));
    const std::string other = question + at.lines[0] + "\n";
    write(at.path("questions.jsonl"), other);
    refused(left, command, "the input was");
    write(at.path("questions.jsonl"), question);
  }
  // Somebody else's file is never this tool's to discard, not even one line of it.
  refused("hello\nyou\n", at.command("cut", {"--restart"}), "Move it away");
  refused("hello\n", command, "Move it away");
  refused("hello", command, "Move it away");
  write(at.path("cut.unfinished"), header + "{\"how\":\n");
  CHECK(run(at, at.command("cut", {"--seed", "9", "--restart"})).code == 0);
  fs::remove(at.path("cut"));
  CHECK(run(at, at.command("cut", {"--restart"})).code == 0);
  CHECK(result(at, "cut") == expected);
}

TEST_CASE("rewrite command: two at once do not mix") {
  const workplace at(3000);
  const words command = at.command("twice", {"--parallel", "1"});
  const pid_t first = start(command, at.path("stdout1"), at.path("stderr1"));
  for (int k = 0; k < 20'000 && !fs::exists(at.path("twice.unfinished")); ++k) {
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  const auto second = run(at, command);
  kill(first, SIGTERM);
  const int code = wait_for(first);
  if (code == 0) return;  // it was quicker than this test
  CHECK(second.code == 1);
  CHECK_THAT(second.err, ContainsSubstring("another process"));
  // And an interrupt says once where things stand.
  CHECK(code == 128 + SIGTERM);
  const auto said = lines_of(read(at.path("stderr1")));
  REQUIRE(said.size() == 1);
  const auto kept = lines_of(read(at.path("twice.unfinished"))).size() - 1;
  CHECK(said[0] == "idiolect: error: stopped by a signal; " + std::to_string(kept) +
                       " of 3000 records are finished and kept in " + at.path("twice.unfinished") +
                       "; the same command goes on from there");
}

TEST_CASE("rewrite command: ten thousand damaged lines are each reported") {
  const workplace at(50);
  random_source random(17);
  const auto pick = [&](std::size_t n) { return static_cast<std::size_t>(random.bits() % n); };
  const std::string parts[] = {"{",
                               "}",
                               "[",
                               "]",
                               "\"",
                               ",",
                               ":",
                               "null",
                               "1e999",
                               "\\",
                               "\\u0000",
                               "\xff",
                               "\xc3",
                               "\xed\xa0\x80",
                               "\"question\"",
                               "\"answer\"",
                               "[[[[",
                               "-",
                               "true",
                               "\t",
                               "\x01",
                               "{\"a\":",
                               std::string(300, 'c'),
                               "\r"};
  std::string text;
  std::vector<bool> good;
  for (int i = 0; i < 10'000; ++i) {
    std::string line = at.lines[pick(at.lines.size())];
    for (std::size_t k = 0; k <= pick(3); ++k) {
      const std::size_t where = line.empty() ? 0 : pick(line.size());
      switch (pick(6)) {
        case 0:
          line = line.substr(0, where);
          break;
        case 1:
          line.erase(where, 1 + pick(8));
          break;
        case 2:
          line.insert(where, parts[pick(std::size(parts))]);
          break;
        case 3:
          if (!line.empty()) line[where] = static_cast<char>(pick(256));
          break;
        case 4:
          line.insert(where, line.substr(pick(line.size() + 1)));
          break;
        case 5:
          line = "{\"question\":" + parts[pick(std::size(parts))] + ",\"answer\":\"we 1>2\"}";
          break;
      }
    }
    std::erase(line, '\n');
    text += line + "\n";

    // What a line must have, said independently of the tool.
    if (line.find_first_not_of(" \t\r\f\v") == std::string::npos) continue;  // blank: no record
    const auto j = nlohmann::json::parse(line, nullptr, false);
    const auto usable = [&](const char* name, bool end) {
      if (!j.contains(name) || !j.at(name).is_string()) return false;
      std::string s = j.at(name).get<std::string>();
      if (s.find_first_not_of(" \t\r\n\f\v") == std::string::npos) return false;
      if (end && s.ends_with('$')) s.pop_back();
      if (!end) s.resize(s.find_last_not_of("\r\n") + 1);
      return std::ranges::all_of(s,
                                 [](char c) { return world::token_of(c) != world::unknown_token; });
    };
    const bool fields = j.is_object() && usable("question", false) && usable("answer", true);
    // begin, the question and a line break; for the teacher also H, the hint and a line break
    const bool fits = fields && j.at("question").get<std::string>().size() +
                                        j.at("answer").get<std::string>().size() + 4 <
                                    128;
    good.push_back(fits);
  }
  write(at.path("questions.jsonl"), text);

  const auto skipping = run(at, at.command("x", {"--check", "--on-bad-record", "skip"}));
  CHECK(skipping.code == 0);
  const auto reports = lines_of(skipping.err);
  const auto bad = static_cast<std::size_t>(std::ranges::count(good, false));
  CHECK(bad > 5000);
  CHECK(bad < good.size());
  CHECK(reports.size() == bad);
  for (const auto& line : reports) {
    if (!line.starts_with("idiolect: skipped: " + at.path("questions.jsonl") + ":")) FAIL(line);
  }
  CHECK_THAT(skipping.out,
             ContainsSubstring(std::to_string(good.size() - bad) + " records can be"));

  const auto failing = run(at, at.command("x"));
  CHECK(failing.code == 1);
  CHECK(lines_of(failing.err).size() == bad + 1);
  CHECK_THAT(failing.err, ContainsSubstring(std::to_string(bad) + " records cannot be used"));
  CHECK_FALSE(fs::exists(at.path("x")));
  CHECK_FALSE(fs::exists(at.path("x.unfinished")));

  const auto all = run(at, at.command("x", {"--on-bad-record", "skip", "--tries", "1"}));
  CHECK(all.code == 0);
  CHECK(lines_of(read(at.path("x"))).size() + lines_of(read(at.path("x.rejected"))).size() ==
        good.size() - bad);
}

TEST_CASE("rewrite command: a line that is wrong is named with what is wrong") {
  const workplace at(3);
  const auto complaint = [&](const std::string& line) {
    write(at.path("questions.jsonl"), at.lines[0] + "\n\n" + line + "\n");
    const auto f = run(at, at.command("x", {"--check"}));
    CHECK(f.code == 1);
    CHECK_THAT(f.err, ContainsSubstring("questions.jsonl:3: "));
    return f.err;
  };
  CHECK_THAT(complaint("{\"question\": "), ContainsSubstring("no valid JSON"));
  CHECK_THAT(complaint("[1]"), ContainsSubstring("found array"));
  CHECK_THAT(complaint("{\"question\": \"c1+1\"}"), ContainsSubstring("found no \"answer\""));
  CHECK_THAT(complaint("{\"answer\": \"we\"}"), ContainsSubstring("found no \"question\""));
  CHECK_THAT(complaint("{\"question\": 3, \"answer\": \"we\"}"),
             ContainsSubstring("to be a string"));
  CHECK_THAT(complaint("{\"question\": \" \", \"answer\": \"we\"}"), ContainsSubstring("empty"));
  CHECK_THAT(complaint("{\"question\": \"Zebra\", \"answer\": \"we\"}"), ContainsSubstring("'Z'"));
  const std::string full(130, '1');
  CHECK_THAT(complaint("{\"question\": \"c" + full + "\", \"answer\": \"we\"}"),
             ContainsSubstring("the question has 133 tokens and leaves no room"));
  CHECK_THAT(complaint("{\"question\": \"c1+1\", \"answer\": \"" + full + "\"}"),
             ContainsSubstring("the question with its hint has 138 tokens"));
}

TEST_CASE("rewrite command: options that make no sense") {
  const workplace at(3);
  const auto complaint = [&](const words& more) {
    const auto f = run(at, at.command("x", more));
    CHECK(f.code == 2);
    CHECK_FALSE(fs::exists(at.path("x.unfinished")));
    return f.err;
  };
  CHECK_THAT(complaint({"--prompt-template", "{qestion}"}), ContainsSubstring("--prompt-template"));
  CHECK_THAT(complaint({"--prompt-template", "{question}{hint}"}),
             ContainsSubstring("without {hint}"));
  CHECK_THAT(complaint({"--verifier", "oracle"}), ContainsSubstring("--verifier"));
  CHECK_THAT(complaint({"--verifier", "regex:a(b"}), ContainsSubstring("a(b"));
  CHECK_THAT(complaint({"--verifier", "answer", "--delimiter", ""}),
             ContainsSubstring("--delimiter"));
  CHECK_THAT(complaint({"--tries", "0", "--rollouts", "0"}), ContainsSubstring("nothing to do"));
  CHECK_THAT(complaint({"--tries", "-1"}), ContainsSubstring("--tries"));
  CHECK_THAT(complaint({"--top-p", "0"}), ContainsSubstring("--top-p"));
  CHECK_THAT(complaint({"--beta", "-1"}), ContainsSubstring("--beta"));
  CHECK_THAT(complaint({"--schedule", "constant", "--lambda", "2"}), ContainsSubstring("--lambda"));
  CHECK_THAT(complaint({"--parallel", "0"}), ContainsSubstring("--parallel"));
  CHECK_THAT(complaint({"--hint", "answer", "--delimiter", "", "--verifier", "none"}),
             ContainsSubstring("--hint answer"));

  CHECK_THAT(complaint({"--hint-template", "{question}"}), ContainsSubstring("--hint-template"));
  CHECK_THAT(complaint({"--verifier-arg", "x"}), ContainsSubstring("--verifier-arg"));
  CHECK_THAT(complaint({"--seed", "-1"}), ContainsSubstring("--seed"));
  CHECK_THAT(complaint({"--seed", "18446744073709551616"}),  // 2^64
             ContainsSubstring("0 to 18446744073709551615"));
  CHECK_THAT(complaint({"--seed", "1e3"}), ContainsSubstring("'1e3'"));
  CHECK_THAT(complaint({"--beta", "inf"}), ContainsSubstring("--beta"));
  CHECK_THAT(complaint({"--lambda", "0.3"}), ContainsSubstring("--schedule linear"));
  for (const std::string schedule : {"piecewise", "constant"}) {
    CHECK_THAT(complaint({"--schedule", schedule, "--beta", "1"}),
               ContainsSubstring("--beta has no meaning for --schedule " + schedule));
  }
  CHECK_THAT(complaint({"--verifier", "command:true", "--verifier-parallel", "-1"}),
             ContainsSubstring("--verifier-parallel"));
  CHECK_THAT(complaint({"--verifier-parallel", "2"}), ContainsSubstring("--verifier command"));
  CHECK_THAT(complaint({"--max-lag", "3"}), ContainsSubstring("--defer-student"));
  CHECK_THAT(complaint({"--defer-student", "--max-lag", "0"}), ContainsSubstring("--max-lag"));
  CHECK_THAT(complaint({"--entropy-vocab", "1"}), ContainsSubstring("--entropy-vocab"));
  CHECK_THAT(complaint({"--first-token", "me"}), ContainsSubstring("--first-token"));
  CHECK_THAT(complaint({"--repeat-length", "0"}), ContainsSubstring("--repeat-length"));
  CHECK_THAT(complaint({"--repeat-times", "-1"}), ContainsSubstring("--repeat-times"));
  CHECK_THAT(complaint({"--rollout-top-k", "-1"}), ContainsSubstring("--rollout-top-k"));
  CHECK_THAT(complaint({"--rollout-min-p", "2"}), ContainsSubstring("--rollout-min-p"));
  // A program that cannot be run is found before anything is.
  write(at.path("not_executable"), "exit 0");
  for (const auto& program : words{"/no/such/program", "no-such-program-anywhere",
                                   at.folder.string(), at.path("not_executable")}) {
    CHECK_THAT(complaint({"--verifier", "command:" + program}),
               ContainsSubstring("--verifier command: " + program + " cannot be started"));
  }
}

TEST_CASE("rewrite command: a program as verifier") {
  const workplace at(20);
  const auto judged_by = [&](const std::string& program, const std::string& argument) {
    return run(at, at.command("x", {"--verifier", "command:" + program, "--verifier-arg",
                                    at.path("check.sh"), "--verifier-arg", argument}));
  };
  write(at.path("check.sh"),
        "grep -q '^{\"question\":\"c[0-6].*\"reference\":\"[osw].*\"answer\":\"' || exit 3\n"
        "[ \"$1\" = \"a b;c\" ]");
  auto f = judged_by("sh", "a b;c");
  CHECK(f.err == "");
  CHECK(f.code == 0);
  CHECK(lines_of(read(at.path("x"))).size() >= 10);  // all that ended by themselves

  // However many programs run at once, and whether or not the model waits for them.
  const auto some = [&](const std::string& parallel) {
    write(at.path("some.sh"), "grep -q 'answer\":\"[a-m0-9]'");
    const auto g = run(at, at.command("y", {"--verifier", "command:sh", "--verifier-arg",
                                            at.path("some.sh"), "--verifier-parallel", parallel}));
    CHECK(g.err == "");
    CHECK(g.code == 0);
    check_complete(at, "y", 20);
    return result(at, "y");
  };
  const std::string waiting = some("0");
  CHECK(some("1") == waiting);
  CHECK(some("16") == waiting);

  f = judged_by("sh", "something else");
  CHECK(f.code == 0);  // the rejected ones are a result
  CHECK(read(at.path("x")).empty());

  write(at.path("check.sh"), "exit 7");
  f = judged_by("sh", "");  // nothing was finished: another command may begin anew
  CHECK(f.code == 1);
  CHECK_THAT(f.err, ContainsSubstring("exited with 7"));
}

#endif
