// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The tool as a process: what it inherits does not change what it does, a signal ends it within a
// second wherever it is, and nothing that it started stays behind.

#include <sstream>

#include "examples/tool_support.hpp"

namespace {

using namespace tool_test;
using Catch::Matchers::ContainsSubstring;
using steady = std::chrono::steady_clock;

/// A rewrite whose verifier says which processes it is made of, and waits.
struct waiting_rewrite {
  scratch folder;
  arguments command;

  waiting_rewrite() {
    const auto model = tiny_model(folder);
    std::string lines;
    for (int i = 0; i < 6; ++i) lines += "{\"question\":\"a\",\"answer\":\"b\"}\n";
    judge("echo $$ >>" + (folder / "pids") + "\nsleep 60 &\necho $! >>" + (folder / "pids") +
          "\nwait\n");
    command = arguments{"rewrite",
                        "--in",
                        folder.write("qa.jsonl", lines),
                        "--out",
                        folder / "out.jsonl",
                        "--tries",
                        "0",
                        "--accept-cut",
                        "--max-tokens",
                        "3",
                        "--verifier",
                        "command:" + (folder / "judge.sh"),
                        "--verifier-timeout",
                        "60",
                        "--threads",
                        "1"} +
              model;
  }

  void judge(const std::string& script) const {
    static_cast<void>(folder.write("judge.sh", "#!/bin/sh\n" + script));
    fs::permissions(folder / "judge.sh", fs::perms::owner_all);
  }

  [[nodiscard]] std::vector<pid_t> processes() const {
    std::istringstream in(read_all(folder / "pids"));
    std::vector<pid_t> all;
    for (pid_t p = 0; in >> p;) all.push_back(p);
    return all;
  }

  void wait_until_it_waits() const {
    for (int i = 0; i < 3000 && processes().size() < 2; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    REQUIRE(processes().size() >= 2);
  }
};

/// Whether a process runs; one that has ended and is not yet waited for does not.
bool runs(pid_t p) {
  const std::string stat = read_all("/proc/" + std::to_string(p) + "/stat");
  const auto name_ends = stat.rfind(')');
  return name_ends != std::string::npos && stat.substr(name_ends + 1, 2) != " Z";
}

TEST_CASE("tool: a signal during a verifier ends it and what it started") {
  if (tool_is_missing()) return;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) {
    for (const bool twice : {false, true}) {
      CAPTURE(signal, twice);
      const waiting_rewrite at;
      const scratch output;
      const pid_t child = start(output, at.command);
      at.wait_until_it_waits();
      const auto begin = steady::now();
      kill(child, signal);
      if (twice) kill(child, signal);
      CHECK(wait_for(child) == 128 + signal);
      CHECK(steady::now() - begin < std::chrono::seconds(3));  // 1, and a busy machine
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      for (const pid_t p : at.processes()) CHECK_FALSE(runs(p));
      CHECK_THAT(read_all(output / "stderr"), ContainsSubstring("goes on from there"));
      CHECK_FALSE(fs::exists(at.folder / "out.jsonl"));

      // What it left is what the same command goes on from.
      at.judge("exit 0\n");
      const auto o = run(at.command);
      INFO(o.err);
      CHECK(o.code == 0);
      CHECK(at.folder.read_lines("out.jsonl").size() == 6);
    }
  }
}

TEST_CASE("tool: a signal in the middle of a long computation") {
  if (tool_is_missing()) return;
  const scratch folder;
  const auto model = tiny_model(folder);
  std::string lines;
  for (int i = 0; i < 200; ++i) lines += "{\"text\":\"abcdef\"}\n";
  const auto in = folder.write("in.jsonl", lines);
  const scratch output;
  const pid_t child =
      start(output, arguments{"score", "--in", in, "--against", in, "--bootstrap", "1000000",
                              "--threads", "1", "--json", folder / "o.json"} +
                        model);
  std::this_thread::sleep_for(std::chrono::milliseconds(1500));
  const auto begin = steady::now();
  kill(child, SIGINT);
  CHECK(wait_for(child) == 128 + SIGINT);
  CHECK(steady::now() - begin < std::chrono::seconds(3));
  CHECK_FALSE(fs::exists(folder / "o.json"));
  CHECK(folder.files() == 3);
}

TEST_CASE("tool: signals that the parent ignores or holds back") {
  if (tool_is_missing()) return;
  const waiting_rewrite at;
  const auto inherit = [] {
    std::signal(SIGCHLD, SIG_IGN);
    std::signal(SIGXFSZ, SIG_DFL);
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, nullptr);
  };
  // It ends by a signal that it was not meant to see, and so does its verifier.
  {
    const scratch output;
    const pid_t child = start(output, at.command, IDIOLECT_TEST_TOOL, inherit);
    at.wait_until_it_waits();
    kill(child, SIGTERM);
    CHECK(wait_for(child) == 128 + SIGTERM);
    for (const pid_t p : at.processes()) CHECK_FALSE(runs(p));
  }
  // Its verifier's exit code is known, and no signal is held back there either.
  at.judge("kill -TERM $$\nexit 1\n");
  {
    const scratch output;
    const int code = wait_for(start(output, at.command, IDIOLECT_TEST_TOOL, inherit));
    CHECK(code == 1);
    CHECK_THAT(read_all(output / "stderr"), ContainsSubstring("was ended by signal 15"));
  }
  at.judge("exit 0\n");
  const scratch output;
  CHECK(wait_for(start(output, at.command, IDIOLECT_TEST_TOOL, inherit)) == 0);
  CHECK(at.folder.read_lines("out.jsonl").size() == 6);
}

TEST_CASE("tool: a verifier that leaves something running") {
  if (tool_is_missing()) return;
  const waiting_rewrite at;
  at.judge("sleep 60 &\necho $! >>" + (at.folder / "pids") + "\nexit 0\n");
  CHECK(run_well(at.command).code == 0);
  const auto left = at.processes();
  CHECK(left.size() == 6);
  for (const pid_t p : left) CHECK_FALSE(runs(p));
}

}  // namespace
