#!/usr/bin/env bash
# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../cmake/bootstrap.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cmake/bootstrap.sh"

usage() {
  cat <<'TEXT'
usage: bash bench/run.sh [--peers] [--torch <folder>]... [--name <word>] [--to <folder>] [--quick]

Builds the benchmarks in build/measure for this machine's processor (-O3 -march=native), runs them and
writes <date>-cpu-<name>.md, .json and .svg to docs/results. Run it on a quiet machine: about three
minutes after the build, six with two versions of LibTorch.

  --peers           install oneDNN, LibTorch and gnuplot too (Debian's packages); without it the
                    comparisons and the picture are made with what is there
  --torch <folder>  a LibTorch to compare with, for example .../site-packages/torch, or /usr for the
                    system's; may be given more than once
  --name <word>     instead of `passes`
  --to <folder>     instead of docs/results
  --quick           one short repetition of everything: to try the harness, not to quote

environment:
  IDIOLECT_JOBS        parallel compilations (default: one a processor)
  IDIOLECT_CMAKE_ARGS  more arguments for cmake
TEXT
}

command="bash bench/run.sh" # as the page quotes it: without this machine's folders
peers=0 torch="" name=passes to="$root/docs/results" repetitions=11 seconds=0.02
while [[ $# -gt 0 ]]; do
  case "$1" in
    --peers) peers=1 command+=" --peers" ;;
    --quick) repetitions=1 seconds=0.001 command+=" --quick" ;;
    --torch | --name | --to)
      [[ $# -ge 2 ]] || die "$1 needs a value"
      case "$1" in
        --torch)
          [[ -d "$2" ]] || die "no folder $2"
          torch="${torch:+$torch;}$(cd "$2" && pwd)"
          if [[ "$2" == /usr ]]; then command+=" --torch /usr"; else command+=" --torch <folder>"; fi
          ;;
        --name) name="$2" ;;
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

need compiler cmake ninja Eigen3 benchmark nlohmann_json
if [[ "$peers" -eq 1 ]]; then
  need oneDNN gnuplot
  [[ -n "$torch" ]] || need LibTorch
fi

build="$root/build/measure"
flags="-O3 -march=native"
configure "$build" -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_FLAGS_RELEASE="-O3 -DNDEBUG" \
  -DIDIOLECT_NATIVE=ON -DIDIOLECT_BUILD_TESTS=OFF -DIDIOLECT_BUILD_EXAMPLES=OFF \
  -DIDIOLECT_BUILD_BENCH=ON -DIDIOLECT_BUILD_DOCS=OFF -DIDIOLECT_BENCH_TORCH="$torch"
programs=(bench_backend bench_hinted)
while IFS= read -r program; do
  programs+=("$program")
done < <(cmake --build "$build" --target help | sed -n 's/^\(bench_peers_[a-z0-9]*\):.*/\1/p' | sort)
cmake --build "$build" --parallel "$jobs" --target bench_report "${programs[@]}"

results="$build/results"
mkdir -p "$results"
rm -f "$results"/*
files=()
for program in "${programs[@]}"; do
  say "running $program"
  filter=.
  # The decoder is measured by itself, with a model.
  [[ "$program" != bench_hinted ]] || filter='^(sampler|two_stream_step)'
  "$build/bin/$program" --benchmark_filter="$filter" --benchmark_repetitions="$repetitions" \
    --benchmark_min_time="$seconds" --benchmark_enable_random_interleaving=true \
    --benchmark_out="$results/$program.json" --benchmark_out_format=json >"$results/$program.log" 2>&1 ||
    die "$program failed: $(tail -n 3 "$results/$program.log")"
  files+=("$results/$program.json")
done

model="$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | sort -u | head -n 1)"
cache="$(lscpu 2>/dev/null | sed -n 's/^L3 cache: *//p')"
huge="$(sed 's/.*\[\(.*\)\].*/\1/' /sys/kernel/mm/transparent_hugepage/enabled 2>/dev/null || true)"
machine="${model:-$(uname -m)}, $(nproc) processors${cache:+, L3 $cache}"
machine+="${huge:+, transparent huge pages: $huge}"
prefix="$to/$(date +%F)-cpu-$name"
"$build/bin/bench_report" "$prefix" "$machine" "$flags" "$command" "${files[@]}"
if command -v gnuplot >/dev/null; then
  gnuplot -e "data='$results'; out='$prefix.svg'" "$root/bench/report/picture.gp"
else
  say "no picture: gnuplot is not installed"
fi
say "written: $prefix.md"
