// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The CPU backend's passes over whole batches beside the limits of the machine, in the same run:
//
//   limit_read         every logit read once: the floor of `statistics` and `scores`
//   limit_read_plain   the same without a prefetch, as a simple loop gets it
//   limit_streaming    every logit read and a gradient written past the caches: the floor of
//                      `gradient_out_of_place`
//   limit_memcpy       the same as the C library does it
//   limit_rewrite      every logit read and written back: the floor of `gradient_in_place`
//
// For the four shapes, by one and two threads; other scalar types for shape B; and a sweep over V
// with about 2^24 logits, too many for a cache.

#include <string>

#include "../support/limits.hpp"
#include "../support/ours.hpp"

namespace idiolect::bench {
namespace {

using limits::word;

const word* words(matrix_view<const float> z) {
  return reinterpret_cast<const word*>(z.data());
}
word* words(matrix_view<float> z) {
  return reinterpret_cast<word*>(z.data());
}

template <bool Prefetch>
void limit_read(run& r) {
  const word* const from = words(r.input());
  r.time([&] {
    in_pieces(r.threads(), r.size().logits(), [&](index_t first, index_t count) {
      word any = limits::read<Prefetch>(from + first, count);
      benchmark::DoNotOptimize(any);
    });
  });
}

template <auto Copy>
void limit_copy(run& r) {
  const word* const from = words(r.input());
  word* const to = words(scratch<float>(r.size()));
  r.time([&] {
    in_pieces(r.threads(), r.size().logits(),
              [&](index_t first, index_t count) { Copy(to + first, from + first, count); });
  });
}

// Refreshed like the logits of the gradient in place, so that the caches are in the same state.
void limit_rewrite(run& r) {
  const auto memory = scratch<float>(r.size());
  word zero = 0;
  benchmark::DoNotOptimize(zero);
  r.time([&] { refresh(r.threads(), memory, r.input()); },
         [&] {
           in_pieces(r.threads(), r.size().logits(), [&](index_t first, index_t count) {
             limits::rewrite(words(memory) + first, count, zero);
           });
         });
}

template <class T>
void measure_scalar(const std::string& name) {
  const auto& s = shapes[1];
  for (const int threads : {1, 2}) {
    measure("statistics", name, s.name, s, threads, statistics<T>);
    measure("gradient_out_of_place", name, s.name, s, threads, gradient_out_of_place<T>);
    measure("gradient_in_place", name, s.name, s, threads, gradient_in_place<T>);
  }
}

void measure_sweep() {
  constexpr index_t logits = index_t{1} << 24;
  for (const int threads : {1, 2}) {
    const shape all{1, logits};
    measure("limit_read", "fp32", "sweep", all, threads, limit_read<true>);
    measure("limit_rewrite", "fp32", "sweep", all, threads, limit_rewrite);
    for (const index_t vocab : {32, 33, 100, 128, 512, 1000, 2048, 8192, 32000, 50257, 65536,
                                100'003, 151'936, 262'144}) {
      const std::string name = "V" + std::to_string(vocab);
      const shape s{logits / vocab, vocab};
      measure("statistics", "fp32", name, s, threads, statistics<float>);
      measure("gradient_in_place", "fp32", name, s, threads, gradient_in_place<float>);
    }
  }
}

[[maybe_unused]] const bool registered = [] {
  measure_shapes("limit_read", "fp32", limit_read<true>);
  measure_shapes("limit_read_plain", "fp32", limit_read<false>);
  measure_shapes("limit_streaming", "fp32", limit_copy<limits::copy_streaming>);
  measure_shapes("limit_memcpy", "fp32", limit_copy<limits::copy>);
  measure_shapes("limit_rewrite", "fp32", limit_rewrite);
  measure_shapes("statistics", "fp32", statistics<float>);
  measure_shapes("scores", "fp32", scores<float>);
  measure_shapes("gradient_out_of_place", "fp32", gradient_out_of_place<float>);
  measure_shapes("gradient_in_place", "fp32", gradient_in_place<float>);
  measure_shapes("gradient_accumulated", "fp32", gradient_accumulated<float>);
  measure_scalar<double>("fp64");
  measure_scalar<half>("fp16");
  measure_scalar<bfloat16>("bf16");
  measure_sweep();
  return true;
}();

}  // namespace
}  // namespace idiolect::bench
