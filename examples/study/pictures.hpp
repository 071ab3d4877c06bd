// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The report's pictures, each an SVG (the hinted decoding: lines of coloured text), from the
// report's JSON.

#include <string>

#include "study/settings.hpp"

namespace study {

[[nodiscard]] std::string histogram_picture(const json& gallery);
[[nodiscard]] std::string path_picture(const json& gallery);
[[nodiscard]] std::string weight_picture(const json& gallery);
[[nodiscard]] std::string led_picture(const json& gallery);
[[nodiscard]] std::string detection_picture(const json& detection);
/// Accuracy over retention for the methods of one rate.
[[nodiscard]] std::string plane_picture(const json& report, double rate);
[[nodiscard]] std::string cost_picture(const json& report, double rate);
/// What was forgotten over what was gained (`nll` or `prob`), at one rate.
[[nodiscard]] std::string real_picture(const json& real, const std::string& by, double rate);

/// A method's title, as short as a label wants it.
[[nodiscard]] std::string short_title(std::string title);

}  // namespace study
