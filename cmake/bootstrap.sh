# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash

# Sourced by tests/run.sh, examples/run.sh and .ci/run: what a fresh machine lacks is installed, where
# that is possible, and named, where it is not.
#
#   need <piece>...                   see the table `package_of`; ends the script if a piece stays missing
#   configure <folder> <argument>...  cmake, afresh if the folder belongs to another tree

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
# With less memory than about 1.5 GiB a job, fewer jobs: IDIOLECT_JOBS=1.
# shellcheck disable=SC2034  # used by the scripts that source this one
jobs="${IDIOLECT_JOBS:-$(nproc 2>/dev/null || echo 2)}"

# Each piece and the Debian package it is in.
declare -A package_of=(
  [compiler]=g++ [cmake]=cmake [ninja]=ninja-build
  [Eigen3]=libeigen3-dev [Catch2]=catch2 [benchmark]=libbenchmark-dev
  [nlohmann_json]=nlohmann-json3-dev [CLI11]=libcli11-dev
  [Thrust]=libthrust-dev [MPFR]=libmpfr-dev
  [clang++]=clang [clang-rt]=libclang-rt-dev [doxygen]=doxygen
  [venv]=python3-venv [ccache]=ccache
  [oneDNN]=libdnnl-dev [LibTorch]=libtorch-dev [gnuplot]=gnuplot-nox
)

say() { printf '%s\n' "idiolect: $*"; }
die() {
  printf '%s\n' "idiolect: $*" >&2
  exit 1
}

has_cmake() {
  local version
  version="$(cmake --version 2>/dev/null | sed -n '1s/[^0-9]*\([0-9.]*\).*/\1/p')" || return 1
  [[ -n "$version" ]] && printf '%s\n' 3.24 "$version" | sort -V -C
}

# Asks CMake itself, for systems without dpkg and for libraries that did not come as packages.
has_library() {
  has_piece compiler && has_cmake && has_piece ninja || return 1
  local folder status=0
  folder="$(mktemp -d)"
  printf '%s\n' 'cmake_minimum_required(VERSION 3.24)' 'project(probe LANGUAGES CXX)' \
    "find_package($1 REQUIRED)" >"$folder/CMakeLists.txt"
  cmake -G Ninja -S "$folder" -B "$folder/build" >"$folder/log" 2>&1 || status=1
  rm -rf "$folder"
  return "$status"
}

has_package() {
  command -v dpkg-query >/dev/null &&
    [[ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" == installed ]]
}

has_piece() {
  case "$1" in
    compiler) [[ -n "${CXX:-}" ]] || command -v c++ >/dev/null || command -v g++ >/dev/null ||
      command -v clang++ >/dev/null ;;
    cmake) has_cmake ;;
    ninja) command -v ninja >/dev/null ;;
    venv) python3 -c 'import venv, ensurepip' 2>/dev/null ;;
    clang++ | doxygen | gnuplot | ccache) command -v "$1" >/dev/null ;;
    # Found by their headers, as in bench/peers: their CMake packages ask for more than is needed.
    oneDNN) echo '#include <oneapi/dnnl/dnnl.hpp>' | "${CXX:-c++}" -E -x c++ -o /dev/null - 2>/dev/null ;;
    LibTorch) echo '#include <ATen/ATen.h>' | "${CXX:-c++}" -E -x c++ -std=c++20 -o /dev/null - 2>/dev/null ;;
    MPFR) echo '#include <mpfr.h>' | "${CXX:-c++}" -E -x c++ -o /dev/null - 2>/dev/null ;;
    clang-rt) echo 'int main() {}' | clang++ -fsanitize=address -x c++ -o /dev/null - 2>/dev/null ;;
    *) has_package "${package_of[$1]}" || has_library "$1" ;;
  esac
}

# missing <piece>...: fills `lacking` with pieces and `packages` with what Debian calls them.
missing() {
  lacking=() packages=()
  local piece
  for piece in "$@"; do
    if ! has_piece "$piece"; then
      lacking+=("$piece")
      packages+=("${package_of[$piece]}")
    fi
  done
}

need() {
  local lacking packages as_root
  missing "$@"
  [[ ${#lacking[@]} -eq 0 ]] && return 0

  local install=(apt-get install -y --no-install-recommends "${packages[@]}")
  if ! command -v apt-get >/dev/null; then
    say "this is no Debian-like system, so nothing is installed. Missing: ${lacking[*]}"
    die "(Debian's packages: ${packages[*]}; CMake must be 3.24 or newer, Eigen 3.4, Catch2 2.13)"
  fi
  if [[ "$(id -u)" -eq 0 ]]; then
    as_root=()
  elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [[ -t 0 ]]; }; then
    as_root=(sudo)
  else
    say "missing: ${lacking[*]}. As root:"
    die "  apt-get update && ${install[*]}"
  fi

  say "installing ${packages[*]}"
  # The lists may be absent or old: they are fetched only when the first attempt fails.
  as_root+=(env DEBIAN_FRONTEND=noninteractive)
  if ! "${as_root[@]}" "${install[@]}" >/dev/null 2>&1; then
    "${as_root[@]}" apt-get update
    "${as_root[@]}" "${install[@]}"
  fi

  missing "$@"
  [[ ${#lacking[@]} -eq 0 ]] ||
    die "still missing after the installation: ${lacking[*]} (CMake must be 3.24 or newer, Eigen 3.4, Catch2 2.13)"
}

configure() {
  local build="$1" fresh=()
  shift
  # A copied or moved tree carries a cache that names the old place.
  if [[ -f "$build/CMakeCache.txt" ]] &&
    ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$build/CMakeCache.txt"; then
    fresh=(--fresh)
  fi
  # Word splitting is wanted: several arguments in one variable.
  # shellcheck disable=SC2086
  cmake ${fresh[@]+"${fresh[@]}"} -S "$root" -B "$build" -G Ninja "$@" ${IDIOLECT_CMAKE_ARGS:-}
}
