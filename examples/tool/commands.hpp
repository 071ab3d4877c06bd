// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The subcommands. Each `add_...` declares a command's options and help; what it returns runs it.

#include <functional>

namespace CLI {
class App;
}

namespace tool {

using command = std::function<void()>;

[[nodiscard]] command add_score(CLI::App& tool);
[[nodiscard]] command add_finetune(CLI::App& tool);
[[nodiscard]] command add_sample(CLI::App& tool);
[[nodiscard]] command add_rewrite(CLI::App& tool);
[[nodiscard]] command add_tour(CLI::App& tool);

}  // namespace tool
