// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "study/store.hpp"

#include <unistd.h>

#include <fstream>
#include <stdexcept>
#include <utility>

#include "tiny_llama/file.hpp"

namespace study {

namespace {

/// Counts what this program's results depend on beside the settings: raised when a recipe changes,
/// so that stages of an older one are not taken for its own.
constexpr int recipe_revision = 1;

}  // namespace

store::store(std::filesystem::path folder, const settings& how) : folder_(std::move(folder)) {
  std::filesystem::create_directories(folder_);
  json wanted = how.to_json();
  wanted["recipe"] = recipe_revision;
  if (has("settings")) {
    if (read("settings") != wanted) {
      throw std::runtime_error(folder_.string() +
                               " holds the stages of a study with other settings: name another "
                               "folder with --out, or begin anew with --restart");
    }
  } else {
    write("settings", wanted);
  }
}

std::filesystem::path store::file(const std::string& name) const {
  auto path = folder_ / name;
  std::filesystem::create_directories(path.parent_path());
  return path;
}

bool store::has(const std::string& stage) const {
  return std::filesystem::exists(folder_ / (stage + ".json"));
}

json store::read(const std::string& stage) const {
  const auto path = folder_ / (stage + ".json");
  std::ifstream in(path);
  if (!in) throw std::runtime_error(path.string() + " is missing");
  return json::parse(in);
}

void store::write(const std::string& stage, const json& result) const {
  tiny_llama::file_writer out(file(stage + ".json"));
  out.text(result.dump() + "\n");
  out.commit();
}

void run_stages(const std::string& phase, const std::vector<stage>& stages, const store& results,
                const idiolect::thread_executor& workers) {
  std::vector<const stage*> missing;
  for (const auto& s : stages) {
    if (!results.has(s.name)) missing.push_back(&s);
  }
  const bool terminal = isatty(STDERR_FILENO) != 0;
  const stopwatch all;
  std::mutex printing;
  std::size_t done = 0;
  const auto show = [&](const std::string& name) {
    if (terminal) {
      std::fprintf(stderr, "\r\033[K%s: %zu of %zu, %.0f s   %s", phase.c_str(), done,
                   missing.size(), all.seconds(), name.c_str());
    }
  };
  workers.bulk(static_cast<index_t>(missing.size()), [&](index_t i) {
    const stage& s = *missing[static_cast<std::size_t>(i)];
    const stopwatch one;
    json result = s.compute();
    result["seconds"] = one.seconds();
    results.write(s.name, result);
    const std::scoped_lock lock(printing);
    ++done;
    show(s.name);
  });
  std::fprintf(stderr, "%s%s: %zu stages", terminal ? "\r\033[K" : "", phase.c_str(),
               stages.size());
  if (missing.size() < stages.size()) {
    std::fprintf(stderr, ", %zu of them done before", stages.size() - missing.size());
  }
  std::fprintf(stderr, ", %.1f s\n", all.seconds());
}

}  // namespace study
