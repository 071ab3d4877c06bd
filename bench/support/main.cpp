// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// main of every benchmark: Google Benchmark's own, with the compiler and the libraries named in the
// results, and with the child processes that measure peak memory.

#include <benchmark/benchmark.h>

#include <Eigen/Core>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <idiolect/version.hpp>

#include "peak.hpp"

namespace idiolect::bench {
namespace {

std::map<std::string, peak_work>& peaks() {
  static std::map<std::string, peak_work> all;
  return all;
}

// The kernel's high-water mark of this process's resident memory, in bytes. Linux only.
double high_water_mark() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    if (double kilobytes = 0; word == "VmHWM:" && status >> kilobytes) return 1024 * kilobytes;
  }
  throw std::runtime_error("this system does not tell its peak memory (VmHWM)");
}

// In the child: the inputs are touched and the code is warmed up on a small batch, so that what
// comes on top is the computation's own.
void print_peak(const peak_work& work) {
  const auto batch = [](shape s) {
    std::vector<float> z(static_cast<std::size_t>(s.logits()));
    for (std::size_t i = 0; i < z.size(); ++i) z[i] = static_cast<float>(i * 7919 % 1000) * 0.01f;
    return std::pair(std::move(z), uniform_targets(s));
  };
  constexpr shape small{8, 512};
  auto [warm, warm_targets] = batch(small);
  auto [z, targets] = batch(peak_shape);
  work({warm.data(), small.rows, small.vocab}, warm_targets);
  const double before = high_water_mark();
  work({z.data(), peak_shape.rows, peak_shape.vocab}, targets);
  const double bytes = static_cast<double>(z.size() * sizeof(float));
  std::printf("%.6f\n", (high_water_mark() - before) / bytes);
}

double peak_of_child(const std::string& name) {
  const std::string line =
      "'" + std::filesystem::read_symlink("/proc/self/exe").string() + "' --peak " + name;
  std::FILE* const child = popen(line.c_str(), "r");
  double times = 0;
  const bool read = child != nullptr && std::fscanf(child, "%lf", &times) == 1;
  if (child == nullptr || pclose(child) != 0 || !read) throw std::runtime_error("failed: " + line);
  return times;
}

void name_versions() {
#if defined(__clang__)
  benchmark::AddCustomContext("compiler", "clang++ " __clang_version__);
#elif defined(__GNUC__)
  benchmark::AddCustomContext("compiler", "g++ " __VERSION__);
#endif
#if defined(__AVX512F__)
  benchmark::AddCustomContext("instructions", "AVX-512");
#elif defined(__AVX2__)
  benchmark::AddCustomContext("instructions", "AVX2");
#elif defined(__SSE2__)
  benchmark::AddCustomContext("instructions", "SSE2");
#elif defined(__ARM_NEON)
  benchmark::AddCustomContext("instructions", "NEON");
#endif
  const auto version = [](int a, int b, int c) {
    return std::to_string(a) + '.' + std::to_string(b) + '.' + std::to_string(c);
  };
  benchmark::AddCustomContext(
      "idiolect", version(IDIOLECT_VERSION_MAJOR, IDIOLECT_VERSION_MINOR, IDIOLECT_VERSION_PATCH));
  benchmark::AddCustomContext(
      "Eigen", version(EIGEN_WORLD_VERSION, EIGEN_MAJOR_VERSION, EIGEN_MINOR_VERSION));
}

}  // namespace

void measure_peak(const std::string& name, peak_work work) {
  peaks()[name] = std::move(work);
  benchmark::RegisterBenchmark(("peak_memory/" + name).c_str(),
                               [name](benchmark::State& state) {
                                 double times = 0;
                                 for (auto _ : state) times = peak_of_child(name);
                                 state.counters["times_logits"] = times;
                               })
      ->Iterations(1)
      ->Repetitions(1)
      ->UseRealTime()
      ->Unit(benchmark::kMillisecond);
}

}  // namespace idiolect::bench

int main(int argc, char** argv) {
  using namespace idiolect::bench;
  if (argc == 3 && std::string(argv[1]) == "--peak") {
    print_peak(peaks().at(argv[2]));
    return 0;
  }
  name_versions();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
