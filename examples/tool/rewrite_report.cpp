// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "tool/rewrite_report.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "tool/errors.hpp"
#include "tool/report.hpp"
#include "tool/sequences.hpp"
#include "tool/text.hpp"

namespace tool {

using json = nlohmann::ordered_json;

namespace {

json scores_of(const idiolect::sequence_score& s) {
  return {
      {"tokens", s.tokens}, {"mean_phi", s.mean_phi()}, {"z", s.z()}, {"mean_nll", s.mean_nll()}};
}

double rounded(double x) {
  return std::round(x * 1e4) / 1e4;
}

/// A piece with its line breaks and tabs spelled out.
std::string visible(const std::string& piece) {
  std::string text;
  for (const char c : piece) {
    if (c == '\n') {
      text += "\\n";
    } else if (c == '\t') {
      text += "\\t";
    } else if (c == '\r') {
      text += "\\r";
    } else {
      text += c;
    }
  }
  return text;
}

std::size_t columns(const std::string& text) {
  return static_cast<std::size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

}  // namespace

std::string rewritten_line(const idiolect::rewritten<const source_record*>& r, bool trace) {
  const json front = {{"how", name(r.how)}, {"line", r.record->line}};
  json line = {{"question", r.record->question}};
  line["answer"] = std::string(idiolect::complete_utf8(r.text));
  line["reference"] = r.record->answer;
  line["stop"] = name(r.stop);
  line["rollouts"] = r.rollouts;
  line["tries"] = r.tries;
  line["cll"] = scores_of(r.cll);
  if (r.reference_cll) line["reference_cll"] = scores_of(*r.reference_cll);
  json tokens = r.prompt.student;
  json lambda = json::array();
  for (const auto& t : r.tokens) {
    tokens.push_back(t.token);
    lambda.push_back(rounded(t.lambda));
  }
  line["tokens"] = std::move(tokens);
  line["prompt_tokens"] = r.prompt.student.size();
  line["lambda"] = std::move(lambda);
  // Positions from here on had no teacher any more.
  const auto alone =
      std::ranges::find_if(r.tokens, [](const auto& t) { return std::isnan(t.teacher_log_prob); });
  line["student_from"] = alone - r.tokens.begin();
  if (trace) {
    json teacher = json::array();
    json student = json::array();
    json phi = json::array();
    for (const auto& t : r.tokens) {
      teacher.push_back(t.teacher_log_prob);
      student.push_back(t.student.log_prob);
      phi.push_back(t.student.phi);
    }
    line["teacher_log_prob"] = std::move(teacher);
    line["log_prob"] = std::move(student);
    line["phi"] = std::move(phi);
  }
  // What passes through stays as its bytes are: {front, "id":..., line, others}.
  std::string text = dump(front);
  text.back() = ',';
  if (!r.record->id.empty()) text += "\"id\":" + r.record->id + ",";
  text += std::string_view(dump(line)).substr(1);
  text.pop_back();
  return text + r.record->others + "}";
}

void rewrite_totals::scores::add(const json& line, const char* name) {
  if (!line.contains(name)) return;
  const json& s = line.at(name);
  if (!s.at("mean_phi").is_number() || !s.at("mean_nll").is_number()) return;  // not finite
  const auto n = s.at("tokens").get<double>();
  ++texts;
  tokens += n;
  phi += n * s.at("mean_phi").get<double>();
  nll += n * s.at("mean_nll").get<double>();
}

void rewrite_totals::add(const std::string& text, const std::string& where) {
  try {
    const json line = json::parse(text);
    const auto how = line.at("how").get<std::string>();
    ++records_;
    rollout_ += how == "rollout";
    hinted_ += how == "hinted";
    rollout_tries_ += line.at("rollouts").get<index_t>();
    hinted_tries_ += line.at("tries").get<index_t>();
    before_.add(line, "reference_cll");
    if (how == "rejected") ++rejected_by_stop_[line.at("stop").get<std::string>()];
    if (how != "rejected") kept_.add(line, "cll");
    if (how == "hinted") kept_hinted_.add(line, "cll");
  } catch (const json::exception&) {
    fail(where, "is damaged: expected a record that this tool wrote; add --restart to begin anew");
  }
}

json rewrite_totals::as_json() const {
  const auto of = [](const scores& s) {
    return json{{"texts", s.texts},
                {"tokens", s.tokens},
                {"mean_phi", s.mean(s.phi)},
                {"mean_nll", s.mean(s.nll)}};
  };
  return {{"records", records_},
          {"rollout", rollout_},
          {"hinted", hinted_},
          {"rejected", records_ - rollout_ - hinted_},
          {"rejected_by_stop", rejected_by_stop_},
          {"rollout_tries", rollout_tries_},
          {"hinted_tries", hinted_tries_},
          {"references", of(before_)},
          {"kept", of(kept_)},
          {"kept_hinted", of(kept_hinted_)}};
}

std::string rewrite_totals::table() const {
  const auto share = [&](index_t n) {
    return std::to_string(n) + " (" +
           percent(records_ > 0 ? static_cast<double>(n) / static_cast<double>(records_) : 0) + ")";
  };
  tool::table counts({"records", std::to_string(records_)});
  counts.row({"accepted from the student alone", share(rollout_)});
  counts.row({"accepted with the hint", share(hinted_)});
  counts.row({"verified yield", share(rollout_ + hinted_)});
  counts.row({"rejected", share(records_ - rollout_ - hinted_)});
  for (const auto& [stop, n] : rejected_by_stop_) {
    counts.row({"  last try: " + stop, std::to_string(n)});
  }
  counts.row({"tries", std::to_string(rollout_tries_) + " + " + std::to_string(hinted_tries_)});
  tool::table means({"", "texts", "tokens", "CLL (mean phi)", "mean NLL"});
  const auto row = [&](const char* what, const scores& s) {
    if (s.texts == 0) return;
    means.row({what, std::to_string(s.texts), fixed(s.tokens, 0), fixed(s.mean(s.phi), 3),
               fixed(s.mean(s.nll), 3)});
  };
  row("references, before", before_);
  row("kept texts, after", kept_);
  row("of them with the hint", kept_hinted_);
  return counts.str() + "\n" + means.str();
}

bool is_accepted(const std::string& line) {
  return !line.starts_with("{\"how\":\"rejected\"");
}

std::string shown(const std::string& text, const loaded_model& m) {
  const json line = json::parse(text);
  if (line.at("how") != "hinted") return {};
  constexpr std::size_t width = 96;
  std::string out = "  line " + std::to_string(line.at("line").get<index_t>()) + ": " +
                    visible(printable(line.at("question").get<std::string>())) + "\n  reference: " +
                    visible(printable(line.at("reference").get<std::string>())) + "\n";
  const auto tokens = line.at("tokens").get<std::vector<token_id>>();
  const auto first = line.at("prompt_tokens").get<std::size_t>();
  const auto alone = line.at("student_from").get<std::size_t>();
  std::string above;
  std::string below;
  const auto flush = [&] {
    if (!above.empty()) out += "    " + above + "\n    " + below + "\n";
    above.clear();
    below.clear();
  };
  for (std::size_t i = first; i < tokens.size(); ++i) {
    const std::string piece = visible(spelling(m, tokens[i]));
    const std::size_t k = i - first;
    const auto tenths = static_cast<int>(10 * line.at("lambda").at(k).get<double>());
    const char who = k >= alone ? '=' : static_cast<char>('0' + std::clamp(tenths, 0, 9));
    if (columns(above) + columns(piece) > width) flush();
    above += piece;
    below += std::string(columns(piece), who);
  }
  flush();
  return out;
}

}  // namespace tool
