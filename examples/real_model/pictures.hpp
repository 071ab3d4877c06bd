// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The page's pictures, each an SVG, from what the stages left. A picture without its stage is
// empty.

#include <string>

#include "real_model/results.hpp"

namespace real_model {

[[nodiscard]] std::string histogram_picture(const results& r);
[[nodiscard]] std::string path_picture(const results& r);
/// A point for each text: NLL to the right, CLL upwards.
[[nodiscard]] std::string confusion_picture(const results& r);
/// AUROC of four scores with their intervals.
[[nodiscard]] std::string auroc_picture(const results& r);

/// A stripe for each record, coloured by who led its tokens.
[[nodiscard]] std::string stripes_picture(const std::vector<rewritten>& records);
/// One record's text, each token coloured; lines of HTML.
[[nodiscard]] std::string led_text(const rewritten& record);
/// The record that shows most of both voices; an accepted one if there is any.
[[nodiscard]] const rewritten* record_to_show(const std::vector<rewritten>& records);

/// NLL of the training batches over time.
[[nodiscard]] std::string training_picture(const results& r);
/// How far each training moved the NLL of three kinds of text.
[[nodiscard]] std::string forgetting_picture(const results& r);

}  // namespace real_model
