// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Pictures of what was decoded with a hint, and of training.

#include <algorithm>
#include <array>
#include <cmath>

#include "real_model/findings.hpp"
#include "real_model/pictures.hpp"
#include "study/voices.hpp"

namespace real_model {

using study::decimal;
using study::scale;
using study::svg;

namespace {

/// Round numbers from `low` to `high`, a handful.
std::vector<double> round_ticks(double low, double high) {
  const double power = std::pow(10.0, std::floor(std::log10((high - low) / 3)));
  const double rough = (high - low) / 3 / power;
  const double step = power * (rough < 2 ? 1 : rough < 5 ? 2 : 5);
  std::vector<double> all;
  for (double t = std::ceil(low / step) * step; t <= high + 1e-9; t += step) all.push_back(t);
  return all;
}

constexpr std::array<std::pair<const char*, const char*>, 3> model_colours{
    {{"untouched", "plain"}, {"sft", "foreign"}, {"idft", "own"}}};

std::string said(const rewritten& r) {
  return r.how == "rollout"  ? "alone: accepted"
         : r.how == "hinted" ? "with hint: accepted"
                             : "rejected";
}

}  // namespace

std::string stripes_picture(const std::vector<rewritten>& records) {
  constexpr double left = 118, right = 392, row = 17;
  std::size_t longest = 1;
  for (const auto& r : records) longest = std::max(longest, r.lambda.size());
  const double wide = std::min(6.0, (right - left) / static_cast<double>(longest));
  svg s(row * static_cast<double>(records.size()) + 6, "Who led each token of each text");
  double y = 4;
  for (const auto& r : records) {
    s.text(left - 6, y + 10, said(r), "end", "label");
    // A run of tokens with one leader is one rectangle.
    for (std::size_t i = 0; i < r.lambda.size();) {
      std::size_t end = i + 1;
      const std::string who = study::leader(r.lambda[i]);
      while (end < r.lambda.size() && who == study::leader(r.lambda[end])) ++end;
      s.rect(left + wide * static_cast<double>(i), y, wide * static_cast<double>(end - i), row - 4,
             "led-" + who);
      i = end;
    }
    y += row;
  }
  return s.str();
}

const rewritten* record_to_show(const std::vector<rewritten>& records) {
  const rewritten* best = nullptr;
  double most = -1;
  for (const auto& r : records) {
    if (r.how == "rollout" || r.tokens.empty()) continue;
    // Both voices, and both a good part of it.
    double student = 0;
    for (const double lambda : r.lambda) student += std::string(study::leader(lambda)) != "teacher";
    const double share = student / static_cast<double>(r.lambda.size());
    const double worth = share * (1 - share) + (r.how == "hinted" ? 1 : 0);
    if (worth > most) best = &r;
    most = std::max(most, worth);
  }
  return best;
}

std::string led_text(const rewritten& record) {
  std::string html;
  const auto line = [&](const char* what, const std::string& text) {
    html += std::string("<div><b>") + what + "</b> " + text + "</div>";
  };
  line("problem", study::escaped(record.question));
  line("reference", study::escaped(record.reference));
  std::string tokens;
  for (std::size_t i = 0; i < record.tokens.size(); ++i) {
    const auto& t = record.tokens[i];
    tokens += study::led_token(t.piece, record.lambda[i], t.score.log_prob);
  }
  line("written", tokens);
  return "<div class=\"led\">" + html +
         "<div class=\"key\"><span class=\"teacher\">the teacher leads</span> (lambda below 0.15) "
         "<span class=\"shared\">shared</span> <span class=\"student\">the student leads</span> "
         "(lambda 0.5 and more). Point at a token for its lambda and its log p without the "
         "hint.</div></div>";
}

std::string training_picture(const results& r) {
  double longest = 0, highest = 0.1;
  for (const auto& [name, t] : r.trainings) {
    for (const auto& s : t.steps) {
      longest = std::max(longest, s.seconds);
      highest = std::max(highest, s.nll);
    }
  }
  if (longest <= 0) return {};
  constexpr double left = 38, right = 388, top = 12, bottom = 200;
  svg s(240, "NLL of the training batches over time");
  const scale x{0, longest, left, right};
  const scale y{0, 1.05 * highest, bottom, top};
  s.y_axis(y, left, right, round_ticks(0, 1.05 * highest), 1);
  double at = bottom - 26;
  for (const auto& [model, colour] : model_colours) {
    const auto found = r.trainings.find(model);
    if (found == r.trainings.end()) continue;
    std::vector<std::pair<double, double>> points;
    for (const auto& step : found->second.steps) points.emplace_back(x(step.seconds), y(step.nll));
    s.polyline(points, std::string("thick line-") + colour);
    s.line(left + 12, at - 4, left + 30, at - 4, std::string("thick line-") + colour);
    s.text(left + 36, at, title_of(model) + ", " + std::to_string(points.size()) + " steps");
    at += 16;
  }
  s.x_axis(x, top, bottom, round_ticks(0, longest), 0,
           "seconds of training (up: NLL, nats a token)");
  return s.str();
}

std::string forgetting_picture(const results& r) {
  struct group {
    const char* key;
    const char* title;
  };
  constexpr std::array groups{group{"reference", "held-out references: falls, so it has learned"},
                              group{"own", "its own answers to problems: rises, so it forgets"},
                              group{"other", "its own answers to other prompts: likewise"}};
  struct bar {
    std::string title, colour, from_to;
    measured rise;
  };
  std::vector<std::pair<std::string, std::vector<bar>>> shown;
  double low = 0, high = 0.1;
  for (const auto& [key, title] : groups) {
    std::vector<bar> bars;
    for (const auto& [model, colour] : model_colours) {
      const corpus* before = r.find("untouched", key);
      const corpus* after = r.find(model, key);
      if (before == nullptr || after == nullptr || before == after) continue;
      bars.push_back(
          {title_of(model), colour,
           decimal(before->all.mean_nll(), 3) + " \u2192 " + decimal(after->all.mean_nll(), 3),
           nll_rise(*before, *after)});
      low = std::min(low, bars.back().rise.low);
      high = std::max(high, bars.back().rise.high);
    }
    if (!bars.empty()) shown.emplace_back(title, std::move(bars));
  }
  if (shown.empty()) return {};
  constexpr double left = 40, right = 300, height = 17;
  double bottom = 0;
  for (const auto& [title, bars] : shown) bottom += 36 + height * static_cast<double>(bars.size());
  svg s(bottom + 40, "How far training moved the NLL of three kinds of text");
  const scale x{low, high, left, right};
  s.x_axis(x, 6, bottom, round_ticks(low, high), high - low < 0.6 ? 2 : 1,
           "change of the NLL, nats a token");
  s.line(x(0), 6, x(0), bottom, "rule");
  double y = 16;
  for (const auto& [title, bars] : shown) {
    s.text(4, y, title, "start", "strong");
    y += 8;
    for (const bar& b : bars) {
      const double at = x(b.rise.value);
      s.text(left - 6, y + 11, b.title, "end", "label");
      s.rect(std::min(at, x(0)), y, std::fabs(at - x(0)), height - 3, "fill-" + b.colour,
             with_interval(b.rise, 3));
      s.line(x(b.rise.low), y + height / 2 - 1.5, x(b.rise.high), y + height / 2 - 1.5, "whisker");
      s.text(396, y + 11, b.from_to, "end", "label");
      y += height;
    }
    y += 28;
  }
  return s.str();
}

}  // namespace real_model
