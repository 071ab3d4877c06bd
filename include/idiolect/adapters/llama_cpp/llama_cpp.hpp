// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// llama.cpp as a causal_lm and a tokenizer. Neither owns anything: model and context are the
// host's, and must outlive them. Made for the llama.cpp of October 2026 (0.5).

#include <idiolect/adapters/llama_cpp/model.hpp>
#include <idiolect/adapters/llama_cpp/tokenizer.hpp>
