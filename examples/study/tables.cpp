// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The report as tables on a terminal.

#include <cstdio>
#include <string>

#include "study/report.hpp"

namespace study {

namespace {

double value(const json& number) {
  return number.at("value").get<double>();
}

// "[low, high]", or nothing where there is no interval.
std::string interval(const json& number, const char* format = "[%+.3f, %+.3f]") {
  const auto m = measured::from(number);
  if (std::isnan(m.low)) return {};
  char text[64];
  std::snprintf(text, sizeof text, format, m.low, m.high);
  return text;
}

void print_detection(const json& d) {
  std::puts(
      "\nDetection: own samples against another voice, four tasks pooled (AUROC)\n"
      "                 log-likelihood   mean CLL      z   summed log-likelihood");
  for (const auto& [level, s] : d.at("pooled").items()) {
    std::printf("  %-14s           %5.3f      %5.3f  %5.3f                   %5.3f\n",
                level.c_str(), value(s.at("log_prob")), value(s.at("phi")), value(s.at("z")),
                value(s.at("sum_log_prob")));
  }
  std::puts("  within one task, a quarter B (less difference of difficulty to subtract):");
  for (const auto& [task, s] : d.at("by_task").items()) {
    std::printf("  %-14s           %5.3f      %5.3f  %5.3f                   %5.3f\n",
                task == "t" ? "target" : task.c_str(), value(s.at("log_prob")), value(s.at("phi")),
                value(s.at("z")), value(s.at("sum_log_prob")));
  }
}

void print_data(const json& data) {
  std::puts(
      "\nData sets                                        mean CLL   yield   wrong steps   "
      "generated"
      " tokens");
  for (const auto& d : data) {
    std::printf("  %-46s  %+.3f   %5.3f         %5.3f            %7.0f\n",
                d.at("title").get<std::string>().c_str(), value(d.at("phi")), value(d.at("yield")),
                value(d.at("wrong_steps")), value(d.at("generated_tokens")));
  }
}

void print_evaluation(const std::string& title, const std::string& rate, const json& e) {
  std::printf("  %-42s %6s  %5.3f  %5.3f %5.2f   %5.3f %5.2f   %5.2f  %5.2f   %5.3f\n",
              title.c_str(), rate.c_str(), value(e.at("target").at("right")),
              value(e.at("target").at("flawless")), value(e.at("target").at("closed")),
              value(e.at("base").at("right")), value(e.at("base").at("closed")),
              value(e.at("nll").at("B")), value(e.at("nll").at("Bs")),
              value(e.at("nll").at("base")));
}

void print_methods(const json& report) {
  std::puts(
      "\nMethods                                               target              base          "
      "NLL\n"
      "                                             rate   right  valid  ends   right  ends       "
      "B     Bs retained");
  print_evaluation("untouched", "", report.at("before"));
  for (const auto& m : report.at("methods")) {
    print_evaluation(m.at("title").get<std::string>(), rate_text(m.at("rate").get<double>()), m);
  }
}

void print_checks(const json& report) {
  int finding = 0;
  for (const auto& c : report.at("checks")) {
    if (c.at("finding").get<int>() != finding) {
      finding = c.at("finding").get<int>();
      std::printf("\nFinding %d. %s\n", finding, c.at("title").get<std::string>().c_str());
    }
    std::printf("  %-6s  %-68s %+.3f %-18s %s\n", c.at("holds").get<bool>() ? "holds" : "FAILED",
                c.at("statement").get<std::string>().c_str(), value(c.at("number")),
                interval(c.at("number")).c_str(), c.at("verdict").get<std::string>().c_str());
  }
}

void print_comparisons(const json& comparisons) {
  if (comparisons.empty()) return;
  std::puts("\nCompared without an expectation");
  for (const auto& c : comparisons) {
    if (c.at("group") == "variants of IDFT") continue;  // many: they are on the page
    std::printf("  %-66s %+.3f %-18s %s\n", c.at("statement").get<std::string>().c_str(),
                value(c.at("number")), interval(c.at("number")).c_str(),
                c.at("verdict").get<std::string>().c_str());
  }
}

void print_real(const json& real) {
  std::printf("\nReal text: %s\n", real.at("what").get<std::string>().c_str());
  if (real.contains("skipped")) {
    std::printf("  SKIPPED: %s\n", real.at("skipped").get<std::string>().c_str());
    return;
  }
  std::puts("  loss  rate    gain on new text: how, how much             NLL of stories rises by");
  for (const auto& m : real.at("matched")) {
    std::printf("  %-5s %-6s  %-42s %5.2f   ", m.at("title").get<std::string>().c_str(),
                rate_text(m.at("rate").get<double>()).c_str(),
                m.at("by").get<std::string>().c_str(), m.at("gain").get<double>());
    if (m.contains("number")) {
      std::printf("%+.3f %s\n", value(m.at("number")), interval(m.at("number")).c_str());
    } else {
      std::printf("never gains so much: at most %.3f\n", m.at("largest_gain").get<double>());
    }
  }
  for (const auto& c : real.at("comparisons")) {
    std::printf("  %s %+.3f %s: %s\n", c.at("statement").get<std::string>().c_str(),
                value(c.at("number")), interval(c.at("number")).c_str(),
                c.at("verdict").get<std::string>().c_str());
  }
}

}  // namespace

void print_report(const json& report) {
  print_detection(report.at("detection"));
  print_data(report.at("data"));
  print_methods(report);
  std::printf("  %s\n", ends_in_words(report).c_str());
  if (report.contains("real")) print_real(report.at("real"));
  print_comparisons(report.at("comparisons"));
  print_checks(report);
}

}  // namespace study
