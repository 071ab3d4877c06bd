// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Every C++ block of the README and of docs/ is, to the letter, a region of a file that is compiled
// and run:
//
//   <!-- snippet: tests/docs/guide.cpp score -->
//   ```cpp
//   ...                       what stands between the two lines `// [score]` of that file
//   ```

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "support/catch.hpp"

namespace {

namespace fs = std::filesystem;
const fs::path root = IDIOLECT_TEST_SOURCE_DIR;

std::vector<std::string> lines_of(const fs::path& file) {
  std::ifstream in(file);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

// Without the indentation that all lines share.
std::string unindented(const std::vector<std::string>& lines) {
  std::size_t margin = std::string::npos;
  for (const auto& line : lines) {
    if (!line.empty()) margin = std::min(margin, line.find_first_not_of(' '));
  }
  std::string text;
  for (const auto& line : lines) text += (line.empty() ? "" : line.substr(margin)) + "\n";
  return text;
}

std::string region(const fs::path& file, const std::string& name) {
  std::vector<std::string> found;
  bool inside = false;
  for (const auto& line : lines_of(file)) {
    const auto text = line.find_first_not_of(' ');
    if (text != std::string::npos && line.substr(text) == "// [" + name + "]") {
      if (inside) return unindented(found);
      inside = true;
    } else if (inside) {
      found.push_back(line);
    }
  }
  return "";
}

struct block {
  fs::path page;
  std::size_t line;
  std::string marker;  // "file region", empty without one
  std::string text;
};

std::vector<block> blocks_of(const fs::path& page) {
  std::vector<block> blocks;
  const auto lines = lines_of(page);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (lines[i] != "```cpp") continue;
    block b{page, i + 1, "", ""};
    const std::string open = "<!-- snippet: ";
    if (i > 0 && lines[i - 1].starts_with(open)) {
      b.marker = lines[i - 1].substr(open.size());
      b.marker.resize(b.marker.find(" -->"));
    }
    for (++i; i < lines.size() && lines[i] != "```"; ++i) b.text += lines[i] + "\n";
    blocks.push_back(b);
  }
  return blocks;
}

}  // namespace

TEST_CASE("documentation: every C++ block is a region of a test") {
  std::vector<fs::path> pages{root / "README.md"};
  for (const auto& entry : fs::recursive_directory_iterator(root / "docs")) {
    if (entry.path().extension() == ".md") pages.push_back(entry.path());
  }
  std::size_t checked = 0;
  for (const auto& page : pages) {
    for (const auto& b : blocks_of(page)) {
      INFO(b.page.string() << ":" << b.line);
      std::istringstream marker(b.marker);
      std::string file, name;
      marker >> file >> name;
      REQUIRE_FALSE(name.empty());
      CHECK(b.text == region(root / file, name));
      ++checked;
    }
  }
  CHECK(checked >= 8);
}
