// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Just enough SVG for the report's charts: shapes whose colours are classes of the page's style
// sheet, axes, and a scale. A chart is 400 units wide, which is a phone's width: text keeps its
// size.

#include <cmath>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace study {

/// Text as it stands in HTML.
[[nodiscard]] inline std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

/// A number with so many decimals, with a real minus sign and without a negative zero.
[[nodiscard]] inline std::string decimal(double x, int decimals, bool plus = false) {
  char text[48];
  std::snprintf(text, sizeof text, "%.*f", decimals, std::fabs(x));
  const bool zero = std::string_view(text).find_first_not_of("0.") == std::string_view::npos;
  return (x < 0 && !zero ? "\u2212" : plus && !zero ? "+" : "") + std::string(text);
}

/// Maps [low, high] to [from, to].
struct scale {
  double low, high, from, to;

  [[nodiscard]] double operator()(double x) const {
    return from + (x - low) / (high - low) * (to - from);
  }
};

class svg {
 public:
  static constexpr double width = 400;

  svg(double height, std::string_view label) : height_(height), label_(label) {}

  void line(double x1, double y1, double x2, double y2, std::string_view kind) {
    add("<line class=\"", kind, "\" x1=\"", x1, "\" y1=\"", y1, "\" x2=\"", x2, "\" y2=\"", y2,
        "\"/>");
  }
  void rect(double x, double y, double w, double h, std::string_view kind,
            std::string_view title = {}) {
    add("<rect class=\"", kind, "\" x=\"", x, "\" y=\"", y, "\" width=\"", w, "\" height=\"", h,
        "\"");
    close("rect", title);
  }
  /// A cell whose opacity says how much.
  void shade(double x, double y, double w, double h, double opacity) {
    add("<rect class=\"shade\" x=\"", x, "\" y=\"", y, "\" width=\"", w, "\" height=\"", h,
        "\" fill-opacity=\"", opacity, "\"/>");
  }
  void circle(double x, double y, double r, std::string_view kind, std::string_view title = {}) {
    add("<circle class=\"", kind, "\" cx=\"", x, "\" cy=\"", y, "\" r=\"", r, "\"");
    close("circle", title);
  }
  void polyline(std::span<const std::pair<double, double>> points, std::string_view kind) {
    add("<polyline class=\"", kind, "\" points=\"");
    for (const auto& [x, y] : points) add(x, ",", y, " ");
    add("\"/>");
  }
  /// anchor: start, middle or end.
  void text(double x, double y, std::string_view what, std::string_view anchor = "start",
            std::string_view kind = "") {
    add("<text x=\"", x, "\" y=\"", y, "\" text-anchor=\"", anchor, "\" class=\"", kind, "\">",
        escaped(what), "</text>");
  }
  /// A title along the vertical axis.
  void vertical_text(double x, double y, std::string_view what) {
    add("<text text-anchor=\"middle\" class=\"axis\" transform=\"translate(", x, ",", y,
        ") rotate(-90)\">", escaped(what), "</text>");
  }

  /// A horizontal axis below a chart: grid lines up to `top`, numbers, a title.
  void x_axis(const scale& x, double top, double bottom, const std::vector<double>& ticks,
              int decimals, std::string_view title) {
    for (const double t : ticks) {
      line(x(t), top, x(t), bottom, "grid");
      text(x(t), bottom + 14, decimal(t, decimals), "middle", "axis");
    }
    text((x.from + x.to) / 2, bottom + 30, title, "middle", "axis");
  }
  void y_axis(const scale& y, double left, double right, const std::vector<double>& ticks,
              int decimals) {
    for (const double t : ticks) {
      line(left, y(t), right, y(t), "grid");
      text(left - 5, y(t) + 4, decimal(t, decimals), "end", "axis");
    }
  }

  [[nodiscard]] std::string str() const {
    char head[96];
    std::snprintf(head, sizeof head, "<svg viewBox=\"0 0 %g %g\" role=\"img\" aria-label=\"", width,
                  height_);
    return head + escaped(label_) + "\">" + body_ + "</svg>";
  }

 private:
  template <class... Parts>
  void add(const Parts&... parts) {
    (append(parts), ...);
  }
  void append(std::string_view text) { body_ += text; }
  void append(double x) {
    char number[32];
    std::snprintf(number, sizeof number, "%.4g", std::round(x * 100) / 100);
    body_ += number;
  }
  void close(std::string_view tag, std::string_view title) {
    if (title.empty()) {
      add("/>");
    } else {
      add("><title>", escaped(title), "</title></", tag, ">");
    }
  }

  double height_;
  std::string label_;
  std::string body_;
};

}  // namespace study
