// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

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

struct kind {
  const char* key;
  const char* colour;
};
constexpr std::array kinds{kind{"own", "own"}, kind{"reference", "foreign"},
                           kind{"swapped", "preference"}};

constexpr double phi_high = 4;
constexpr std::size_t paths_of_a_kind = 24;

std::vector<study::voice> voices_of(const results& r) {
  std::vector<study::voice> voices;
  for (const auto& [key, colour] : kinds) {
    const corpus* c = r.find(key);
    if (c == nullptr) continue;
    study::voice v{colour, title_of(key), {}, {}};
    v.counts.resize(static_cast<std::size_t>((phi_high - study::phi_low) / study::phi_bin));
    for (const auto& text : c->texts) {
      std::vector<double> path;
      double sum = 0;
      for (const auto& t : text) {
        const double bin = std::floor((t.score.phi - study::phi_low) / study::phi_bin);
        const double last = static_cast<double>(v.counts.size() - 1);
        v.counts[static_cast<std::size_t>(std::clamp(bin, 0.0, last))] += 1;
        path.push_back(sum += t.score.phi);
      }
      if (v.paths.size() < paths_of_a_kind) v.paths.push_back(std::move(path));
    }
    voices.push_back(std::move(v));
  }
  return voices;
}

}  // namespace

std::string histogram_picture(const results& r) {
  const auto voices = voices_of(r);
  if (voices.empty()) return {};
  return study::phi_histograms(voices, phi_high,
                               "Histograms of phi: own samples, references, other references");
}

std::string path_picture(const results& r) {
  const auto voices = voices_of(r);
  if (voices.empty()) return {};
  return study::phi_paths(voices, {60, -40, 20, {0, 20, 40, 60}, {-40, -20, 0, 20}},
                          "Running sums of phi");
}

std::string confusion_picture(const results& r) {
  constexpr double left = 38, right = 388, top = 10, bottom = 266;
  const scale x{0, 5, left, right};
  const scale y{-2, 1, bottom, top};
  svg s(306, "CLL over NLL, a point for each text");
  s.y_axis(y, left, right, {-2, -1, 0, 1}, 0);
  s.line(left, y(0), right, y(0), "dash");
  for (std::size_t k = kinds.size(); k-- > 0;) {
    const corpus* c = r.find(kinds[k].key);
    if (c == nullptr) continue;
    for (const auto& score : c->scores) {
      s.circle(x(std::clamp(score.mean_nll(), x.low, x.high)),
               y(std::clamp(score.mean_phi(), y.low, y.high)), 3.4,
               std::string("fill-") + kinds[k].colour,
               title_of(kinds[k].key) + ": NLL " + decimal(score.mean_nll(), 2) + ", CLL " +
                   decimal(score.mean_phi(), 2, true));
    }
  }
  double legend = bottom - 44;
  for (const auto& [key, colour] : kinds) {
    if (r.find(key) == nullptr) continue;
    s.circle(left + 12, legend - 4, 4, std::string("fill-") + colour);
    s.text(left + 20, legend, title_of(key));
    legend += 16;
  }
  s.x_axis(x, top, bottom, {0, 1, 2, 3, 4, 5}, 0,
           "NLL of a text, nats a token: to the left likely (up: CLL)");
  return s.str();
}

std::string auroc_picture(const results& r) {
  const corpus* own = r.find("own");
  if (own == nullptr) return {};
  struct row {
    const char* title;
    idiolect::separation idiolect::corpus_comparison::*score;
    const char* colour;
  };
  constexpr std::array rows{
      row{"mean log-likelihood", &idiolect::corpus_comparison::mean_log_prob, "fill-foreign"},
      row{"summed log-likelihood", &idiolect::corpus_comparison::sum_log_prob, "fill-foreign"},
      row{"CLL (mean phi)", &idiolect::corpus_comparison::mean_phi, "fill-own"},
      row{"z", &idiolect::corpus_comparison::z, "fill-hinted"}};
  constexpr double left = 140, right = 380, group = 20 + 18 * rows.size();
  std::vector<const char*> others;
  for (const char* key : {"reference", "swapped"}) {
    if (r.find(key) != nullptr) others.push_back(key);
  }
  if (others.empty()) return {};
  const double bottom = 12 + (group + 12) * static_cast<double>(others.size());
  svg s(bottom + 40, "AUROC of four scores");
  const scale x{0, 1, left, right};
  s.x_axis(x, 8, bottom, {0, 0.25, 0.5, 0.75, 1}, 2, "AUROC: own samples above the other text");
  s.line(x(0.5), 8, x(0.5), bottom, "dash");
  double at = 20;
  for (const char* key : others) {
    const auto compared = own_against(*own, *r.find(key));
    s.text(4, at, "own samples against " + title_of(key), "start", "strong");
    double y = at;
    for (const auto& [title, score, colour] : rows) {
      y += 18;
      const auto& auroc = (compared.*score).auroc;
      s.text(left - 8, y, title, "end");
      if (!std::isnan(auroc.low)) s.line(x(auroc.low), y - 4, x(auroc.high), y - 4, "whisker");
      s.circle(x(auroc.value), y - 4, 4.5, colour, decimal(auroc.value, 3));
    }
    at += group + 12;
  }
  return s.str();
}

}  // namespace real_model
