// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Where the tool writes: never over what it reads, always the whole file or none, whatever the name
// leads to and whatever the disk says.

#include <sys/stat.h>

#include "examples/tool_support.hpp"

namespace {

using namespace tool_test;
using Catch::Matchers::ContainsSubstring;

/// The model's options, in the script's folder.
constexpr const char* model = " --model model.bin --tokenizer tokenizer.bin --threads 1 ";

mode_t mode_of(const std::string& path) {
  struct stat s {};
  REQUIRE(stat(path.c_str(), &s) == 0);
  return s.st_mode & 07777;
}

TEST_CASE("tool: no output over what a run reads, by any name") {
  if (tool_is_missing()) return;
  const scratch folder;
  tiny_model(folder);
  const auto in = folder.write("in.jsonl", "{\"text\":\"abc\"}\n");
  static_cast<void>(folder.write("qa.jsonl", "{\"question\":\"a\",\"answer\":\"b\"}\n"));
  static_cast<void>(folder.write("judge.sh", "#!/bin/sh\nexit 0\n"));
  fs::permissions(folder / "judge.sh", fs::perms::owner_all);
  fs::create_hard_link(in, folder / "hard");
  fs::create_symlink("in.jsonl", folder / "soft");
  fs::create_symlink("new.json", folder / "to_new");
  fs::create_symlink("round", folder / "round");
  const std::string score = std::string("\"$0\" score") + model;
  const std::string before = read_all(folder / "model.bin");
  const auto refused = [&](const std::string& command) {
    INFO(command);
    const auto o = shell(folder, command);
    CHECK(o.code == 2);
    CHECK_THAT(o.err, ContainsSubstring("would replace the file of"));
  };
  for (const std::string name : {"in.jsonl", "hard", "soft", "./in.jsonl", "model.bin"}) {
    refused(score + "--in in.jsonl --json " + name);
  }
  refused(score + "--in - --format jsonl --json in.jsonl <in.jsonl");
  refused(score + "--in in.jsonl --json o.json >o.json");
  refused(score + "--in in.jsonl --json to_new --per-token new.json");
  refused(std::string("\"$0\" rewrite") + model +
          "--in qa.jsonl --out judge.sh --verifier command:./judge.sh");
  refused(std::string("\"$0\" rewrite") + model +
          "--in qa.jsonl --out judge.sh --verifier command:sh --verifier-arg judge.sh");
  CHECK(read_all(in) == "{\"text\":\"abc\"}\n");
  CHECK(read_all(folder / "model.bin") == before);
  CHECK(read_all(folder / "judge.sh") == "#!/bin/sh\nexit 0\n");
  const auto circle = shell(folder, score + "--in in.jsonl --json round");
  CHECK(circle.code == 1);
}

TEST_CASE("tool: a link's target is replaced and keeps its permissions") {
  if (tool_is_missing()) return;
  const scratch folder;
  tiny_model(folder);
  static_cast<void>(folder.write("in.jsonl", "{\"text\":\"abc\"}\n"));
  static_cast<void>(folder.write("old", "old"));
  fs::permissions(folder / "old", fs::perms(0640));
  fs::create_symlink("old", folder / "link");
  fs::create_symlink("fresh", folder / "to_fresh");
  const std::string score = std::string("\"$0\" score --in in.jsonl") + model;
  REQUIRE(shell(folder, score + "--json link --per-token to_fresh >/dev/null").code == 0);
  CHECK(fs::is_symlink(folder / "link"));
  CHECK(folder.read_json("old").contains("mean_phi"));
  CHECK(mode_of(folder / "old") == 0640);
  CHECK(fs::is_symlink(folder / "to_fresh"));
  CHECK(fs::is_regular_file(folder / "fresh"));
  // A new file has the permissions of any other.
  REQUIRE(shell(folder, "umask 027; " + score + "--json plain >/dev/null").code == 0);
  CHECK(mode_of(folder / "plain") == 0640);

  // Names of the process's own descriptors are not replaced.
  REQUIRE(shell(folder, score + "--json /dev/stdout >shell.json").code == 0);
  CHECK(folder.read_json("shell.json").contains("mean_phi"));
  REQUIRE(shell(folder, score + "--json /dev/fd/7 7>seven.json >/dev/null").code == 0);
  CHECK(folder.read_json("seven.json").contains("mean_phi"));
  CHECK(shell(folder, score + "--json - | cat >piped.json").code == 0);
  CHECK(folder.read_json("piped.json").contains("mean_phi"));
}

TEST_CASE("tool: a disk that is full leaves every old file") {
  if (tool_is_missing()) return;
  const scratch folder;
  tiny_model(folder);
  static_cast<void>(folder.write("in.jsonl", "{\"text\":\"abc\"}\n"));
  static_cast<void>(folder.write("old", "old"));
  const std::string quiet = " >/dev/null";
  const auto files = folder.files();
  const auto fails = [&](const std::string& command, const std::string& why) {
    INFO(command);
    const auto o = shell(folder, command);
    CHECK(o.code == 1);
    CHECK_THAT(o.err, ContainsSubstring(why));
    CHECK(read_all(folder / "old") == "old");
    CHECK(folder.files() == files);
  };
  const std::string score = std::string("\"$0\" score --in in.jsonl") + model;
  const std::string tune = std::string("\"$0\" finetune --in in.jsonl --steps 1") + model;
  // The last of several results counts for all of them.
  if (fs::exists("/dev/full")) {
    fails(score + "--per-token old --json /dev/full", "No space left");
    fails(tune + "--out old --json /dev/full", "No space left");
    fails(score + ">/dev/full", "could not be written");
  }
  fails("ulimit -f 1; exec " + tune + "--out old" + quiet, "File too large");
}

TEST_CASE("tool: descriptors that are closed take no file's place") {
  if (tool_is_missing()) return;
  const scratch folder;
  tiny_model(folder);
  static_cast<void>(folder.write("in.jsonl", "{\"text\":\"abc\"}\n"));
  const std::string score = std::string("\"$0\" score --in in.jsonl") + model;
  const auto no_output = shell(folder, score + "--json a.json >&-");
  CHECK(no_output.code == 1);
  CHECK_THAT(no_output.err, ContainsSubstring("standard output could not be written"));
  CHECK(folder.read_json("a.json").contains("mean_phi"));  // and nothing else in it
  CHECK(shell(folder, score + "--json b.json 2>&- >/dev/null").code == 0);
  CHECK(folder.read_json("b.json").contains("mean_phi"));
  CHECK(shell(folder, score + "--json c.json <&- >/dev/null").code == 0);
  const auto no_input = shell(folder, std::string("\"$0\" score --in -") + model + "<&-");
  CHECK(no_input.code == 1);
  CHECK_THAT(no_input.err, ContainsSubstring("standard input"));
  // A reader that went away is no error worth a word.
  const auto gone = shell(folder, "{ sleep 0.3; " + score + "; echo $? >code; } | true; cat code");
  CHECK(gone.out == "141\n");
  CHECK(gone.err.empty());
}

}  // namespace
