// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The study as one JSON object, the tables on a terminal, and the page; the last two read the first
// alone. Numbers stand as {value, low, high, seeds}: the mean over seeds, its 95% interval, and
// each seed's own.

#include <string>
#include <vector>

#include "study/checks.hpp"
#include "study/figures.hpp"
#include "study/settings.hpp"

namespace study {

/// Everything but the real text, which is added under "real". Methods without results are left out.
[[nodiscard]] json make_report(figures& f, const settings& how);

/// Whether all checks of a report hold.
[[nodiscard]] bool all_hold(const json& report);

/// What the answers' ends came to, in a sentence.
[[nodiscard]] std::string ends_in_words(const json& report);

/// Tables on standard output.
void print_report(const json& report);

/// One self-contained HTML page: no script, nothing from a network.
[[nodiscard]] std::string make_page(const json& report);

}  // namespace study
