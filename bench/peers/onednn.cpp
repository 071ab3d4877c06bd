// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// oneDNN's log-softmax, forward: it writes log p of every token and no entropy, where
// `statistics` gives log p of the target and H. The nearest that the library has.

#include <benchmark/benchmark.h>
#include <omp.h>

#include <oneapi/dnnl/dnnl_config.h>
#include <map>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>

#include "../support/ours.hpp"
#include "../support/peak.hpp"

namespace idiolect::bench {
namespace {

class log_softmax {
 public:
  explicit log_softmax(shape s)
      : layout_({s.rows, s.vocab}, dnnl::memory::data_type::f32, dnnl::memory::format_tag::ab) {
#if DNNL_VERSION_MAJOR >= 3
    primitive_ = dnnl::softmax_forward({engine_, dnnl::prop_kind::forward_inference,
                                        dnnl::algorithm::softmax_log, layout_, layout_, 1});
#else
    primitive_ =
        dnnl::logsoftmax_forward({{dnnl::prop_kind::forward_inference, layout_, 1}, engine_});
#endif
  }

  void operator()(const float* from, float* to) {
    dnnl::memory source(layout_, engine_, const_cast<float*>(from));
    dnnl::memory destination(layout_, engine_, to);
    primitive_.execute(stream_, {{DNNL_ARG_SRC, source}, {DNNL_ARG_DST, destination}});
    stream_.wait();
  }

 private:
  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{engine_};
  dnnl::memory::desc layout_;
#if DNNL_VERSION_MAJOR >= 3
  dnnl::softmax_forward primitive_;
#else
  dnnl::logsoftmax_forward primitive_;
#endif
};

// The primitive is made once for a shape and a number of threads, as oneDNN wants it.
void onednn_log_softmax(run& r) {
  omp_set_num_threads(r.threads());
  static std::map<std::pair<std::string, int>, log_softmax> made;
  const auto z = r.input();
  const auto log_p = scratch<float>(r.size());
  const auto key =
      std::pair(std::to_string(z.rows()) + "x" + std::to_string(z.cols()), r.threads());
  auto& forward = made.try_emplace(key, r.size()).first->second;
  r.check([&] {
    forward(z.data(), log_p.data());
    const auto y = r.targets();
    const auto expected = score(reference{}, z.block(0, 1), std::span(y).first(1));
    agree(log_p(0, y[0]), expected[0].log_prob, 1e-4, 1, "oneDNN's log p");
  });
  r.time([&] { forward(z.data(), log_p.data()); });
}

[[maybe_unused]] const bool registered = [] {
  rest_before_timing = std::chrono::milliseconds(10);
  benchmark::AddCustomContext("peer", "oneDNN " + std::to_string(DNNL_VERSION_MAJOR) + '.' +
                                          std::to_string(DNNL_VERSION_MINOR) + '.' +
                                          std::to_string(DNNL_VERSION_PATCH));
  measure_shapes("statistics", "fp32", statistics<float>);
  measure_shapes("onednn_log_softmax", "fp32", onednn_log_softmax);
  measure_peak("onednn_log_softmax", [](matrix_view<float> z, std::span<const token_id>) {
    omp_set_num_threads(2);
    std::vector<float> log_p(static_cast<std::size_t>(z.rows() * z.cols()));
    log_softmax({z.rows(), z.cols()})(z.data(), log_p.data());
  });
  return true;
}();

}  // namespace
}  // namespace idiolect::bench
