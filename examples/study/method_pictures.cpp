// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The two pictures that show all methods: what each reached and what it kept, and what it cost.

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "study/pictures.hpp"
#include "study/svg.hpp"

namespace study {

namespace {

double value(const json& number) {
  return number.at("value").get<double>();
}

bool shown(const json& m, double rate) {
  return m.at("study_rate").get<double>() == rate && m.at("family") != "cure";
}

struct box {
  double left, top, right, bottom;

  [[nodiscard]] bool meets(const box& o) const {
    return left < o.right && o.left < right && top < o.bottom && o.top < bottom;
  }
};

/// Finds a free place for the label of a point: beside it, or further up or down with a line to it.
class labels {
 public:
  void block(double x, double y) { taken_.push_back({x - 5, y - 5, x + 5, y + 5}); }

  void place(svg& s, double x, double y, const std::string& label, const box& frame) {
    const double w = 5.6 * static_cast<double>(label.size());
    for (int step = 0; step < 24; ++step) {
      const double shift = (step % 2 == 0 ? 1 : -1) * 6.5 * ((step + 1) / 2);
      for (const bool before : {true, false}) {
        const double begin = before ? x - 9 - w : x + 9;
        const box b{begin, y + shift - 6, begin + w, y + shift + 6};
        if (b.left < frame.left || b.right > frame.right || b.top < frame.top ||
            b.bottom > frame.bottom ||
            std::ranges::any_of(taken_, [&](const box& t) { return t.meets(b); }))
          continue;
        taken_.push_back(b);
        if (std::fabs(shift) > 7)
          s.line(x, y, before ? b.right + 1 : b.left - 1, y + shift, "leader");
        s.text(begin, y + shift + 4, label, "start", "label");
        return;
      }
    }
  }

 private:
  std::vector<box> taken_;
};

}  // namespace

std::string plane_picture(const json& report, double rate) {
  constexpr double left = 40, right = 280, top = 12, bottom = 430, column = 298;
  svg s(470, "Target accuracy over base accuracy for every method");
  const scale x{0.1, 1.02, left, right};
  const scale y{0, 1.02, bottom, top};
  s.y_axis(y, left, right, {0, 0.2, 0.4, 0.6, 0.8, 1}, 1);
  s.x_axis(x, top, bottom, {0.2, 0.4, 0.6, 0.8, 1}, 1, "base accuracy: what was kept");
  s.vertical_text(12, (top + bottom) / 2, "target accuracy: what was learned");

  struct point {
    double x, y;
    std::string label, kind, title;
  };
  std::vector<point> points;
  const auto add = [&](const json& e, const std::string& label, const std::string& kind,
                       const std::string& title) {
    points.push_back({x(std::max(x.low, value(e.at("base").at("right")))),
                      y(value(e.at("target").at("right"))), label, kind,
                      title + ": target " + decimal(value(e.at("target").at("right")), 3) +
                          ", base " + decimal(value(e.at("base").at("right")), 3)});
  };
  add(report.at("before"), "untouched", "point-untouched", "untouched");
  for (const auto& m : report.at("methods")) {
    if (!shown(m, rate)) continue;
    const auto title = m.at("title").get<std::string>();
    add(m, short_title(title), "point-" + m.at("family").get<std::string>(), title);
  }
  s.line(left, points.front().y, right, points.front().y, "dash");
  std::ranges::sort(points, {}, &point::y);

  // What has kept nearly everything crowds at the right: its labels stand in a column, in order.
  const auto crowded = [&](const point& p) { return p.x > x(0.88); };
  constexpr double spacing = 12;
  std::vector<double> places;
  for (const auto& p : points) {
    if (!crowded(p)) continue;
    places.push_back(places.empty() ? std::max(p.y - 60, top + 6)
                                    : std::max(p.y, places.back() + spacing));
  }
  for (std::size_t k = places.size(); k-- > 0;) {
    const double most = k + 1 == places.size() ? bottom - 4 : places[k + 1] - spacing;
    places[k] = std::min(places[k], most);
  }
  labels names;
  for (const auto& p : points) names.block(p.x, p.y);
  std::size_t next = 0;
  for (const auto& p : points) {
    if (crowded(p)) {
      const double at = places[next++];
      s.line(p.x, p.y, column - 2, at, "leader");
      s.text(column, at + 4, p.label, "start", "label");
    } else {
      names.place(s, p.x, p.y, p.label, {left, top, right, bottom});
    }
  }
  for (const auto& p : points) s.circle(p.x, p.y, 4.5, p.kind, p.title);
  return s.str();
}

std::string cost_picture(const json& report, double rate) {
  std::vector<const json*> rows;
  for (const auto& m : report.at("methods")) {
    if (shown(m, rate)) rows.push_back(&m);
  }
  double most = 1;
  for (const json* m : rows)
    most = std::max(most, value(m->at("generated_tokens")) + value(m->at("trained_tokens")));
  constexpr double left = 150, right = 348;
  const double bottom = 24 + 15 * static_cast<double>(rows.size());
  svg s(bottom + 36, "Tokens generated and trained, and seconds, for each method");
  const scale x{0, most / 1000, left, right};
  std::vector<double> ticks;
  const double step = most > 4e5 ? 200 : most > 1.5e5 ? 50 : 25;
  for (double t = 0; t <= most / 1000; t += step) ticks.push_back(t);
  s.x_axis(x, 20, bottom, ticks, 0, "thousand tokens (right: seconds on one core)");
  s.rect(left, 4, 10, 9, "fill-hinted");
  s.text(left + 14, 13, "generated");
  s.rect(left + 80, 4, 10, 9, "fill-own");
  s.text(left + 94, 13, "trained");
  double y = 26;
  for (const json* m : rows) {
    const double generated = value(m->at("generated_tokens")) / 1000;
    const double trained = value(m->at("trained_tokens")) / 1000;
    s.text(left - 6, y + 9, short_title(m->at("title").get<std::string>()), "end", "label");
    s.rect(x(0), y, x(generated) - x(0), 10, "fill-hinted");
    s.rect(x(generated), y, x(trained) - x(0), 10, "fill-own");
    s.text(396, y + 9, decimal(value(m->at("seconds")), 1), "end", "label");
    y += 15;
  }
  return s.str();
}

}  // namespace study
