// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

/// \file
/// The command-line tool as a process, and what its tests feed it.
#pragma once

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "tiny_llama/checkpoint.hpp"
#include "tiny_llama/tokenizer.hpp"
#include "tiny_llama/weights.hpp"

namespace tool_test {

namespace fs = std::filesystem;
using nlohmann::json;

inline std::string read_all(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

inline void write_all(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

/// A folder of its own that goes away with the test.
class scratch {
 public:
  scratch() {
    std::string name = (fs::temp_directory_path() / "idiolect_tool_XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = name;
  }
  scratch(const scratch&) = delete;
  scratch& operator=(const scratch&) = delete;
  ~scratch() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }

  /// The path of a file in it, for a command line.
  [[nodiscard]] std::string operator/(const std::string& name) const {
    return (path_ / name).string();
  }
  [[nodiscard]] std::string write(const std::string& name, const std::string& bytes) const {
    write_all(path_ / name, bytes);
    return *this / name;
  }
  [[nodiscard]] json read_json(const std::string& name) const {
    return json::parse(read_all(path_ / name));
  }
  [[nodiscard]] std::vector<json> read_lines(const std::string& name) const {
    std::vector<json> lines;
    std::ifstream in(path_ / name);
    for (std::string line; std::getline(in, line);) lines.push_back(json::parse(line));
    return lines;
  }
  [[nodiscard]] std::ptrdiff_t files() const {
    return std::distance(fs::directory_iterator(path_), {});
  }

 private:
  fs::path path_;
};

struct outcome {
  int code = -1;  ///< exit code, or 128 + signal
  std::string out;
  std::string err;
};

using arguments = std::vector<std::string>;

inline arguments operator+(arguments a, const arguments& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

#if !defined(IDIOLECT_TEST_TOOL)
#define IDIOLECT_TEST_TOOL ""
#endif

/// Starts the tool, or another program, with its output going to files of a folder. `prepare` runs
/// in the new process first.
inline pid_t start(const scratch& folder, const arguments& args,
                   const std::string& program = IDIOLECT_TEST_TOOL, void (*prepare)() = nullptr) {
  std::vector<std::string> words = {program};
  words.insert(words.end(), args.begin(), args.end());
  std::vector<char*> argv;
  for (auto& w : words) argv.push_back(w.data());
  argv.push_back(nullptr);
  const std::string out = folder / "stdout";
  const std::string err = folder / "stderr";
  const pid_t child = fork();
  if (child == 0) {
    const int o = open(out.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600);
    const int e = open(err.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600);
    dup2(o, STDOUT_FILENO);
    dup2(e, STDERR_FILENO);
    if (prepare != nullptr) prepare();
    execv(argv[0], argv.data());
    _exit(127);
  }
  return child;
}

inline int wait_for(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

inline outcome run(const arguments& args) {
  const scratch folder;
  outcome o;
  o.code = wait_for(start(folder, args));
  o.out = read_all(folder / "stdout");
  o.err = read_all(folder / "stderr");
  return o;
}

/// A script that runs in a folder, in which `$0` is the tool.
inline outcome shell(const scratch& folder, const std::string& script) {
  const scratch output;
  outcome o;
  o.code = wait_for(start(
      output, {"-c", "cd '" + (folder / "") + "' && " + script, IDIOLECT_TEST_TOOL}, "/bin/sh"));
  o.out = read_all(output / "stdout");
  o.err = read_all(output / "stderr");
  return o;
}

/// The same, and it has to end well.
inline outcome run_well(const arguments& args) {
  outcome o = run(args);
  INFO(o.err);
  REQUIRE(o.code == 0);
  return o;
}

/// Says that the test cannot run where the tool is not built.
inline bool tool_is_missing() {
  if (!std::string(IDIOLECT_TEST_TOOL).empty()) return false;
  idiolect::test::skip("the tool is not built (IDIOLECT_BUILD_EXAMPLES)");
  return true;
}

inline constexpr const char* alphabet = "abcdefghijklmnopqrstuvwxyz .\n";

/// A random model over characters, sharp enough to have something to say.
inline arguments tiny_model(const scratch& folder) {
  const auto tokenizer = tiny_llama::character_tokenizer(alphabet);
  const tiny_llama::config shape{.dim = 16,
                                 .hidden_dim = 24,
                                 .layers = 2,
                                 .heads = 2,
                                 .kv_heads = 1,
                                 .vocab_size = tokenizer.vocab_size(),
                                 .context_size = 32};
  const auto weights =
      tiny_llama::random_weights<float>(shape, 7, {.embedding_deviation = 0.5, .gain = 1.0});
  tiny_llama::write_checkpoint(weights, folder / "model.bin");
  tiny_llama::write_tokenizer(tokenizer, folder / "tokenizer.bin");
  return {"--model", folder / "model.bin", "--tokenizer", folder / "tokenizer.bin"};
}

/// A file of the real model's data; empty, after saying so, where there is none.
inline std::string real_data(const std::string& name) {
#if defined(IDIOLECT_TEST_DATA_DIR)
  const std::string folder = IDIOLECT_TEST_DATA_DIR;
#else
  const std::string folder;
#endif
  if (!folder.empty() && fs::exists(fs::path(folder) / name)) return folder + "/" + name;
  idiolect::test::skip("no " + name + "; set IDIOLECT_DATA_DIR to a folder with stories260K.bin");
  return {};
}

/// Its model, if there is one.
inline arguments real_model() {
  const std::string model = real_data("model/stories260K.bin");
  if (model.empty()) return {};
  return {"--model", model, "--tokenizer", real_data("model/tok512.bin")};
}

}  // namespace tool_test
