#!/usr/bin/env bash
# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../cmake/bootstrap.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cmake/bootstrap.sh"

if [[ "${1:-}" == -h || "${1:-}" == --help ]]; then
  cat <<'TEXT'
usage: bash examples/run.sh [argument of the main job]...

Installs what is missing (on Debian and its kin, as root or with sudo), builds the examples in
build/examples for this machine's processor and runs the main job, examples/main_job.sh.

environment:
  IDIOLECT_JOBS        parallel compilations (default: one a processor)
  IDIOLECT_CMAKE_ARGS  more arguments for cmake
TEXT
  exit 0
fi

need compiler cmake ninja Eigen3 nlohmann_json CLI11

build="$root/build/examples"
configure "$build" -DCMAKE_BUILD_TYPE=Release -DIDIOLECT_NATIVE=ON \
  -DIDIOLECT_BUILD_TESTS=OFF -DIDIOLECT_BUILD_EXAMPLES=ON -DIDIOLECT_BUILD_BENCH=OFF \
  -DIDIOLECT_BUILD_DOCS=OFF
cmake --build "$build" --parallel "$jobs"

# The main job finds the programs in $IDIOLECT_BIN.
export IDIOLECT_BIN="$build/bin"
if [[ -f "$root/examples/main_job.sh" ]]; then
  exec bash "$root/examples/main_job.sh" "$@"
fi
say "built in $IDIOLECT_BIN"
