#!/usr/bin/env bash
# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../cmake/bootstrap.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cmake/bootstrap.sh"

usage() {
  cat <<'TEXT'
usage: bash tests/fuzz.sh [--minutes N | --seconds N] [name]...

Installs what is missing (on Debian and its kin, as root or with sudo), builds the fuzzers in
build/fuzz with Clang, its address and undefined-behaviour sanitizers, and runs them, as many at once
as there are processors. The time (10 minutes by default) is shared between them; --seconds is for
each. What they learn stays in build/fuzz/corpus, and the next run begins with it. Fails if an input
crashes one, and says where it lies. A name, such as verifiers, runs that one alone; an input is
tried again by  build/fuzz/fuzzers/fuzz_<name> <input>.

environment:
  IDIOLECT_JOBS        parallel compilations and fuzzers (default: one a processor)
  IDIOLECT_CMAKE_ARGS  more arguments for cmake
TEXT
}

minutes=10
seconds=""
names=()
while [[ $# -gt 0 ]]; do
  case "$1" in
    -h | --help) usage && exit 0 ;;
    --minutes) minutes="${2:?--minutes needs a number}" && shift 2 ;;
    --seconds) seconds="${2:?--seconds needs a number}" && shift 2 ;;
    -*) usage >&2 && exit 2 ;;
    *) names+=("$1") && shift ;;
  esac
done

need compiler cmake ninja Eigen3 Catch2 nlohmann_json CLI11 clang++ clang-rt

build="$root/build/fuzz"
configure "$build" -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_BUILD_TYPE=Release \
  "-DCMAKE_CXX_FLAGS_RELEASE=-O1 -g1" -DIDIOLECT_BUILD_FUZZERS=ON -DIDIOLECT_BUILD_TESTS=ON \
  -DIDIOLECT_BUILD_EXAMPLES=OFF -DIDIOLECT_BUILD_BENCH=OFF -DIDIOLECT_BUILD_DOCS=OFF \
  -DIDIOLECT_CUDA=OFF -DIDIOLECT_LLAMA_CPP=OFF -DIDIOLECT_TORCH=OFF
if [[ ${#names[@]} -eq 0 ]]; then
  for source in "$root"/tests/fuzz/*.cpp; do names+=("$(basename "$source" .cpp)"); done
fi
cmake --build "$build" --parallel "$jobs" --target "${names[@]/#/fuzz_}"

# Each has its share of the time, and some run at once.
if [[ -z "$seconds" ]]; then
  seconds=$((minutes * 60 * jobs / ${#names[@]}))
  [[ "$seconds" -lt $((minutes * 60)) ]] || seconds=$((minutes * 60))
fi
say "${#names[@]} fuzzers, $seconds s each, $jobs at once"

run_one() {
  local name="$1" folder="$build/found/$1"
  mkdir -p "$build/corpus/$name" "$folder"
  "$build/fuzzers/fuzz_$name" "-max_total_time=$seconds" -timeout=60 -rss_limit_mb=4096 -max_len=4096 \
    -print_final_stats=1 "-artifact_prefix=$folder/" "$build/corpus/$name" >"$folder/log" 2>&1
}

# Findings of earlier runs are no findings of this one.
rm -rf "$build/found"
running=0
for name in "${names[@]}"; do
  if [[ "$running" -ge "$jobs" ]]; then
    wait -n || true
    running=$((running - 1))
  fi
  run_one "$name" &
  running=$((running + 1))
done
wait || true

failed=0
for name in "${names[@]}"; do
  folder="$build/found/$name"
  runs="$(sed -n 's/^stat::number_of_executed_units: *//p' "$folder/log")"
  found="$(find "$folder" -type f ! -name log)"
  if [[ -z "$found" && -n "$runs" ]] && grep -q '^Done ' "$folder/log"; then
    say "$name: $runs inputs, nothing found"
  else
    failed=1
    say "$name: FAILED. Log: $folder/log${found:+; input: $found}"
    grep -m 3 -E '^fuzz: |^SUMMARY|runtime error|ERROR' "$folder/log" || tail -n 5 "$folder/log"
  fi
done
exit "$failed"
