#!/usr/bin/env bash
# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../cmake/bootstrap.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../cmake/bootstrap.sh"

usage() {
  cat <<'TEXT'
usage: bash bench/gpu/run.sh [--only <stage>,...] [--minutes <n>] [--name <word>] [--to <folder>]

On a machine with an NVIDIA GPU, the CUDA toolkit, CMake and PyTorch: builds in build/gpu for the GPU that
is there, runs the tests on it, again under compute-sanitizer, measures what its memory allows, our kernels
and other projects', and writes <date>-<gpu>.md and .json to docs/results. Nothing is fetched: what the
machine lacks of Eigen and Catch2 is taken from .gpu/, which bench/gpu/carry.sh fills on another machine.

  --only <stages>   of build, tests, sanitizer, kernels, peers; the page is of what was measured
  --minutes <n>     for everything (default 8): a stage that would go past it is stopped or left out
  --name <word>     appended to the page's name
  --to <folder>     instead of docs/results
TEXT
}

command="bash bench/gpu/run.sh" only="build,tests,sanitizer,kernels,peers" minutes=8 name="" to="$root/docs/results"
while [[ $# -gt 0 ]]; do
  case "$1" in
    --only | --minutes | --name | --to)
      [[ $# -ge 2 ]] || die "$1 needs a value"
      case "$1" in
        --only) only="$2" command+=" --only $2" ;;
        --minutes) minutes="$2" command+=" --minutes $2" ;;
        --name) name="-$2" ;;
        --to) to="$2" ;;
      esac
      shift
      ;;
    -h | --help)
      usage
      exit 0
      ;;
    *)
      usage >&2
      exit 2
      ;;
  esac
  shift
done
[[ -d "$to" ]] || die "no folder $to"
to="$(cd "$to" && pwd)"

for folder in "${CUDA_PATH:-}" /usr/local/cuda; do
  [[ -z "$folder" ]] || PATH="$PATH:$folder/bin"
done
command -v nvcc >/dev/null || die "no nvcc in the PATH, CUDA_PATH or /usr/local/cuda"
has_cmake || die "CMake 3.24 or newer is needed"
gpu="$(nvidia-smi --query-gpu=name --format=csv,noheader --id=0 2>/dev/null)" || gpu=""
if [[ -z "$gpu" ]]; then
  say "nvidia-smi finds no GPU here: nothing can be measured. The kernels compile without one: bash tests/run.sh"
  exit 4
fi

build="$root/build/gpu"
results="$build/results"
mkdir -p "$results"
rm -f "$results"/*
generator=()
if has_piece ninja; then generator=(-G Ninja); fi

started=$SECONDS
stages=()
failed=0
# stage <name> <most seconds> <command>...: its output in <name>.log, its time and outcome in the page.
stage() {
  local stage="$1" most="$2" log="$results/${1//[: ]/_}.log" begun=$SECONDS left status=0 outcome
  shift 2
  [[ ",$only," == *",${stage%%[: ]*},"* ]] || return 0
  left=$((60 * minutes - (SECONDS - started)))
  if ((left < 10)); then
    say "$stage: left out, as no time is left"
    stages+=("$stage|0|left out: no time")
    return 0
  fi
  timeout "$((most < left ? most : left))" "$@" >"$log" 2>&1 || status=$?
  case "$status" in
    0) outcome="done" ;;
    4) outcome="skipped: the runtime sees no device" failed=1 ;;
    124) outcome="stopped by its time limit" failed=1 ;;
    *) outcome="failed ($status)" failed=1 ;;
  esac
  case "$stage" in
    tests)
      outcome+=": $(tail -n 3 "$log" | grep -E 'passed|failed' | tail -n 1 || true)"
      outcome+=", $(grep -c '^ *SKIPPED:' "$log" || true) skipped"
      ;;
    sanitizer*) outcome+=": $(grep -E 'SUMMARY' "$log" | tail -n 1 | sed 's/^=* *//' || true)" ;;
  esac
  say "$stage: $outcome, $((SECONDS - begun)) s"
  [[ "$status" -eq 0 ]] || tail -n 15 "$log"
  stages+=("$stage|$((SECONDS - begun))|$outcome")
}

# Word splitting is wanted: several arguments in one variable.
# shellcheck disable=SC2086
stage "build: configure" 120 cmake "${generator[@]}" -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Release \
  -DIDIOLECT_CUDA=ON -DCMAKE_PREFIX_PATH="$root/.gpu/prefix" -DIDIOLECT_BUILD_TESTS=ON \
  -DIDIOLECT_BUILD_BENCH=ON -DIDIOLECT_BUILD_EXAMPLES=OFF -DIDIOLECT_BUILD_DOCS=OFF \
  -DIDIOLECT_INSTALL=OFF ${IDIOLECT_CMAKE_ARGS:-}
stage build 240 cmake --build "$build" --parallel "$jobs" --target test_cuda bench_gpu
tests="$build/tests/cuda/test_cuda"
if [[ -x "$tests" ]]; then
  stage tests 180 "$tests" --durations yes
  if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck initcheck; do
      stage "sanitizer $tool" 75 compute-sanitizer --tool "$tool" --error-exitcode 9 "$tests" "[small]"
    done
  else
    say "no compute-sanitizer here: memory errors and races are not looked for"
    stages+=("sanitizer|0|left out: compute-sanitizer is not installed")
  fi
fi
[[ ! -x "$build/bin/bench_gpu" ]] || stage kernels 120 "$build/bin/bench_gpu" "$results/kernels.json"
if command -v python3 >/dev/null && python3 -c 'import torch' 2>/dev/null; then
  stage peers 170 python3 "$root/bench/gpu/peers.py" "$results/peers.json" --sources "$root/.gpu/peers" --seconds 150
else
  say "no PyTorch here: nothing is compared"
  stages+=("peers|0|left out: PyTorch is not installed")
fi

command -v python3 >/dev/null || die "no python3, which writes the page; the figures are in $results"
version() { "$@" 2>/dev/null | tail -n 1; }
printf '%s\n' "${stages[@]}" | python3 -c '
import json, sys
stages = [dict(zip(("name", "seconds", "outcome"), line.rstrip("\n").split("|", 2))) for line in sys.stdin]
print(json.dumps({"date": sys.argv[1], "command": sys.argv[2], "stages": stages,
                  "versions": {"driver": sys.argv[3], "nvcc": sys.argv[4], "CMake": sys.argv[5]}}))' \
  "$(date +%F)" "$command" "$(version nvidia-smi --query-gpu=driver_version --format=csv,noheader --id=0)" \
  "$(nvcc --version | sed -n 's/.*release [0-9.]*, V//p')" "$(cmake --version | sed -n '1s/[^0-9]*//p')" \
  >"$results/stages.json"
prefix="$to/$(date +%F)-$(printf '%s' "$gpu" | tr 'A-Z ' 'a-z-' | sed 's/^nvidia-//; s/[^a-z0-9-]//g')$name"
python3 "$root/bench/gpu/table.py" "$results" "$prefix"
say "written: $prefix.md, after $((SECONDS - started)) s"
exit "$failed"
