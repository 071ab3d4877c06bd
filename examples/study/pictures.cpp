// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "study/pictures.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include <idiolect/loss/gates/idft.hpp>

#include "study/statistics.hpp"
#include "study/svg.hpp"
#include "study/voices.hpp"

namespace study {

namespace {

struct corpus {
  const char* key;
  const char* title;
};
constexpr std::array corpora{corpus{"own", "own samples"},
                             corpus{"hinted", "hinted decoding, beta 1"},
                             corpus{"foreign", "foreign: the teacher's B"}};

std::vector<voice> voices_of(const json& gallery) {
  std::vector<voice> voices;
  for (const auto& [key, title] : corpora) {
    voices.push_back({key, title, gallery.at("histograms").at(key).get<std::vector<double>>(),
                      gallery.at("paths").at(key).get<std::vector<std::vector<double>>>()});
  }
  return voices;
}

}  // namespace

std::string histogram_picture(const json& gallery) {
  return phi_histograms(voices_of(gallery), 2,
                        "Histograms of phi for own, hinted and foreign text");
}

std::string path_picture(const json& gallery) {
  return phi_paths(voices_of(gallery), {50, -30, 5, {0, 10, 20, 30, 40, 50}, {-30, -20, -10, 0}},
                   "Cumulative phi of texts");
}

std::string weight_picture(const json& gallery) {
  constexpr double left = 34, right = 388, top = 26, bottom = 280;
  svg s(320, "The weight p to the gamma over log p and entropy");
  const scale x{-6, 0, left, right};
  const scale y{0, 3.6, bottom, top};
  const idiolect::idft gate;
  constexpr int columns = 50, rows = 30;
  const double wide = (right - left) / columns;
  const double high = (bottom - top) / rows;
  for (int i = 0; i < columns; ++i) {
    for (int k = 0; k < rows; ++k) {
      const double l = -6 + 6 * (i + 0.5) / columns;
      const double h = 3.6 * (k + 0.5) / rows;
      const double w = std::exp(gate.gamma(l + h) * l);
      s.shade(x(l) - wide / 2, y(h) - high / 2, wide, high, w);
    }
  }
  std::vector<std::pair<double, double>> zero{{x(-3.6), y(3.6)}, {x(0), y(0)}};
  s.polyline(zero, "dash");
  s.text(x(-3.45), y(3.38), "phi = 0", "start", "strong");
  for (const auto& p : gallery.at("points")) {
    const double l = std::max(p[0].get<double>(), -6.0);
    s.circle(x(l), y(std::min(p[1].get<double>(), 3.6)), 2, "dot");
  }
  for (int i = 0; i <= 20; ++i) s.shade(left + 9.0 * i, 4, 9, 10, i / 20.0);
  s.text(left - 6, 13, "0", "end");
  s.text(left + 195, 13, "1: weight (dots: tokens of B)");
  s.y_axis(y, left, right, {0, 1, 2, 3}, 0);
  s.x_axis(x, bottom, bottom, {-6, -4, -2, 0}, 0, "log p of the token (up: entropy, nats)");
  return s.str();
}

std::string led_picture(const json& gallery) {
  const auto& led = gallery.at("led");
  if (led.is_null()) return "<p>No decoding of this run had both voices in it.</p>";
  std::string html =
      "<div class=\"led\"><div><b>question</b> <code>" +
      escaped(led.at("question").get<std::string>()) + "</code></div><div><b>hint</b> <code>" +
      escaped(led.at("hint").get<std::string>()) + "</code></div><div><b>answer</b> <code>";
  for (const auto& t : led.at("tokens")) {
    html += led_token(t.at("text").get<std::string>(), t.at("lambda").get<double>(),
                      t.at("log_prob").get<double>());
  }
  html += "</code></div><div class=\"key\">beta " + decimal(led.at("beta").get<double>(), 0) +
          ": <span class=\"teacher\">the teacher leads</span> (lambda "
          "below 0.15) <span class=\"shared\">shared</span> <span class=\"student\">the student "
          "leads</span> (0.5 and more; after <code>&gt;</code> always)</div></div>";
  return html;
}

std::string detection_picture(const json& detection) {
  struct row {
    const char* key;
    const char* title;
    const char* kind;
  };
  constexpr std::array rows{row{"log_prob", "mean log-likelihood", "fill-foreign"},
                            row{"sum_log_prob", "summed log-likelihood", "fill-foreign"},
                            row{"phi", "mean CLL", "fill-own"}, row{"z", "z", "fill-hinted"}};
  constexpr double left = 140, right = 380;
  const auto& pooled = detection.at("pooled");
  const double bottom = 100.0 * static_cast<double>(pooled.size());
  svg s(bottom + 40, "AUROC of four scores at three shares of the foreign voice");
  const scale x{0.6, 1, left, right};
  s.x_axis(x, 8, bottom, {0.6, 0.7, 0.8, 0.9, 1}, 1, "AUROC: own samples above foreign text");
  double y = 20;
  for (const auto& [level, statistics] : pooled.items()) {
    s.text(4, y, level, "start", "strong");
    for (const auto& r : rows) {
      y += 18;
      const auto m = measured::from(statistics.at(r.key));
      s.text(left - 8, y, r.title, "end");
      if (!std::isnan(m.low))
        s.line(x(std::max(m.low, x.low)), y - 4, x(std::min(m.high, 1.0)), y - 4, "whisker");
      s.circle(x(std::max(m.value, x.low)), y - 4, 4.5, r.kind, decimal(m.value, 3));
    }
    y += 28;
  }
  return s.str();
}

std::string short_title(std::string title) {
  for (const auto& [from, to] :
       {std::pair<std::string_view, std::string_view>{"hinted decoding, piecewise", "piecewise"},
        {"hinted decoding, sigmoid", "sigmoid"},
        {"hinted decoding, ", "hinted "},
        {"student first, then hinted", "student first"},
        {"RFT: rejection sampling + SFT", "RFT"},
        {"online rejection sampling + SFT", "online RFT"},
        {"online hinted", "online"},
        {", steps verified", ", steps"},
        {"self-distillation", "self-dist."},
        {"IDFT, paper's form,", "IDFT (paper)"},
        {"CoT completion", "CoT"},
        {"beta ", "\u03b2"},
        {" on own pairs", ""}}) {
    const auto at = title.find(from);
    if (at != std::string::npos) title.replace(at, from.size(), to);
  }
  return title;
}

std::string real_picture(const json& real, const std::string& by, double rate) {
  constexpr double left = 38, right = 388, top = 10, bottom = 250;
  svg s(290, "Forgetting over gain on real text");
  std::vector<const json*> curves;
  double least = 0, most = 0.01, highest = 0.1;
  std::string title;
  for (const auto& c : real.at("curves")) {
    if (c.at("by") != by || c.at("rate").get<double>() != rate) continue;
    curves.push_back(&c);
    title = c.at("gain").get<std::string>();
    for (const auto& p : c.at("points")) {
      least = std::min(least, p[0].get<double>());
      most = std::max(most, p[0].get<double>());
      highest = std::max(highest, p[1].get<double>());
    }
  }
  const auto ticks = [](double low, double high) {
    const double rough = (high - low) / 4;
    const double power = std::pow(10.0, std::floor(std::log10(rough)));
    const double step = power * (rough < 2 * power ? 2 : rough < 5 * power ? 5 : 10);
    std::vector<double> t;
    for (double v = std::ceil(low / step) * step; v <= high + 1e-9; v += step) t.push_back(v);
    return t;
  };
  const scale x{least, most, left, right};
  const scale y{0, highest, bottom, top};
  s.y_axis(y, left, right, ticks(0, highest), 1);
  s.x_axis(x, top, bottom, ticks(least, most), most - least < 1 ? 2 : 1,
           title + " (up: NLL of stories rises by)");
  constexpr std::array kinds{"foreign", "own", "hinted"};
  for (std::size_t k = 0; k < curves.size(); ++k) {
    std::vector<std::pair<double, double>> points;
    for (const auto& p : curves[k]->at("points"))
      points.emplace_back(x(p[0].get<double>()), y(std::max(0.0, p[1].get<double>())));
    const std::string kind = std::string("thick line-") + kinds[k % kinds.size()];
    s.polyline(points, kind);
    const double at = 28 + 16 * static_cast<double>(k);
    s.line(left + 140, at - 4, left + 158, at - 4, kind);
    s.text(left + 164, at, curves[k]->at("title").get<std::string>());
  }
  return s.str();
}

}  // namespace study
