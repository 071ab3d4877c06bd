#!/usr/bin/env bash
# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0

# The main job: `idiolect tour` on the default model, or on a model and texts of yours; on the default
# model also rewriting and the study.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
bin="${IDIOLECT_BIN:-$here/../build/examples/bin}"

usage() {
  cat <<'TEXT'
usage: bash examples/main_job.sh [option of `idiolect tour`]...
       bash examples/main_job.sh MODEL TOKENIZER OWN_TEXT FOREIGN_TEXT [option]...

1. Scores the model's own samples and a foreign text: CLL beside perplexity.
2. Trains on the foreign text with SFT and with IDFT: what is learned, what is forgotten.
3. Without arguments: rewrites the foreign solutions in the model's own words (hinted decoding) and
   trains on the result.
4. Without arguments: the quick study, which tries the method's claims beside what people use
   instead, prints them as checks and draws a page of pictures.

MODEL and TOKENIZER are files in the formats of llama2.c, OWN_TEXT is of the kind the model knows,
FOREIGN_TEXT of another; plain text or JSON Lines. Without them: the project's default model.

environment:
  IDIOLECT_BIN        folder of the built programs (default: build/examples/bin)
  IDIOLECT_STUDY_OUT  folder of the study's page and figures (default: build/study)
TEXT
}

if [[ "${1:-}" == -h || "${1:-}" == --help ]]; then
  usage
  exit 0
fi
if [[ ! -x "$bin/idiolect" ]]; then
  echo "main_job.sh: there is no program $bin/idiolect; build it with: bash examples/run.sh" >&2
  exit 1
fi

if [[ $# -eq 0 ]]; then
  "$bin/idiolect" tour
  bash "$here/rewrite_job.sh"
  printf '\n== The study, the quick one\n'
  exec "$bin/idiolect_study" --quick --restart --out "${IDIOLECT_STUDY_OUT:-$here/../build/study}"
fi
if [[ "$1" == -* ]]; then
  exec "$bin/idiolect" tour "$@"
fi
if [[ $# -lt 4 || "$2" == -* || "$3" == -* || "$4" == -* ]]; then
  echo "main_job.sh: expected no files, or four: MODEL TOKENIZER OWN_TEXT FOREIGN_TEXT" >&2
  usage >&2
  exit 2
fi
exec "$bin/idiolect" tour --model "$1" --tokenizer "$2" --own "$3" --foreign "$4" "${@:5}"
