// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Pictures of how kinds of text sound to a model, for any model: histograms of phi, running sums of
// phi, and tokens coloured by who led them.

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "study/svg.hpp"

namespace study {

/// A kind of text.
struct voice {
  std::string kind;  ///< names its colour in the style sheet: fill-KIND, line-KIND
  std::string title;
  /// Tokens by phi, in bins of 0.25 nats from -8; the outermost hold what is beyond.
  std::vector<double> counts;
  std::vector<std::vector<double>> paths;  ///< a text's running sums of phi, nats
};

inline constexpr double phi_low = -8, phi_bin = 0.25;

/// A panel for each kind, up to the phi `high`.
[[nodiscard]] inline std::string phi_histograms(std::span<const voice> voices, double high,
                                                const std::string& label) {
  constexpr double panel = 84, left = 12, right = 388;
  const double floor = panel * static_cast<double>(voices.size());
  svg s(floor + 40, label);
  const scale x{phi_low, high, left, right};
  double bottom = 0;
  for (const voice& v : voices) {
    bottom += panel;
    const double total = std::accumulate(v.counts.begin(), v.counts.end(), 0.0);
    const scale height{0, 1, 0, panel - 22};
    double below = 0;
    for (std::size_t i = 0; i < v.counts.size(); ++i) {
      const double low = phi_low + phi_bin * static_cast<double>(i);
      if (low < -1) below += v.counts[i];
      const double h = height(std::sqrt(v.counts[i] / total));
      if (v.counts[i] > 0)
        s.rect(x(low) + 0.5, bottom - h, x(low + phi_bin) - x(low) - 1, h, "fill-" + v.kind);
    }
    s.line(left, bottom, right, bottom, "rule");
    s.text(left, bottom - panel + 18, v.title, "start", "strong");
    s.text(left, bottom - panel + 33,
           decimal(100 * below / total, 1) + "% of tokens below \u22121");
  }
  std::vector<double> ticks;
  for (double t = phi_low; t <= high; t += 2) ticks.push_back(t);
  s.x_axis(x, floor, floor, ticks, 0,
           "phi, nats (bar height: square root of the share; \u22128 holds all below)");
  return s.str();
}

/// What of the running sums is shown.
struct path_frame {
  double tokens, low, high;
  std::vector<double> token_ticks, ticks;
};

/// The last kind lies behind the others.
[[nodiscard]] inline std::string phi_paths(std::span<const voice> voices, const path_frame& frame,
                                           const std::string& label) {
  constexpr double left = 38, right = 388, top = 10, bottom = 270;
  svg s(310, label);
  const scale x{0, frame.tokens, left, right};
  const scale y{frame.low, frame.high, bottom, top};
  s.y_axis(y, left, right, frame.ticks, 0);
  const auto draw = [&](const voice& v) {
    for (const auto& path : v.paths) {
      std::vector<std::pair<double, double>> points{{x(0), y(0)}};
      double at = 0;
      for (const double p : path) {
        at += 1;
        if (at > x.high || p < y.low) break;
        points.emplace_back(x(at), y(p));
      }
      s.polyline(points, "path line-" + v.kind);
    }
  };
  if (!voices.empty()) draw(voices.back());
  for (std::size_t k = 0; k + 1 < voices.size(); ++k) draw(voices[k]);
  double at = bottom + 4 - 16 * static_cast<double>(voices.size());
  for (const voice& v : voices) {
    s.line(left + 12, at - 4, left + 30, at - 4, "thick line-" + v.kind);
    s.text(left + 36, at, v.title);
    at += 16;
  }
  s.x_axis(x, top, bottom, frame.token_ticks, 0, "tokens of the answer (the sum of phi, nats)");
  return s.str();
}

/// Who leads at this share of the student: a class of the style sheet.
[[nodiscard]] constexpr const char* leader(double lambda) {
  return lambda >= 0.5 ? "student" : lambda >= 0.15 ? "shared" : "teacher";
}

/// A token as a coloured piece of a line. A lone blank and line breaks are shown.
[[nodiscard]] inline std::string led_token(const std::string& text, double lambda,
                                           double log_prob) {
  std::string shown;
  for (const char c : text) {
    if (c == '\n') {
      shown += "\u21b5";
    } else {
      shown += c;
    }
  }
  if (shown == " ") shown = "\u00b7";
  return std::string("<span class=\"") + leader(lambda) + "\" title=\"lambda " +
         decimal(lambda, 2) + ", log p " + decimal(log_prob, 2) + "\">" + escaped(shown) +
         "</span><wbr>";
}

}  // namespace study
