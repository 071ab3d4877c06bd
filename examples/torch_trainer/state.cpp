// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// A trainer's state in a file.

#include <charconv>
#include <nlohmann/json.hpp>

#include "tool/errors.hpp"
#include "torch_trainer/safetensors.hpp"
#include "torch_trainer/trainer.hpp"
#include "torch_trainer/weights.hpp"

namespace torch_trainer {

namespace {

using nlohmann::ordered_json;

constexpr const char* format = "idiolect torch_trainer state 1";

}  // namespace

void trainer::save(const std::filesystem::path& path, double seconds) const {
  const at::NoGradGuard no_grad;
  std::vector<array_info> arrays;
  std::vector<at::Tensor> values;
  const auto add = [&](const std::string& name, const at::Tensor& t) {
    if (!t.defined()) return;
    arrays.push_back(
        {.name = name, .type = dtype::f32, .shape = t.sizes().vec(), .begin = 0, .end = 0});
    values.push_back(t);
  };
  for (std::size_t i = 0; i < first_.size(); ++i) {
    const std::string& name = model_.infos()[i].name;
    add(name, model_.parameters()[i]);
    add("first." + name, first_[i]);
    add("second." + name, second_[i]);
  }
  safetensors_writer file(path, std::move(arrays),
                          {{"format", format},
                           {"step", std::to_string(steps_)},
                           {"elapsed", ordered_json(seconds).dump()},
                           {"settings", settings_json(how_, model_.config(), texts_, end_)}});
  for (const at::Tensor& t : values) append_array(file, t, dtype::f32);
  file.commit();
}

double trainer::resume(const std::filesystem::path& path) {
  const at::NoGradGuard no_grad;
  safetensors_reader file(path);
  const auto field = [&](const char* name) {
    const auto found = file.metadata().find(name);
    return found == file.metadata().end() ? std::string() : found->second;
  };
  if (field("format") != format) {
    tool::fail(path.string(), "expected a trainer's state, found another safetensors file");
  }
  const auto now = ordered_json::parse(settings_json(how_, model_.config(), texts_, end_));
  const auto then = ordered_json::parse(field("settings"), nullptr, /*allow_exceptions=*/false);
  if (!then.is_object()) tool::fail(path.string(), "its settings cannot be read");
  for (const auto& [name, value] : now.items()) {
    const ordered_json before = then.contains(name) ? then.at(name) : ordered_json();
    tool::require_usage(before == value, "--resume: \"" + name + "\" was " + before.dump() +
                                             " and is " + value.dump() +
                                             "; a run goes on with the settings it began with");
  }
  const std::string step = field("step");
  index_t steps = 0;
  const auto read = std::from_chars(step.data(), step.data() + step.size(), steps);
  const auto seconds = ordered_json::parse(field("elapsed"), nullptr, false);
  if (read.ec != std::errc() || read.ptr != step.data() + step.size() || steps < 0 ||
      !seconds.is_number()) {
    tool::fail(path.string(), "its step or its time cannot be read");
  }
  for (std::size_t i = 0; i < first_.size(); ++i) {
    const std::string& name = model_.infos()[i].name;
    read_array(file, name, model_.parameters()[i], path.string());
    if (!first_[i].defined()) continue;
    read_array(file, "first." + name, first_[i], path.string());
    read_array(file, "second." + name, second_[i], path.string());
  }
  steps_ = steps;
  return seconds.get<double>();
}

}  // namespace torch_trainer
