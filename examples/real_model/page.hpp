// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A run as a page of pictures that needs nothing beside itself, and as lines for a terminal.

#include <string>

#include "real_model/findings.hpp"
#include "real_model/results.hpp"

namespace real_model {

[[nodiscard]] std::string make_page(const results& r, const std::vector<finding>& findings);

/// The table of texts and the findings.
[[nodiscard]] std::string make_summary(const results& r, const std::vector<finding>& findings);

}  // namespace real_model
