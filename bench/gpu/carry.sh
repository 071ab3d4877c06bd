#!/usr/bin/env bash
# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0

# Fills .gpu/ with what a machine with a GPU may lack and cannot fetch: the headers and CMake packages
# of Eigen and Catch2, from this Debian machine's. bench/gpu/run.sh looks there. Sources of peers are put
# beside them by hand, see bench/gpu/peers.py.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../cmake/bootstrap.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../cmake/bootstrap.sh"

command -v dpkg-query >/dev/null || die "this copies the files of Debian packages, and there is no dpkg"
need Eigen3 Catch2
prefix="$root/.gpu/prefix"
rm -rf "$prefix"
mkdir -p "$prefix" "$root/.gpu/peers"
for package in libeigen3-dev catch2; do
  while IFS= read -r file; do
    [[ -f "$file" && "$file" == /usr/* && "$file" != /usr/share/doc/* ]] || continue
    mkdir -p "$prefix/$(dirname "${file#/usr/}")"
    cp -L "$file" "$prefix/${file#/usr/}"
  done < <(dpkg-query -L "$package")
done
say "filled $prefix ($(du -sh "$prefix" | cut -f1)); it goes along with the source tree"
