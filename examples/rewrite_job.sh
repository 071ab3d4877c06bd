#!/usr/bin/env bash
# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0

# A small data set in the default model's own words, and IDFT on the result.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
bin="${IDIOLECT_BIN:-$here/../build/examples/bin}"
texts="$here/default_model/texts"

if [[ "${1:-}" == -h || "${1:-}" == --help ]]; then
  cat <<'TEXT'
usage: bash examples/rewrite_job.sh [FOLDER]

1. Rewrites foreign solutions in the default model's own words (hinted decoding): CLL and verified
   yield before and after, and who led each token of one answer.
2. Trains the model on the result with IDFT, and asks it new questions before and after.

FOLDER keeps the results; without it they are thrown away.

environment:
  IDIOLECT_BIN  folder of the built programs (default: build/examples/bin)
TEXT
  exit 0
fi
if [[ ! -x "$bin/idiolect" ]]; then
  echo "rewrite_job.sh: there is no program $bin/idiolect; build it with: bash examples/run.sh" >&2
  exit 1
fi

if [[ $# -gt 0 ]]; then
  work="$1"
  mkdir -p "$work"
else
  work="$(mktemp -d)"
  trap 'rm -rf "$work"' EXIT
fi

title() { printf '\n== %s\n\n' "$*"; }

# The student alone, one greedy try a question: what the model can do by itself.
ask() {
  "$bin/idiolect" rewrite --in "$texts/foreign_eval.jsonl" --out "$work/answers.jsonl" --restart \
    --tries 0 --rollouts 1 --rollout-temperature 0 "$@" | grep -E 'records|student alone'
}

title "Foreign solutions, rewritten in the model's own words"
"$bin/idiolect" rewrite --in "$texts/foreign.jsonl" --out "$work/rewritten.jsonl" --show 1

title "IDFT on the rewritten solutions"
"$bin/idiolect" finetune --in "$work/rewritten.jsonl" --out "$work/model.bin" --loss idft \
  --steps "${IDIOLECT_STEPS:-120}" --eval "$texts/own_eval.jsonl" --retain "$texts/retained_eval.jsonl"

title "New questions, answered without a hint: before"
ask
title "and after"
ask --model "$work/model.bin" --tokenizer "$here/default_model/tokenizer.bin"
