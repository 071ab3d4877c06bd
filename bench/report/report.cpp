// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Turns the output of the benchmarks into a page of docs/results:
//
//   bench_report <prefix> <machine> <flags> <command> <results.json>...
//
// writes <prefix>.md, <prefix>.json (every median with its quartiles) and, for
// bench/report/picture.gp, the data of the picture beside the results that were read: shares.dat,
// speeds.dat, sweep.dat.

#include <cmath>
#include <iostream>
#include <span>
#include <sstream>

#include "asked.hpp"
#include "results.hpp"
#include "text.hpp"

namespace idiolect::bench {
namespace {

constexpr const char* shape_names[] = {"A", "B", "C", "D"};

std::string name_of(const std::string& operation, const std::string& shape, int threads,
                    const std::string& scalar = "fp32") {
  return operation + '/' + scalar + '/' + shape + '/' + std::to_string(threads);
}

class report {
 public:
  report(std::vector<results> all, std::string machine, std::string flags, std::string command)
      : all_(std::move(all)),
        machine_(std::move(machine)),
        flags_(std::move(flags)),
        command_(std::move(command)) {}

  void write_page(std::ostream& out, const std::string& picture) const {
    const auto& context = backend().context;
    const auto date = context.at("date").get<std::string>().substr(0, 10);
    out << "# CPU, " << date << ": the passes, the machine and the peers\n\n"
        << "Machine: " << machine_ << ". Compiler: " << context.value("compiler", "?") << ' '
        << flags_ << " (" << context.value("instructions", "?") << "), Eigen "
        << context.value("Eigen", "?") << ", idiolect " << context.value("idiolect", "?") << ".";
    const auto peers = with_peer();
    if (!peers.empty()) {
      out << " Peers: ";
      for (std::size_t i = 0; i < peers.size(); ++i) out << (i > 0 ? ", " : "") << peers[i]->peer;
      out << ".";
    }
    out << "\n\n    " << command_ << "\n\n"
        << "fp32 and milliseconds where nothing else is said, by 1 / 2 threads; medians of "
        << repetitions()
        << " repetitions in random\norder. Ratios are of medians in one process. The "
        << "quartiles of a time are " << rounded(100 * spread(0.5), "%.0f")
        << "% of it apart in the\n"
        << "middle, " << rounded(100 * spread(0.95), "%.0f") << "% in one case of twenty. Shapes: "
        << "A = 256 x 32000, B = 128 x 151936, C = 2048 x 512,\nD = 1 x 151936.\n\n"
        << busy_note() << "![Shares of the limits, speed against the peers, time against V]("
        << picture << ")\n\n";
    write_asked(out);
    write_limits(out);
    write_peers(out);
    write_scalars(out);
    write_sweep(out);
    write_memory(out);
    write_accuracy(out);
    write_hinted(out);
  }

  [[nodiscard]] nlohmann::json condensed() const {
    nlohmann::json page{{"machine", machine_}, {"flags", flags_}, {"command", command_}};
    for (const auto& r : all_) {
      auto& part = page["executables"][r.executable];
      part["context"] = r.context;
      part["context"].erase("executable");  // a path of this machine
      part["context"].erase("host_name");
      for (const auto& [name, f] : r.figures) {
        auto& entry = part["ms"][name];
        entry = {{"median", f.median()},
                 {"quartiles", {f.quantile(0.25), f.quantile(0.75)}},
                 {"repetitions", f.times.size()}};
        if (!f.label.empty()) entry["label"] = f.label;
        if (!f.counters.empty()) entry["counters"] = f.counters;
      }
    }
    return page;
  }

  void write_shares(std::ostream& out) const {
    for (const char* const shape : shape_names) {
      for (const auto& a : asked_shares) {
        const auto p = share_of(a.operation, a.other, shape);
        write_bars(out, short_name(a.operation) + ", " + shape, p);
      }
    }
  }
  void write_speeds(std::ostream& out) const {
    for (const auto& [peer, operation, r] : comparisons()) {
      write_bars(out, r->peer + ", " + doing(peer), speed(*r, operation, peer, "B"));
    }
  }
  void write_sweep_data(std::ostream& out) const {
    const auto per_logit = [&](const std::string& operation, const std::string& shape,
                               int threads) {
      const figure* const f = backend().find(name_of(operation, shape, threads));
      return f != nullptr ? 1e6 * f->median() / f->counters.at("logits") : std::nan("");
    };
    for (const int vocab : sweep()) {
      out << vocab;
      for (const int threads : {1, 2}) {
        out << ' ' << per_logit("statistics", 'V' + std::to_string(vocab), threads) << ' '
            << per_logit("gradient_in_place", 'V' + std::to_string(vocab), threads) << ' '
            << per_logit("limit_read", "sweep", threads) << ' '
            << per_logit("limit_rewrite", "sweep", threads);
      }
      out << '\n';
    }
  }

 private:
  struct comparison {
    std::string peer;
    std::string operation;
    const results* in;
  };

  [[nodiscard]] const results& backend() const {
    for (const auto& r : all_) {
      if (r.executable == "bench_backend") return r;
    }
    throw std::runtime_error("the results of bench_backend are missing");
  }
  [[nodiscard]] std::vector<const results*> with_peer() const {
    std::vector<const results*> found;
    for (const auto& r : all_) {
      if (!r.peer.empty()) found.push_back(&r);
    }
    return found;
  }
  [[nodiscard]] std::vector<comparison> comparisons() const {
    std::vector<comparison> found;
    for (const results* const r : with_peer()) {
      for (const auto& [peer, operation] : std::vector<std::pair<std::string, std::string>>{
               {"onednn_log_softmax", "statistics"},
               {"eigen_expressions", "gradient_in_place"},
               {"torch_cross_entropy", "gradient_in_place_nll"},
               {"torch_idft", "gradient_in_place"},
               {"torch_idft_lean", "gradient_in_place"}}) {
        if (r->find(name_of(peer, "B", 1)) != nullptr) found.push_back({peer, operation, r});
      }
    }
    return found;
  }

  static pair figures(const results& r, const std::string& operation, const std::string& shape,
                      const std::string& scalar = "fp32") {
    return {r.time(name_of(operation, shape, 1, scalar)),
            r.time(name_of(operation, shape, 2, scalar))};
  }
  static pair quotient(const pair& a, const pair& b) {
    return {ratio(a[0], b[0]), ratio(a[1], b[1])};
  }
  [[nodiscard]] pair share_of(const std::string& operation, const std::string& limit,
                              const std::string& shape) const {
    return quotient(figures(backend(), limit, shape), figures(backend(), operation, shape));
  }
  static pair speed(const results& r, const std::string& operation, const std::string& peer,
                    const std::string& shape) {
    return quotient(figures(r, peer, shape), figures(r, operation, shape));
  }

  static std::string short_name(const std::string& operation) {
    if (operation == "gradient_out_of_place") return "out of place";
    if (operation == "gradient_in_place" || operation == "gradient_in_place_nll") return "in place";
    return operation;
  }
  // A line of gnuplot's: the label, broken at its commas, and two heights.
  static void write_bars(std::ostream& out, std::string label, const pair& p) {
    if (!p[0] || !p[1]) return;
    for (std::size_t at; (at = label.find(", ")) != std::string::npos;) label.replace(at, 2, "\\n");
    out << '"' << label << "\" " << *p[0] << ' ' << *p[1] << '\n';
  }
  // What a peer does, in words.
  static std::string doing(const std::string& peer) {
    if (peer == "onednn_log_softmax") return "log-softmax, forward";
    if (peer == "eigen_expressions") return "IDFT, expressions";
    if (peer == "torch_cross_entropy") return "cross-entropy";
    if (peer == "torch_idft") return "IDFT, authors' form";
    if (peer == "torch_idft_lean") return "IDFT, shortest form";
    return peer;
  }

  [[nodiscard]] std::size_t repetitions() const {
    const figure* const f = backend().find(name_of("limit_read", "B", 1));
    return f != nullptr ? f->times.size() : 0;
  }
  [[nodiscard]] double spread(double part) const {
    figure spreads;
    for (const auto& [name, f] : backend().figures) {
      if (f.times.size() > 1) spreads.times.push_back(f.spread());
    }
    return spreads.times.empty() ? 0 : spreads.quantile(part);
  }
  // The part of the time that others had the calling thread's processor: from reads of large
  // batches, which need no preparation and keep all threads equally busy.
  [[nodiscard]] double taken_away(int threads) const {
    double wall = 0, own = 0;
    for (const auto& [name, f] : backend().figures) {
      if (!name.starts_with("statistics") || !name.ends_with('/' + std::to_string(threads)))
        continue;
      if (!f.counters.contains("logits") || f.counters.at("logits") < 4e6) continue;
      for (const double t : f.times) wall += t;
      for (const double t : f.processor_times) own += t;
    }
    return wall > 0 ? std::max(0.0, 1 - own / wall) : 0;
  }
  [[nodiscard]] std::string busy_note() const {
    const auto percent = in_shares({taken_away(1), taken_away(2)});
    if (std::max(taken_away(1), taken_away(2)) < 0.1) {
      return "Others had a processor for " + percent + " of the time.\n\n";
    }
    return "**The machine was busy: others had a processor for " + percent +
           " of the time. OpenMP's threads, which\nwait by spinning, suffer most. Not to be "
           "quoted.**\n\n";
  }
  [[nodiscard]] std::vector<int> sweep() const {
    std::vector<int> found;
    for (const auto& name : backend().order) {
      const std::string start = "statistics/fp32/V";
      if (name.starts_with(start) && name.ends_with("/1"))
        found.push_back(std::stoi(name.substr(start.size())));
    }
    return found;
  }

  // "yes", or by how much it is missed: reached / asked - 1, or its inverse where less is better.
  static std::string verdict(const pair& reached, const std::array<double, 2>& asked, bool more) {
    row parts;
    for (std::size_t t = 0; t < 2; ++t) {
      if (!reached[t]) {
        parts.emplace_back("not measured");
      } else if (more ? *reached[t] >= asked[t] : *reached[t] <= asked[t]) {
        parts.emplace_back("yes");
      } else {
        parts.push_back("**missed by " +
                        rounded(100 * std::abs(*reached[t] / asked[t] - 1), "%.0f") + "%**");
      }
    }
    return parts[0] == parts[1] ? parts[0] : parts[0] + " / " + parts[1];
  }

  void write_asked(std::ostream& out) const {
    out << "## Asked and reached\n\n";
    write_head(out, {"what", "shape", "asked", "reached", ""});
    for (const auto& a : asked_shares) {
      const auto reached = share_of(a.operation, a.other, a.shape);
      write_row(out, {a.text, a.shape, in_shares({a.least[0], a.least[1]}), in_shares(reached),
                      verdict(reached, a.least, true)});
    }
    for (const auto& a : asked_speeds) {
      bool found = false;
      for (const auto& [peer, operation, r] : comparisons()) {
        if (peer != a.other || operation != a.operation) continue;
        found = true;
        const auto reached = speed(*r, operation, peer, a.shape);
        write_row(out, {a.text + (", " + r->peer), a.shape, in_times({a.least[0], a.least[1]}),
                        in_times(reached), verdict(reached, a.least, true)});
      }
      if (!found) {
        write_row(out, {a.text, a.shape, in_times({a.least[0], a.least[1]}), "-", "not measured"});
      }
    }
    if (const auto extra = counter("peak_memory/gradient_in_place", "times_logits")) {
      write_row(out,
                {"memory beyond the logits, gradient in place", "512 x 151936",
                 rounded(100 * asked_memory, "%.0f") + "%", rounded(100 * *extra, "%.2f") + "%",
                 verdict({extra, extra}, {asked_memory, asked_memory}, false)});
    }
    for (const auto& a : asked_errors) {
      if (const auto error = counter("accuracy", a.counter)) {
        write_row(out, {a.text, "see below", number(a.error), rounded(*error, "%.2g"),
                        verdict({error, error}, {a.error, a.error}, false)});
      }
    }
    out << '\n';
  }

  [[nodiscard]] std::optional<double> counter(const std::string& name,
                                              const std::string& key) const {
    const figure* const f = backend().find(name);
    if (f == nullptr || !f->counters.contains(key)) return std::nullopt;
    return f->counters.at(key);
  }

  void write_limits(std::ostream& out) const {
    out << "## The passes and the limits\n\n"
        << "A limit moves the same bytes and computes nothing: `read` every logit once, `stream` a "
           "read and a\n"
        << "write past the caches to other memory, `rewrite` a read and a write back. A share is "
           "the limit's\n"
        << "time over ours.\n\n";
    write_head(out, {"shape", "read", "statistics", "share", "with varentropy", "stream",
                     "gradient out of place", "share", "rewrite", "gradient in place", "share"});
    for (const char* const s : shape_names) {
      const auto& b = backend();
      write_row(
          out, {s, in_numbers(figures(b, "limit_read", s)), in_numbers(figures(b, "statistics", s)),
                in_shares(share_of("statistics", "limit_read", s)),
                in_numbers(figures(b, "scores", s)), in_numbers(figures(b, "limit_streaming", s)),
                in_numbers(figures(b, "gradient_out_of_place", s)),
                in_shares(share_of("gradient_out_of_place", "limit_streaming", s)),
                in_numbers(figures(b, "limit_rewrite", s)),
                in_numbers(figures(b, "gradient_in_place", s)),
                in_shares(share_of("gradient_in_place", "limit_rewrite", s))});
    }
    out << "\nOther ways to move the same bytes, and the gradient added to an existing one:\n\n";
    write_head(out, {"shape", "read without prefetch", "memcpy", "gradient accumulated"});
    for (const char* const s : shape_names) {
      write_row(out, {s, in_numbers(figures(backend(), "limit_read_plain", s)),
                      in_numbers(figures(backend(), "limit_memcpy", s)),
                      in_numbers(figures(backend(), "gradient_accumulated", s))});
    }
    out << '\n';
  }

  void write_peers(std::ostream& out) const {
    if (comparisons().empty()) return;
    out << "## Peers\n\n"
        << "The peer's time, and how many times as fast ours is in the same process: the "
           "statistics (by\n"
        << "`loss` of `nll`, report included) against oneDNN, and the gradient in place of the "
           "same "
           "loss\n"
        << "against the others: cross-entropy or IDFT. LibTorch runs forward and backward\n"
        << "with an allocator that keeps its memory (M_MMAP_MAX 0, M_TRIM_THRESHOLD off); IDFT "
           "once in the\n"
        << "operations of its authors' trainer, once in as few as Torch allows.\n\n";
    row head{"peer"};
    for (const char* const s : shape_names) {
      head.emplace_back(s);
      head.emplace_back("times");
    }
    write_head(out, head);
    for (const auto& [peer, operation, r] : comparisons()) {
      row cells{r->peer + ", " + doing(peer)};
      for (const char* const s : shape_names) {
        cells.push_back(in_numbers(figures(*r, peer, s)));
        cells.push_back(in_times(speed(*r, operation, peer, s)));
      }
      write_row(out, cells);
    }
    out << '\n';
  }

  void write_scalars(std::ostream& out) const {
    out << "## Scalar types, shape B\n\nIn brackets the share of the limit, for as many bytes.\n\n";
    const std::pair<const char*, double> scalars[] = {
        {"fp32", 4}, {"fp64", 8}, {"bf16", 2}, {"fp16", 2}};
    write_head(out, {"", "fp32", "fp64", "bf16", "fp16"});
    for (const auto& a : asked_shares) {
      const std::string operation = a.operation;
      row cells{operation == "statistics" ? operation : "gradient " + short_name(operation)};
      const auto limit = figures(backend(), a.other, "B");
      for (const auto& [scalar, bytes] : scalars) {
        const auto ours = figures(backend(), operation, "B", scalar);
        pair shares = quotient(limit, ours);
        for (auto& x : shares) x = ratio(x, 4 / bytes);
        cells.push_back(in_numbers(ours) + " (" + in_shares(shares) + ")");
      }
      write_row(out, cells);
    }
    out << '\n';
  }

  void write_sweep(std::ostream& out) const {
    const auto limit = [&](const std::string& operation) {
      return figures(backend(), operation, "sweep");
    };
    out << "## Over the vocabulary\n\nAbout 2^24 logits in rows of V, as shares of the limits.\n\n";
    write_head(out, {"V", "statistics", "gradient in place"});
    for (const int vocab : sweep()) {
      const auto s = 'V' + std::to_string(vocab);
      write_row(out, {std::to_string(vocab),
                      in_shares(quotient(limit("limit_read"), figures(backend(), "statistics", s))),
                      in_shares(quotient(limit("limit_rewrite"),
                                         figures(backend(), "gradient_in_place", s)))});
    }
    out << '\n';
  }

  void write_memory(std::ostream& out) const {
    out << "## Peak memory beyond the logits\n\n"
        << "512 x 151936, two threads, the peak of resident memory in a process of its own, as a "
           "multiple of\n"
        << "the logits.\n\n";
    write_head(out, {"computation", "times the logits"});
    for (const auto& r : all_) {
      for (const auto& name : r.order) {
        const std::string start = "peak_memory/";
        if (!name.starts_with(start)) continue;
        const auto operation = name.substr(start.size());
        const auto ours =
            operation == "statistics" ? operation : "gradient " + short_name(operation);
        write_row(out, {r.peer.empty() ? "idiolect, " + ours : r.peer + ", " + doing(operation),
                        rounded(r.figures.at(name).counters.at("times_logits"), "%.3f")});
      }
    }
    out << '\n';
  }

  void write_accuracy(std::ostream& out) const {
    const figure* const f = backend().find("accuracy");
    if (f == nullptr) return;
    const auto error = [&](const char* key) { return rounded(f->counters.at(key), "%.2g"); };
    out << "## Accuracy\n\n"
        << "Largest errors against long double over rows that are hard to sum "
           "(tests/support/rows.hpp), V from\n"
        << "1 to 151936: log p " << error("log_prob") << " and H " << error("entropy")
        << " of max(1, |value|); the gradient of plain likelihood\n"
        << error("gradient") << " of 1/N, of IDFT " << error("gradient_idft")
        << " of w/N, where w = p^gamma carries gamma times the error of log p.\n\n";
  }

  void write_hinted(std::ostream& out) const {
    for (const auto& r : all_) {
      if (r.executable != "bench_hinted") continue;
      out << "## Sampler and hinted step\n\nMicroseconds, one thread, V = 151936, temperature 0.3, "
             "top-p 0.95.\n\n";
      write_head(out, {"", "row", "microseconds"});
      for (const auto& name : r.order) {
        const figure& f = r.figures.at(name);
        const auto slash = std::min(name.find('/'), name.size());
        write_row(out, {name.substr(0, slash), f.label.empty() ? name.substr(slash) : f.label,
                        number(1e3 * f.median())});
      }
      out << '\n';
    }
  }

  std::vector<results> all_;
  std::string machine_, flags_, command_;
};

void save(const std::filesystem::path& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  if (!file.flush()) throw std::runtime_error("cannot write " + path.string());
}
template <class Write>
void save_written(const std::filesystem::path& path, Write&& write) {
  std::ostringstream text;
  write(text);
  save(path, text.str());
}

}  // namespace
}  // namespace idiolect::bench

int main(int argc, char** argv) try {
  using namespace idiolect::bench;
  const std::span<char*> arguments(argv, static_cast<std::size_t>(argc));
  if (arguments.size() < 6) {
    std::cerr << "usage: bench_report <prefix> <machine> <flags> <command> <results.json>...\n";
    return 2;
  }
  const std::string prefix = arguments[1];
  std::vector<results> all;
  for (const char* const path : arguments.subspan(5)) all.push_back(read_results(path));
  const report r(std::move(all), arguments[2], arguments[3], arguments[4]);
  const auto data = std::filesystem::path(arguments[5]).parent_path();
  const auto picture = std::filesystem::path(prefix).filename().string() + ".svg";
  save_written(prefix + ".md", [&](std::ostream& out) { r.write_page(out, picture); });
  save(prefix + ".json", r.condensed().dump(1) + '\n');
  save_written(data / "shares.dat", [&](std::ostream& out) { r.write_shares(out); });
  save_written(data / "speeds.dat", [&](std::ostream& out) { r.write_speeds(out); });
  save_written(data / "sweep.dat", [&](std::ostream& out) { r.write_sweep_data(out); });
} catch (const std::exception& e) {
  std::cerr << "bench_report: " << e.what() << '\n';
  return 1;
}
