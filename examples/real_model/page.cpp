// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "real_model/page.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>

#include <idiolect/version.hpp>

#include "real_model/pictures.hpp"
#include "study/style.hpp"
#include "study/svg.hpp"
#include "tool/text.hpp"

namespace real_model {

using study::decimal;
using study::escaped;

namespace {

// What this page's pictures have beside the study's.
constexpr const char* own_css = R"css(
.fill-preference{fill:var(--preference)}.fill-plain{fill:var(--soft)}.line-plain{stroke:var(--soft)}
.line-preference{stroke:var(--preference)}.led-teacher{fill:var(--foreign);fill-opacity:.55}
.led-shared{fill:var(--preference);fill-opacity:.6}.led-student{fill:var(--own);fill-opacity:.75}
.path{stroke-opacity:.5}circle.fill-own,circle.fill-foreign,circle.fill-preference{fill-opacity:.8}
td.said{white-space:pre-wrap;text-align:left;vertical-align:top;min-width:14rem}.open{color:var(--soft)}
)css";

/// A picture with what it shows; a sentence where its stage has not run.
std::string figure(const std::string& picture, const std::string& caption) {
  if (picture.empty()) return {};
  return "<figure>" + picture + "<figcaption>" + caption + "</figcaption></figure>\n";
}

std::string missing(const std::string& what) {
  return "<p class=\"soft\">" + what + ": this stage has not run.</p>\n";
}

std::string card(const std::string& big, const std::string& small) {
  return "<div class=\"card\"><b>" + big + "</b><span>" + small + "</span></div>";
}

std::string cards(const results& r) {
  std::string html;
  const corpus* own = r.find("own");
  const corpus* reference = r.find("reference");
  if (own != nullptr && reference != nullptr) {
    const auto c = own_against(*own, *reference);
    html += card(decimal(own->all.mean_phi(), 2, true) + " and " +
                     decimal(reference->all.mean_phi(), 2, true),
                 "CLL of what the model writes itself, and of the reference answers");
    html += card(decimal(own->all.mean_nll(), 2) + " and " + decimal(reference->all.mean_nll(), 2),
                 "NLL of the same two: what perplexity sees");
    html += card(
        decimal(c.mean_phi.auroc.value, 2) + " against " + decimal(c.mean_log_prob.auroc.value, 2),
        "AUROC of CLL and of likelihood: own samples against references");
  }
  if (r.hinted) {
    int accepted = 0;
    for (const auto& record : *r.hinted) accepted += record.how != "rejected";
    html += card(std::to_string(accepted) + " of " + std::to_string(r.hinted->size()),
                 "problems have a verified answer in the model\u2019s own words");
  }
  return html.empty() ? html : "<div class=\"cards\">" + html + "</div>\n";
}

std::string texts_table(const results& r) {
  std::string html =
      "<div class=\"scroll\"><table><tr><th>text</th><th>texts</th><th>tokens</th><th>NLL</th>"
      "<th>entropy</th><th>CLL</th><th>z of all</th><th>phi below \u22123</th></tr>";
  for (const char* key : corpus_keys) {
    const corpus* c = r.find(key);
    if (c == nullptr) continue;
    const auto& s = c->all;
    html += "<tr><td>" + title_of(key) + "</td>";
    for (const auto& cell :
         {std::to_string(c->texts.size()), std::to_string(s.tokens), decimal(s.mean_nll(), 3),
          decimal(s.mean_entropy(), 3), with_interval(c->phi(), 3), decimal(s.z(), 1, true),
          decimal(100 * (1 - s.share_above(-3)), 1) + "%"}) {
      html += "<td>" + cell + "</td>";
    }
    html += "</tr>";
  }
  return html + "</table></div>\n";
}

std::string hinted_section(const results& r) {
  std::string html = "<h2>Hinted decoding: two voices, one answer</h2>";
  if (!r.hinted || r.hinted->empty()) return html + missing("Hinted decoding");
  html +=
      "<p>A teacher, which is the same model with the reference before its eyes, leads where it is "
      "sure; the student leads where the teacher hesitates.</p>";
  if (const rewritten* shown = record_to_show(*r.hinted)) html += led_text(*shown);
  html +=
      "<div class=\"figures\">" +
      figure(
          stripes_picture(*r.hinted),
          "<b>Every problem\u2019s last try,</b> token by token: orange the teacher leads, violet "
          "both, blue the student (all of a text that was written without the hint).") +
      "<div class=\"scroll\"><table><tr><th>last try</th><th>tokens</th><th>CLL</th><th>of the "
      "reference</th><th>lambda</th></tr>";
  for (const auto& record : *r.hinted) {
    double lambda = 0;
    for (const double l : record.lambda) lambda += l;
    html +=
        "<tr><td>" + record.how + "</td><td>" + std::to_string(record.cll.tokens) + "</td><td>" +
        decimal(record.cll.mean_phi(), 2, true) + "</td><td>" +
        decimal(record.reference_phi, 2, true) + "</td><td>" +
        (record.lambda.empty() ? std::string()
                               : decimal(lambda / static_cast<double>(record.lambda.size()), 2)) +
        "</td></tr>";
  }
  return html + "</table></div></div>\n";
}

std::string answers_table(const results& r) {
  const auto first = r.answers.find("untouched");
  if (first == r.answers.end()) return {};
  constexpr std::size_t most = 3;
  std::string html =
      "<p>The same problems, answered greedily by each model:</p><div class=\"scroll\"><table><tr>"
      "<th class=\"words\">problem</th>";
  for (const char* model : model_keys) html += "<th class=\"words\">" + title_of(model) + "</th>";
  html += "</tr>";
  for (std::size_t i = 0; i < std::min(most, first->second.size()); ++i) {
    html += "<tr><td class=\"said\">" +
            escaped(first->second[i].at("question").get<std::string>()) + "</td>";
    for (const char* model : model_keys) {
      const auto of = r.answers.find(model);
      const bool there = of != r.answers.end() && i < of->second.size();
      html += "<td class=\"said\">" +
              (there ? escaped(of->second[i].at("answer").get<std::string>()) : "") + "</td>";
    }
    html += "</tr>";
  }
  return html + "</table></div>\n";
}

std::string training_section(const results& r) {
  std::string html = "<h2>What a minute of training teaches, and what it costs</h2>";
  if (r.trainings.empty()) return html + missing("Fine-tuning");
  html += "<div class=\"figures\">";
  html += figure(training_picture(r),
                 "<b>Training on the reference answers:</b> NLL of each batch before its step.");
  html += figure(
      forgetting_picture(r),
      "<b>What it moved,</b> each model in llama.cpp, with 95% intervals over texts. What the "
      "model wrote before is scored token by token: the rise estimates the KL divergence "
      "from the old model to the new one.");
  return html + "</div>" + answers_table(r);
}

std::string findings_table(const std::vector<finding>& findings) {
  if (findings.empty()) return missing("Everything");
  std::string html = "<div class=\"scroll\"><table>";
  for (const auto& f : findings) {
    const char* colour = f.result == verdict::holds   ? "good"
                         : f.result == verdict::fails ? "bad"
                                                      : "open";
    html += std::string("<tr><td class=\"") + colour + "\">" + name(f.result) +
            "</td><td class=\"wrap\">" + escaped(f.claim) + "</td><td class=\"wrap\">" +
            escaped(f.words) + "</td></tr>";
  }
  return html + "</table></div>\n";
}

std::string model_name(const results& r) {
  if (r.model.is_null()) return "a real language model";
  return std::filesystem::path(r.model.value("path", "")).filename().string();
}

std::string made_of(const results& r) {
  std::string html =
      "<h2>How it was made</h2><p class=\"soft\">idiolect " +
      std::to_string(IDIOLECT_VERSION_MAJOR) + "." + std::to_string(IDIOLECT_VERSION_MINOR) + "." +
      std::to_string(IDIOLECT_VERSION_PATCH) +
      ", <code>bash examples/real_model.sh"
      "</code>, " +
      escaped(model_name(r)) + ". Settings: <code>" + escaped(r.settings.dump()) +
      "</code>. Intervals: 95%; of means over texts, of AUROCs by bootstrap. Seconds of "
      "each stage: ";
  double all = 0;
  for (const auto& s : r.stages) {
    html += escaped(s.name) + " " + decimal(s.seconds, 0) + ", ";
    all += s.seconds;
  }
  html += "together " + decimal(all, 0) + ".";
  const corpus* before = r.find("untouched", "reference");
  const corpus* quantised = r.find("reference");
  if (before != nullptr && quantised != nullptr) {
    html +=
        " The untouched model of the training section went the same way as the trained ones, "
        "through "
        "LibTorch and back to a GGUF of 16 bits: NLL of the references " +
        decimal(before->all.mean_nll(), 4) + ", of the original file " +
        decimal(quantised->all.mean_nll(), 4) + ".";
  }
  const corpus* after = r.find("sft", "reference");
  const auto sft = r.trainings.find("sft");
  if (after != nullptr && sft != r.trainings.end() && sft->second.evaluated) {
    const auto asked =
        r.settings.is_null() ? std::size_t{0} : r.settings.value("asked", std::size_t{0});
    idiolect::sequence_score first;
    for (std::size_t i = 0; i < std::min(asked, after->texts.size()); ++i) {
      for (const auto& t : after->texts[i]) first.add(t.score);
    }
    html += " After SFT LibTorch gives the first " + std::to_string(asked) +
            " references an NLL of " + decimal(*sft->second.evaluated, 4) + ", llama.cpp " +
            decimal(first.mean_nll(), 4) + ".";
  }
  return html + "</p>";
}

}  // namespace

std::string make_page(const results& r, const std::vector<finding>& findings) {
  std::string html =
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width,initial-scale=1\"><meta name=\"color-scheme\" content=\"light "
      "dark\"><title>idiolect on a real model</title><style>" +
      std::string(study::colour_css) + study::chart_css + study::page_css + own_css +
      "</style></head><body>\n<h1>Whose words are these? " + escaped(model_name(r)) +
      " reads itself and others</h1><p>CLL is log p + entropy, per token: around 0 the model might "
      "have "
      "written it, far below it would not have. One run of one small model; what did not hold is "
      "said "
      "below.</p>";
  html += cards(r);
  html += "<h2>Its own voice, and others</h2>";
  if (r.corpora.empty()) {
    html += missing("Scoring");
  } else {
    html += "<div class=\"figures\">";
    html += figure(histogram_picture(r),
                   "<b>phi of each token.</b> What a model writes itself is "
                   "centred at 0; foreign text has a tail to the left.");
    html += figure(path_picture(r),
                   "<b>The running sum of phi:</b> a fair game for the model\u2019s own samples, a "
                   "steady loss for foreign text.");
    html += figure(
        confusion_picture(r),
        "<b>What perplexity confuses.</b> Each point is a text. Left and right is NLL, where "
        "own and foreign texts mix; up and down is CLL.");
    html += figure(auroc_picture(r),
                   "<b>Telling own from foreign</b> by one score of each text, with "
                   "95% intervals. One half is a coin; below it the score points the "
                   "wrong way.");
    html += "</div>" + texts_table(r);
  }
  html += hinted_section(r) + training_section(r);
  html += "<h2>What held in this run</h2>" + findings_table(findings) + made_of(r);
  return html + "</body></html>\n";
}

std::string make_summary(const results& r, const std::vector<finding>& findings) {
  std::string text;
  if (!r.corpora.empty()) {
    tool::table rows({"text", "texts", "tokens", "NLL", "entropy", "CLL", "z of all"});
    for (const std::string key : corpus_keys) {
      const corpus* c = r.find(key);
      if (c == nullptr) continue;
      rows.row({title_of(key), std::to_string(c->texts.size()), std::to_string(c->all.tokens),
                tool::fixed(c->all.mean_nll(), 3), tool::fixed(c->all.mean_entropy(), 3),
                tool::fixed(c->all.mean_phi(), 3), tool::fixed(c->all.z(), 1)});
    }
    text += rows.str() + "\n";
  }
  for (const auto& f : findings) {
    text += std::string(name(f.result)) + ": " + f.claim + ".\n    " + f.words + "\n";
  }
  return text;
}

}  // namespace real_model
