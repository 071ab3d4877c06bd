// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the CPU backend is asked to reach. The pages of docs/results say of each whether it does.

#include <array>

namespace idiolect::bench {

/// The time of `other` over that of `operation` is at least this, by one and by two threads.
struct asked_ratio {
  const char* operation;
  const char* other;
  const char* text;
  const char* shape;
  std::array<double, 2> least;
};

/// The share of a limit of the machine.
inline constexpr asked_ratio asked_shares[] = {
    {"statistics", "limit_read", "statistics (log p, H): share of a read", "B", {.60, .70}},
    {"gradient_out_of_place",
     "limit_streaming",
     "and gradient, out of place: share of a streaming copy",
     "B",
     {.62, .75}},
    {"gradient_in_place",
     "limit_rewrite",
     "and gradient, in place: share of a rewrite",
     "B",
     {.66, .75}},
};

/// How many times as fast as a peer.
inline constexpr asked_ratio asked_speeds[] = {
    {"statistics", "onednn_log_softmax", "statistics against log-softmax", "A", {3.2, 3.2}},
    {"statistics", "onednn_log_softmax", "statistics against log-softmax", "B", {3.2, 3.2}},
    {"statistics", "onednn_log_softmax", "statistics against log-softmax", "C", {2.5, 2.5}},
    {"statistics", "onednn_log_softmax", "statistics against log-softmax", "D", {2.3, 4.4}},
    {"gradient_in_place_nll", "torch_cross_entropy", "gradient against cross-entropy", "A", {9, 9}},
    {"gradient_in_place_nll", "torch_cross_entropy", "gradient against cross-entropy", "B", {9, 9}},
    {"gradient_in_place_nll", "torch_cross_entropy", "gradient against cross-entropy", "C", {6, 6}},
    {"gradient_in_place_nll",
     "torch_cross_entropy",
     "gradient against cross-entropy",
     "D",
     {6, 12}},
    {"gradient_in_place", "torch_idft", "gradient against IDFT", "A", {16, 20}},
    {"gradient_in_place", "torch_idft", "gradient against IDFT", "B", {16, 20}},
    {"gradient_in_place", "torch_idft", "gradient against IDFT", "C", {12, 12}},
};

/// At most this error, in the units of bench/backend/accuracy.cpp.
struct asked_error {
  const char* counter;
  const char* text;
  double error;
};
inline constexpr asked_error asked_errors[] = {
    {"log_prob", "error of log p, units of max(1, \\|value\\|)", 1e-6},
    {"entropy", "error of H, units of max(1, \\|value\\|)", 1.5e-6},
    {"gradient", "error of the gradient, units of w/N", 1e-6},
};

/// At most this much memory beyond the logits, as a part of them, for the gradient in place.
inline constexpr double asked_memory = 0.01;

}  // namespace idiolect::bench
