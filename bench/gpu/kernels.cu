// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The CUDA backend's kernels beside what the device's memory allows:
//
//   bench_gpu <out.json> [seconds a figure]
//
// Gaussian logits of standard deviation 2.5, drawn on the device. Every call's result is compared
// with the plain backend in fp64 on some rows before it is timed; a wrong one ends the program. The
// program ends with 4 where there is no device.

#include <cstdlib>
#include <iostream>
#include <span>
#include <sstream>
#include <string>
#include <type_traits>
#include <vector>

#include <idiolect/backend/cuda/hinted_step.cuh>
#include <idiolect/backend/cuda/loss.cuh>
#include <idiolect/backend/cuda/score.cuh>
#include <idiolect/backend/reference/reference.hpp>
#include <idiolect/cll/score.hpp>
#include <idiolect/core/philox.hpp>
#include <idiolect/hinted/lambda.hpp>
#include <idiolect/loss/gates/idft.hpp>
#include <idiolect/loss/loss.hpp>

#include "limits.cuh"
#include "measure.cuh"

namespace idiolect::bench {
namespace {

template <class T>
__global__ void draw_logits(T* to, index_t n, std::uint64_t seed) {
  const index_t step = static_cast<index_t>(gridDim.x) * blockDim.x;
  for (index_t i = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    const philox_words w = philox{.seed = seed}.bits(static_cast<std::uint64_t>(i));
    const float u = (static_cast<float>(w[0]) + 0.5f) * 0x1.0p-32f;
    const float v = static_cast<float>(w[1]) * 0x1.0p-32f;
    to[i] = store<T>(2.5f * sqrtf(-2 * logf(u)) * cospif(2 * v));
  }
}

void agree(const std::string& what, double found, double expected, double tolerance) {
  const double unit = std::fabs(expected) > 1 ? std::fabs(expected) : 1;
  if (std::fabs(found - expected) <= tolerance * unit) return;
  std::ostringstream text;
  text << "wrong result: " << what << " is " << found << ", not " << expected << " to "
       << tolerance;
  throw std::runtime_error(text.str());
}

template <class T>
constexpr const char* scalar_name = std::is_same_v<T, float> ? "fp32" : "bf16";

/// One shape and scalar type: its buffers, targets and workspace.
template <class T>
class batch {
 public:
  batch(session& s, index_t rows, index_t vocab)
      : session_(s), rows_(rows), vocab_(vocab), sets_(s.sets_for(bytes())), targets_(rows) {
    workspace_bytes_ = std::max(loss_workspace_bytes(rows), score_workspace_bytes(rows));
    workspace_.emplace(static_cast<index_t>(workspace_bytes_));
    for (index_t k = 0; k < sets_; ++k) {
      logits_.emplace_back(elements());
      gradients_.emplace_back(elements());
      draw_logits<<<4096, 256, 0, s.stream()>>>(logits_.back().data(), elements(),
                                                static_cast<std::uint64_t>(k + 1));
      check(cudaGetLastError(), "drawing logits");
    }
    constexpr philox choice{.seed = 99};
    for (index_t i = 0; i < rows; ++i) {
      host_targets_.push_back(static_cast<token_id>(
          choice.below(static_cast<std::uint64_t>(vocab), static_cast<std::uint64_t>(i))));
    }
    check(cudaMemcpy(targets_.data(), host_targets_.data(), host_targets_.size() * sizeof(token_id),
                     cudaMemcpyHostToDevice),
          "targets");
    check(cudaStreamSynchronize(s.stream()), "drawing logits");
  }

  void measure_limits() {
    const auto n = static_cast<index_t>(bytes() / sizeof(uint4));
    const auto blocks = static_cast<unsigned>(2 * session_.device().multiProcessorCount);
    const auto vectors = [](const buffer<T>& b) { return reinterpret_cast<uint4*>(b.data()); };
    const cudaStream_t stream = session_.stream();
    run("limit read", bytes(), "", [&](index_t k) {
      limits::read<<<blocks, limits::threads, 0, stream>>>(vectors(logits(k)), n,
                                                           vectors(gradient(k)));
    });
    run("limit copy", 2 * bytes(), "", [&](index_t k) {
      limits::copy<<<blocks, limits::threads, 0, stream>>>(vectors(logits(k)), vectors(gradient(k)),
                                                           n, 0);
    });
    run("limit copy, of the runtime", 2 * bytes(), "", [&](index_t k) {
      check(cudaMemcpyAsync(gradient(k).data(), logits(k).data(), static_cast<std::size_t>(bytes()),
                            cudaMemcpyDeviceToDevice, stream),
            "cudaMemcpyAsync");
    });
    run("limit rewrite", 2 * bytes(), "", [&](index_t k) {
      limits::copy<<<blocks, limits::threads, 0, stream>>>(vectors(gradient(k)),
                                                           vectors(gradient(k)), n, 0);
    });
  }

  void measure_statistics() {
    check_scores(score(where(), input(0), targets()).wait());
    run("scores", bytes(), "limit read",
        [&](index_t k) { (void)score(where(), input(k), targets()); });

    check_loss(loss(where(), input(0), targets(), idft{}).wait());
    run("statistics", bytes(), "limit read",
        [&](index_t k) { (void)loss(where(), input(k), targets(), idft{}); });
  }

  void measure_gradients() {
    poison(0);
    check_loss(loss_and_gradient(where(), input(0), targets(), idft{}, output(0)).wait());
    check_gradient();
    run("gradient out of place", 2 * bytes(), "limit copy", [&](index_t k) {
      (void)loss_and_gradient(where(), input(k), targets(), idft{}, output(k));
    });

    refresh(0);
    check_loss(loss_and_gradient(where(), output(0), targets(), idft{}, output(0)).wait());
    check_gradient();
    session_.time(
        named("gradient in place", 2 * bytes(), "limit rewrite"), sets_,
        [&](index_t k) {
          (void)loss_and_gradient(where(), output(k), targets(), idft{}, output(k));
        },
        [&](index_t k) { refresh(k); });
  }

  /// Two rows a text: the first half of the batch are teachers', the second students'.
  void measure_hinted_step(index_t texts) {
    if (2 * texts > rows_) throw std::runtime_error("the batch has too few rows");
    const hinted_rule<linear_lambda> rule{
        .schedule = {.beta = 3}, .teacher_first_token = false, .seed = 7};
    std::vector<buffer<hinted_request<T>>> requests;
    buffer<hinted_answer> answers(texts);
    buffer<unsigned char> workspace(static_cast<index_t>(hinted_workspace_bytes<T>(texts, vocab_)));
    const cuda place{session_.stream(),
                     {workspace.data(), static_cast<std::size_t>(workspace.size())}};
    const double both_rows = 2 * static_cast<double>(texts * vocab_) * sizeof(T);
    const index_t sets = std::min(session_.sets_for(both_rows), rows_ / (2 * texts));
    for (index_t k = 0; k < sets; ++k) {
      std::vector<hinted_request<T>> all;
      for (index_t i = 0; i < texts; ++i) {
        hinted_request<T> r;
        r.teacher = input(0).row(2 * texts * k + i);
        r.student = input(0).row(2 * texts * k + texts + i);
        r.size = vocab_;
        r.place = i;
        r.record = static_cast<std::uint64_t>(i);
        r.position = static_cast<std::uint64_t>(k);
        r.sampler.temperature = 0.3;
        r.sampler.top_p = 0.95;
        r.sampler.order = sampler_order::temperature_last;
        all.push_back(r);
      }
      requests.emplace_back(texts);
      check(cudaMemcpy(requests.back().data(), all.data(), all.size() * sizeof all[0],
                       cudaMemcpyHostToDevice),
            "requests");
    }
    hinted_step(place, requests[0].data(), answers.data(), texts, texts, vocab_, rule);
    check(cudaStreamSynchronize(session_.stream()), "hinted_step");
    const hinted_answer first = answers.download(0, 1)[0];
    if (first.status != hinted_status::ok) throw std::runtime_error("wrong result: no token");
    const auto student = logits(0).download(texts * vocab_, vocab_);
    const auto expected = score(reference{}, student, std::vector<token_id>{first.token.token})[0];
    agree("a student's phi", first.token.student.phi, expected.phi, 1e-5);
    agree("a student's entropy", first.token.student.entropy, expected.entropy, 1e-5);

    figure f = named("hinted step, " + std::to_string(texts) + (texts == 1 ? " text" : " texts"),
                     both_rows, "");
    f.rows = texts;
    session_.time(f, sets, [&](index_t k) {
      hinted_step(place, requests[static_cast<std::size_t>(k)].data(), answers.data(), texts, texts,
                  vocab_, rule);
    });
  }

 private:
  [[nodiscard]] index_t elements() const { return rows_ * vocab_; }
  [[nodiscard]] double bytes() const { return static_cast<double>(elements()) * sizeof(T); }
  [[nodiscard]] const buffer<T>& logits(index_t k) const {
    return logits_[static_cast<std::size_t>(k)];
  }
  [[nodiscard]] const buffer<T>& gradient(index_t k) const {
    return gradients_[static_cast<std::size_t>(k)];
  }
  [[nodiscard]] matrix_view<const T> input(index_t k) const {
    return {logits(k).data(), rows_, vocab_};
  }
  [[nodiscard]] matrix_view<T> output(index_t k) const {
    return {gradient(k).data(), rows_, vocab_};
  }
  [[nodiscard]] std::span<const token_id> targets() const {
    return {targets_.data(), static_cast<std::size_t>(rows_)};
  }
  [[nodiscard]] cuda where() const {
    return {session_.stream(), {workspace_->data(), workspace_bytes_}};
  }
  [[nodiscard]] figure named(std::string name, double moved, std::string limit) const {
    figure f;
    f.name = std::move(name);
    f.scalar = scalar_name<T>;
    f.rows = rows_;
    f.vocab = vocab_;
    f.bytes = moved;
    f.limit = std::move(limit);
    return f;
  }
  void run(const char* name, double moved, const char* limit,
           const std::function<void(index_t)>& call) {
    session_.time(named(name, moved, limit), sets_, call);
  }
  void refresh(index_t k) const {
    check(cudaMemcpyAsync(gradient(k).data(), logits(k).data(), static_cast<std::size_t>(bytes()),
                          cudaMemcpyDeviceToDevice, session_.stream()),
          "cudaMemcpyAsync");
  }
  // So that an element that nothing writes is NaN.
  void poison(index_t k) const {
    check(cudaMemsetAsync(gradient(k).data(), 0xff, static_cast<std::size_t>(bytes()),
                          session_.stream()),
          "cudaMemsetAsync");
  }

  /// Rows that are compared: the ends, and some between.
  [[nodiscard]] std::vector<index_t> checked() const {
    return {0, 1, rows_ / 3, rows_ / 2, rows_ - 1};
  }
  [[nodiscard]] std::vector<token_id> target_of(index_t i) const {
    return {host_targets_[static_cast<std::size_t>(i)]};
  }
  void check_scores(const std::vector<token_score>& found) const {
    for (const index_t i : checked()) {
      const auto row = logits(0).download(i * vocab_, vocab_);
      const auto expected = score(reference{}, row, target_of(i))[0];
      const auto& s = found[static_cast<std::size_t>(i)];
      agree("log p", s.log_prob, expected.log_prob, 1e-5);
      agree("H", s.entropy, expected.entropy, 1e-5);
      agree("phi", s.phi, expected.phi, 1e-5);
      agree("the varentropy", s.varentropy, expected.varentropy, 1e-5);
    }
    double sum = 0;
    for (const token_score& s : found) sum += s.phi;
    mean_phi_ = sum / static_cast<double>(rows_);
  }
  // The mean over all rows, against that of the scores, which were compared.
  void check_loss(const loss_report& found) const {
    agree("the number of tokens", static_cast<double>(found.valid), static_cast<double>(rows_), 0);
    agree("the mean phi", found.phi.mean, mean_phi_, 1e-6);
  }
  void check_gradient() const {
    loss_options o;
    o.reduce = reduction::mean_over(static_cast<double>(rows_));
    for (const index_t i : checked()) {
      const auto row = logits(0).download(i * vocab_, vocab_);
      const auto found = gradient(0).download(i * vocab_, vocab_);
      std::vector<double> expected(row.size());
      loss_and_gradient(reference{}, row, target_of(i), idft{}, expected, o);
      const double weight = std::fabs(expected[static_cast<std::size_t>(target_of(i)[0])]);
      const double rounding = sizeof(T) == 2 ? 0x1.0p-8 : 0x1.0p-23;
      for (std::size_t j = 0; j < row.size(); ++j) {
        const double x = static_cast<double>(load(found[j]));
        if (std::fabs(x - expected[j]) <= 2e-5 * weight + rounding * std::fabs(expected[j]) + 1e-38)
          continue;
        throw std::runtime_error("wrong result: element " + std::to_string(j) +
                                 " of a gradient is " + std::to_string(x) + ", not " +
                                 std::to_string(expected[j]));
      }
    }
  }

  session& session_;
  index_t rows_;
  index_t vocab_;
  index_t sets_;
  std::vector<buffer<T>> logits_;
  std::vector<buffer<T>> gradients_;
  buffer<token_id> targets_;
  std::vector<token_id> host_targets_;
  std::size_t workspace_bytes_ = 0;
  std::optional<buffer<unsigned char>> workspace_;
  mutable double mean_phi_ = 0;
};

template <class T>
void measure(session& s, index_t rows, index_t vocab) {
  batch<T> b(s, rows, vocab);
  b.measure_limits();
  b.measure_statistics();
  b.measure_gradients();
  if (std::is_same_v<T, bfloat16> && vocab > 100000) {
    for (const index_t texts : {1, 32, 512}) b.measure_hinted_step(texts);
  }
}

}  // namespace
}  // namespace idiolect::bench

int main(int argc, char** argv) {
  using namespace idiolect::bench;
  if (argc < 2) {
    std::cerr << "usage: bench_gpu <out.json> [seconds a figure]\n";
    return 2;
  }
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    std::cout << "SKIPPED: no CUDA device" << std::endl;
    return 4;
  }
  try {
    session s(argc > 2 ? std::atof(argv[2]) : 0.3);
    measure<idiolect::bfloat16>(s, 8192, 131072);
    measure<idiolect::bfloat16>(s, 8192, 151936);
    measure<idiolect::bfloat16>(s, 4096, 32000);
    measure<idiolect::bfloat16>(s, 65536, 512);
    measure<float>(s, 4096, 32000);
    s.write(argv[1]);
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
  }
  return 0;
}
