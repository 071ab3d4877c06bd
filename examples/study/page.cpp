// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The report as a page: style, sections, tables.

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "study/pictures.hpp"
#include "study/report.hpp"
#include "study/style.hpp"
#include "study/svg.hpp"

namespace study {

namespace {

double value(const json& number) {
  return number.at("value").get<double>();
}

std::string interval(const json& number, int decimals = 3) {
  const auto m = measured::from(number);
  if (std::isnan(m.low)) return {};
  return "[" + decimal(m.low, decimals, true) + ", " + decimal(m.high, decimals, true) + "]";
}

std::string words(const json& j, const char* key) {
  return escaped(j.at(key).get<std::string>());
}

std::string figure(const std::string& picture, const std::string& caption) {
  return "<figure>" + picture + "<figcaption>" + caption + "</figcaption></figure>\n";
}

std::string cell(const std::string& content, const char* kind = "") {
  return *kind != 0 ? "<td class=\"" + std::string(kind) + "\">" + content + "</td>"
                    : "<td>" + content + "</td>";
}

/// `value`, with the smallest and largest seed as a title.
std::string number_cell(const json& number, int decimals, bool plus = false) {
  std::string title;
  if (number.contains("seeds") && number.at("seeds").size() > 1) {
    const auto seeds = number.at("seeds").get<std::vector<double>>();
    title = " title=\"seeds: " + decimal(*std::ranges::min_element(seeds), decimals, plus) +
            " to " + decimal(*std::ranges::max_element(seeds), decimals, plus) + "\"";
  }
  return "<td" + title + ">" + decimal(value(number), decimals, plus) + "</td>";
}

std::string card(const std::string& big, const std::string& small) {
  return "<div class=\"card\"><b>" + big + "</b><span>" + small + "</span></div>";
}

const json* method_of(const json& report, const std::string& name) {
  const json* found = nullptr;  // the highest rate comes last
  for (const auto& m : report.at("methods")) {
    if (m.at("name") == name) found = &m;
  }
  return found;
}

std::string head(const json& report) {
  std::size_t held = 0;
  for (const auto& c : report.at("checks")) held += c.at("holds").get<bool>() ? 1 : 0;
  const auto& checks = report.at("checks");
  const auto& quarter = report.at("detection").at("pooled").at("a quarter B");
  const auto share = [](const json& number) { return decimal(100 * value(number), 0) + "%"; };
  std::string html =
      "<h1>On-policy fine-tuning in miniature</h1><p>The claims of \u201cTowards On-Policy "
      "SFT\u201d "
      "(arXiv 2602.12222), tried on language models of 225,312 parameters that learn a small "
      "synthetic language, and on one real model. Seeds: " +
      std::to_string(report.at("seeds").size()) +
      ", each with a base model, data and questions of its own. What is claimed here is claimed of "
      "these models.</p><div class=\"cards\">";
  html += card(std::to_string(held) + " of " + std::to_string(checks.size()) + " checks hold",
               "of the six findings; those that fail are marked FAILED below");
  html += card(
      decimal(value(quarter.at("z")), 2) + " against " + decimal(value(quarter.at("log_prob")), 2),
      "AUROC of z and of mean log-likelihood, where a quarter of the wording is foreign");
  const json* sft = method_of(report, "sft-b");
  const json* hinted = method_of(report, "sft-hinted-1");
  if (sft != nullptr && hinted != nullptr) {
    html +=
        card(share(sft->at("base").at("right")) + " and " + share(hinted->at("base").at("right")),
             "of the base tasks are still solved after SFT on foreign answers, and on the same "
             "answers rewritten by hinted decoding (" +
                 share(report.at("before").at("base").at("right")) + " before)");
    html += card(
        share(sft->at("target").at("right")) + " and " + share(hinted->at("target").at("right")),
        "of the new task are solved then (" + share(report.at("before").at("target").at("right")) +
            " before)");
  }
  return html + "</div>\n";
}

std::string checks_table(const json& report) {
  std::string html =
      "<h2>The six findings, as checks that can fail</h2><p class=\"soft\">Each statement says "
      "that "
      "a number lies above 0, or above the bound it names. It holds if it does so in every seed, "
      "or "
      "if the 95% interval of the mean does; with one seed, if that seed\u2019s own interval does. "
      "</p><div class=\"scroll\"><table>";
  int finding = 0;
  for (const auto& c : report.at("checks")) {
    if (c.at("finding").get<int>() != finding) {
      finding = c.at("finding").get<int>();
      html += "<tr><th class=\"words\" colspan=\"5\">" + std::to_string(finding) + ". " +
              words(c, "title") + "</th></tr>";
    }
    const bool holds = c.at("holds").get<bool>();
    html += "<tr>" + cell(holds ? "holds" : "FAILED", holds ? "good" : "bad") +
            cell(words(c, "statement"), "wrap") + number_cell(c.at("number"), 3, true) +
            cell(interval(c.at("number"))) + cell(words(c, "verdict"), "words") + "</tr>";
  }
  return html + "</table></div>\n";
}

std::string comparisons_table(const json& comparisons) {
  if (comparisons.empty()) return {};
  std::string html =
      "<h2>Compared without an expectation</h2><p class=\"soft\">Differences in accuracy (NLL: "
      "nats "
      "a token). None of these is a finding: the last column says what the seeds say.</p><div "
      "class=\"scroll\"><table>";
  std::string group;
  for (const auto& c : comparisons) {
    if (words(c, "group") != group) {
      group = words(c, "group");
      html += "<tr><th class=\"words\" colspan=\"4\">" + group + "</th></tr>";
    }
    html += "<tr>" + cell(words(c, "statement"), "wrap") + number_cell(c.at("number"), 3, true) +
            cell(interval(c.at("number"))) + cell(words(c, "verdict"), "words") + "</tr>";
  }
  return html + "</table></div>\n";
}

std::string evaluation_cells(const json& e) {
  std::string html;
  for (const char* what : {"right", "flawless", "closed"})
    html += number_cell(e.at("target").at(what), 3);
  for (const char* what : {"right", "closed"}) html += number_cell(e.at("base").at(what), 3);
  for (const char* text : {"B", "Bs", "A", "base"}) html += number_cell(e.at("nll").at(text), 2);
  return html;
}

std::string method_table(const json& report, bool cures) {
  std::string html =
      "<div class=\"scroll\"><table><tr><th>method</th><th>rate</th><th>target<br>right</th>"
      "<th>every "
      "step<br>right</th><th>ends</th><th>base<br>right</th><th>ends</th><th>NLL<br>B</th>"
      "<th>Bs</th><th>A</th><th>retained</th><th>generated</th><th>trained</th><th>s</th></tr>";
  html += "<tr>" + cell("untouched") + cell("") + evaluation_cells(report.at("before")) + cell("") +
          cell("") + cell("") + "</tr>";
  for (const auto& m : report.at("methods")) {
    const bool reference = cures && (m.at("name") == "idft-bs" || m.at("name") == "sft-bs");
    if ((m.at("family") == "cure") != cures && !reference) continue;
    html += "<tr>" + cell(words(m, "title")) + cell(rate_text(m.at("rate").get<double>())) +
            evaluation_cells(m) + number_cell(m.at("generated_tokens"), 0) +
            number_cell(m.at("trained_tokens"), 0) + number_cell(m.at("seconds"), 1) + "</tr>";
  }
  return html + "</table></div>\n";
}

std::string data_table(const json& data) {
  std::string html =
      "<div class=\"scroll\"><table><tr><th>data set</th><th>mean CLL</th><th></th><th>z</th>"
      "<th>yield</th><th>right answer,<br>wrong "
      "step</th><th>generated<br>tokens</th><th>s</th></tr>";
  for (const auto& d : data) {
    html +=
        "<tr>" + cell(words(d, "title")) + number_cell(d.at("phi"), 3, true) +
        cell(interval(d.at("phi"))) + number_cell(d.at("z"), 1, true) +
        number_cell(d.at("yield"), 3) +
        (d.at("verified").get<bool>() ? number_cell(d.at("wrong_steps"), 3) : cell("unverified")) +
        number_cell(d.at("generated_tokens"), 0) + number_cell(d.at("seconds"), 1) + "</tr>";
  }
  return html + "</table></div>\n";
}

std::string detection_table(const json& detection) {
  std::string html =
      "<div class=\"scroll\"><table><tr><th>a quarter B, one task</th><th>mean log-likelihood</th>"
      "<th>summed</th><th>mean CLL</th><th>z</th></tr>";
  for (const auto& [task, s] : detection.at("by_task").items()) {
    const char* name = task == "c"   ? "chains"
                       : task == "r" ? "reversal"
                       : task == "m" ? "maximum"
                       : task == "p" ? "random picks"
                                     : "target";
    html += "<tr>" + cell(name);
    for (const char* key : {"log_prob", "sum_log_prob", "phi", "z"})
      html += number_cell(s.at(key), 3);
    html += "</tr>";
  }
  return html + "</table></div>\n";
}

std::string real_section(const json& real) {
  std::string html = "<h2>On real text</h2><p>" + words(real, "what") + "</p>";
  if (real.contains("skipped"))
    return html + "<p class=\"soft\">Skipped: " + words(real, "skipped") + "</p>\n";
  html +=
      "<p class=\"soft\">Gain is measured in two ways: the fall of the NLL, which SFT trains for, "
      "and the rise of the tokens\u2019 mean probability, which DFT\u2019s gradient is that of. "
      "Left of "
      "0 the new text is less likely than before training.</p><div class=\"figures\">";
  const auto first_rate = real.at("curves").front().at("rate").get<double>();
  for (const char* by : {"nll", "prob"}) {
    html += figure(real_picture(real, by, first_rate),
                   "<b>Learning rate " + rate_text(first_rate) +
                       ".</b> Each line is a training run: to the right it has gained on the new "
                       "text, upwards it has forgotten its own.");
  }
  html +=
      "</div><div class=\"scroll\"><table><tr><th>loss</th><th>rate</th><th class=\"words\">gain"
      "</th><th></th><th>NLL of stories<br>rises by</th><th>95% over stories</th></tr>";
  for (const auto& m : real.at("matched")) {
    html += "<tr>" + cell(words(m, "title")) + cell(rate_text(m.at("rate").get<double>())) +
            cell(words(m, "by"), "words") + cell(decimal(m.at("gain").get<double>(), 2));
    html += m.contains("number")
                ? number_cell(m.at("number"), 3, true) + cell(interval(m.at("number")))
                : "<td colspan=\"2\">never: at most " +
                      decimal(m.at("largest_gain").get<double>(), 3) + "</td>";
    html += "</tr>";
  }
  html += "</table></div><div class=\"scroll\"><table>";
  for (const auto& c : real.at("comparisons")) {
    html += "<tr>" + cell(words(c, "statement"), "wrap") + number_cell(c.at("number"), 3, true) +
            cell(interval(c.at("number"))) + cell(words(c, "verdict"), "words") + "</tr>";
  }
  return html + "</table></div>\n";
}

}  // namespace

std::string make_page(const json& report) {
  const auto& gallery = report.at("gallery");
  const auto rates = report.at("settings").at("rates").get<std::vector<double>>();
  std::string html =
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width,initial-scale=1\"><meta name=\"color-scheme\" content=\"light "
      "dark\"><title>idiolect: on-policy fine-tuning in miniature</title><style>" +
      std::string(colour_css) + chart_css + page_css + "</style></head><body>\n";
  html += head(report);

  html += "<h2>Whose voice is it?</h2><div class=\"figures\">";
  html += figure(
      histogram_picture(gallery),
      "<b>phi = log p + entropy of each token.</b> Around 0 the model might have written it; "
      "far below it would not have. Hinted decoding turns the third text into the second.");
  html +=
      figure(path_picture(gallery),
             "<b>The running sum of phi,</b> 25 texts of each kind: a fair game (a martingale) for "
             "the model\u2019s own samples, a steady loss for the teacher\u2019s.");
  html += figure(detection_picture(report.at("detection")),
                 "<b>Telling own from foreign,</b> four tasks of different difficulty pooled. "
                 "Likelihood confuses hard with foreign; CLL and z subtract the difficulty.");
  html += figure(
      weight_picture(gallery),
      "<b>IDFT\u2019s weight</b> p<sup>gamma</sup>. Below the dashed line tokens are foreign "
      "(phi &lt; 0): they pull little. Above it the weight comes close to 1.");
  html +=
      "</div><p class=\"soft\">Within one task there is less difference of difficulty to "
      "subtract, and less to gain:</p>" +
      detection_table(report.at("detection"));

  html += "<h2>Hinted decoding: two voices, one answer</h2>" + led_picture(gallery) +
          data_table(report.at("data"));

  html += "<h2>What was learned, what was kept</h2><div class=\"figures\">";
  for (const double rate : rates) {
    html +=
        figure(plane_picture(report, rate),
               "<b>Learning rate " + rate_text(rate) +
                   ".</b> Better is up and to the right; the dashed line is the untouched model."
                   "<span class=\"swatch\" style=\"background:var(--foreign)\"></span>foreign data"
                   "<span class=\"swatch\" style=\"background:var(--hinted)\"></span>own words"
                   "<span class=\"swatch\" style=\"background:var(--own)\"></span>online"
                   "<span class=\"swatch\" style=\"background:var(--preference)\"></span>pairs");
  }
  html += figure(cost_picture(report, rates.back()),
                 "<b>What it cost</b> at the learning rate " + rate_text(rates.back()) +
                     ": tokens generated for the data, tokens trained on (every pass counted), and "
                     "seconds for both.");
  html += "</div>" + method_table(report, false);

  const bool has_cures = std::ranges::any_of(
      report.at("methods"), [](const json& m) { return m.at("family") == "cure"; });
  if (has_cures) {
    html +=
        "<h2>When IDFT starves a token</h2><p>A token that is rare in the model\u2019s own voice "
        "but "
        "needed to close an answer can be starved by IDFT until answers never end. "
        "\u201cEnds\u201d "
        "is the share that do. " +
        ends_in_words(report) +
        " What the variants change in accuracy and retention, on Bs, beside SFT and plain "
        "IDFT:</p>" +
        method_table(report, true);
  }
  html += real_section(report.at("real"));
  html += checks_table(report);
  html += comparisons_table(report.at("comparisons"));
  html +=
      "<h2>How it was made</h2><p class=\"soft\">idiolect " + words(report, "version") + ", " +
      words(report, "processor") + ". Settings: <code>" + escaped(report.at("settings").dump()) +
      "</code>. Numbers are means over seeds; hover over one for its smallest and largest seed. "
      "Intervals: 95%, Student\u2019s t over seeds, or over texts and questions where there is one "
      "seed. The pictures of texts are of the first seed.</p></body></html>\n";
  return html;
}

}  // namespace study
