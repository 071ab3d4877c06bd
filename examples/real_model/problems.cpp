// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "real_model/problems.hpp"

#include <vector>

#include "tool/errors.hpp"
#include "tool/files.hpp"
#include "tool/input.hpp"
#include "tool/json_lines.hpp"
#include "tool/text.hpp"

namespace real_model {

namespace fs = std::filesystem;

namespace {

struct problem {
  std::string question;
  std::string answer;
};

std::vector<problem> read_problems(const std::string& path, bool answered) {
  const std::string example = R"({"question": "...", "answer": "... #### 7"})";
  std::vector<problem> all;
  tool::line_source lines(path, "problems as JSON Lines");
  tool::for_each_record(lines, path, [&](std::string_view text, const std::string& where) {
    const auto object = tool::parse_object(text, where, example);
    const auto field = [&](const char* name) {
      if (!object.contains(name)) {
        tool::fail(where, "expected an object such as " + example + ", found no \"" + name + "\"");
      }
      const std::string& value = tool::text_field(object, name, where);
      if (tool::stripped(value).empty()) tool::fail(where, std::string(name) + " is empty");
      return value;
    };
    all.push_back({field("question"), answered ? field("answer") : ""});
  });
  return all;
}

/// Puts a file of the folder in its place, whole.
void write(const fs::path& path, const std::string& content) {
  auto file = tool::file_plan({}).output("--out", path.string());
  file.add(content);
  file.commit();
}

}  // namespace

sizes sizes::quick() {
  sizes s;
  s.trained_on = 24;
  s.held_out = 12;
  s.cool = 12;
  s.hinted = 4;
  s.asked = 3;
  s.other_prompts = 4;
  s.max_tokens = 48;
  s.seconds = 10;
  return s;
}

json sizes::to_json() const {
  return {{"trained_on", trained_on}, {"held_out", held_out}, {"cool", cool},
          {"hinted", hinted},         {"asked", asked},       {"other_prompts", other_prompts},
          {"max_tokens", max_tokens}, {"seconds", seconds}};
}

void deal_problems(const fs::path& dir, const choices& what, const sizes& how) {
  const std::string texts = IDIOLECT_REAL_MODEL_TEXTS;
  const std::string source = what.gsm8k.empty() ? texts + "/problems.jsonl" : what.gsm8k;
  const auto problems = read_problems(source, true);
  const auto others = read_problems(texts + "/other_prompts.jsonl", false);
  const std::size_t wanted = how.trained_on + how.held_out;
  if (problems.size() < wanted) {
    tool::fail(source, "expected at least " + std::to_string(wanted) + " problems, found " +
                           std::to_string(problems.size()));
  }
  json settings = how.to_json();
  settings["problems"] = what.gsm8k.empty() ? "the project's own" : what.gsm8k;
  settings["model"] = what.model;
  if (what.steps > 0) settings["steps"] = what.steps;
  const std::string description = settings.dump(1) + "\n";
  const fs::path settings_file = dir / "settings.json";
  if (fs::exists(settings_file) &&
      tool::read_file(settings_file.string(), "settings") != description) {
    tool::fail(dir.string(),
               "holds a run with other settings; name another folder with --out, or "
               "begin anew with --restart");
  }

  const auto begin = problems.begin();
  const auto count = [](std::size_t n) { return static_cast<std::ptrdiff_t>(n); };
  const std::vector<problem> train(begin, begin + count(how.trained_on));
  const std::vector<problem> held_out(begin + count(how.trained_on), begin + count(wanted));
  const auto lines = [](const std::vector<problem>& list, std::size_t n) {
    std::string content;
    for (const auto& [question, answer] : std::span(list).first(std::min(n, list.size()))) {
      json line{{"question", question}};
      if (!answer.empty()) line["answer"] = answer;
      content += line.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
    }
    return content;
  };
  std::vector<problem> swapped = held_out;
  for (std::size_t i = 0; i < swapped.size(); ++i) {
    swapped[i].answer = held_out[(i + 1) % held_out.size()].answer;
  }
  const fs::path data = dir / "data";
  std::error_code failure;
  fs::create_directories(data, failure);
  if (failure) tool::fail(data.string(), "cannot be made a folder: " + failure.message());
  write(data / "train.jsonl", lines(train, how.trained_on));
  write(data / "held_out.jsonl", lines(held_out, how.held_out));
  write(data / "cool.jsonl", lines(held_out, how.cool));
  write(data / "hinted.jsonl", lines(held_out, how.hinted));
  write(data / "asked.jsonl", lines(held_out, how.asked));
  write(data / "swapped.jsonl", lines(swapped, how.held_out));
  write(data / "other_prompts.jsonl", lines(others, how.other_prompts));
  write(settings_file, description);
}

}  // namespace real_model
