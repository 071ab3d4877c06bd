#!/usr/bin/env bash
# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../cmake/bootstrap.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cmake/bootstrap.sh"

if [[ "${1:-}" == -h || "${1:-}" == --help ]]; then
  cat <<'TEXT'
usage: bash tests/run.sh [argument of ctest]...

Installs what is missing (on Debian and its kin, as root or with sudo), builds the tests in
build/tests and runs them. For example, only the loss tests: bash tests/run.sh -R '^loss: '

environment:
  IDIOLECT_JOBS        parallel compilations and tests (default: one a processor; tests: at least 2)
  IDIOLECT_CMAKE_ARGS  more arguments for cmake, for example -DIDIOLECT_DATA_DIR=/folder/of/models
TEXT
  exit 0
fi

need compiler cmake ninja Eigen3 Catch2 Thrust nlohmann_json CLI11

build="$root/build/tests"
# Optimised, with assertions (no NDEBUG), without debug information: that compiles soonest.
configure "$build" -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_FLAGS_RELEASE=-O2 \
  -DIDIOLECT_BUILD_TESTS=ON -DIDIOLECT_BUILD_EXAMPLES=ON -DIDIOLECT_BUILD_BENCH=OFF \
  -DIDIOLECT_BUILD_DOCS=OFF -DIDIOLECT_INSTALL=ON
cmake --build "$build" --parallel "$jobs"

# ctest lists the skipped tests at its end but does not count them.
skipped=0
ctest --test-dir "$build" --output-on-failure --no-tests=error \
  -j "$((jobs < 2 ? 2 : jobs))" "$@" 2>&1 |
  while IFS= read -r line; do
    [[ "$line" == *'***Skipped'* ]] && skipped=$((skipped + 1))
    [[ "$line" == *'% tests passed, '* ]] && printf '%s\n\n' "tests skipped: $skipped"
    printf '%s\n' "$line"
  done
