#!/usr/bin/env bash
# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0

# The method on a real language model, from a fresh Debian to a page of pictures. Each stage leaves its
# results and a stamp; what has a stamp is not done again.
set -Eeuo pipefail
# shellcheck source-path=SCRIPTDIR source=../cmake/bootstrap.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cmake/bootstrap.sh"

engines="${IDIOLECT_ENGINES:-$HOME/.cache/idiolect/engines}"

usage() {
  cat <<TEXT
usage: bash examples/real_model.sh [--quick] [--gsm8k FILE] [--model GGUF] [--out DIR] [--restart]
                                   [--steps N] [--threads N]

Sets up llama.cpp, PyTorch and SmolLM2-135M-Instruct (cmake/engines.sh, once), builds the tool and the
trainer, and then, about 15 minutes on 2 cores:

1. The model answers short word problems; its answers, the reference answers and those to other
   problems are scored: CLL beside perplexity.
2. Hinted decoding of a dozen problems: who led each token, what was accepted, CLL before and after.
3. Training for a minute each with SFT and IDFT on reference answers: what is learned, what forgotten;
   the checkpoints go back to llama.cpp and are scored there.
4. A page of pictures, DIR/index.html, and what held and what did not, as text.

Stopped at any moment, the same command goes on where it was. A stage is done again if its stamp in
DIR/done is removed.

  --quick       a fifth of it, with 10 seconds of training: about 3 minutes
  --gsm8k FILE  problems of yours, such as GSM8K's test.jsonl, instead of the project's own
  --model GGUF  another Llama with a chat template
  --out DIR     where results go (default: build/real_model, with --quick build/real_model-quick)
  --restart     begin anew
  --steps N     train for N steps instead of by the clock
  --threads N   threads of the engines (default: one a processor; fewer on a busy machine)

environment:
  IDIOLECT_ENGINES     where the engines are set up (here: $engines)
  IDIOLECT_JOBS        parallel compilations (default: one a processor)
  IDIOLECT_CMAKE_ARGS  more arguments for cmake
  IDIOLECT_BIN         a folder with idiolect, idiolect_real_model and torch_trainer: nothing is built
TEXT
}

model="$engines/models/SmolLM2-135M-Instruct.Q4_1.gguf"
parts=(llama_cpp model torch)
out="" gsm8k="" restart=no quick=no steps="" threads=""
while [[ $# -gt 0 ]]; do
  case "$1" in
    -h | --help)
      usage
      exit 0
      ;;
    --quick) quick=yes ;;
    --restart) restart=yes ;;
    --gsm8k | --model | --out | --steps | --threads)
      [[ $# -ge 2 ]] || die "$1 needs a value (see --help)"
      case "$1" in
        --gsm8k) gsm8k="$(realpath -m "$2")" ;;
        --model) model="$(realpath -m "$2")" parts=(llama_cpp torch) ;;
        --out) out="$2" ;;
        --steps) steps="$2" ;;
        --threads) threads="$2" ;;
      esac
      shift
      ;;
    *) die "no such option: $1 (see --help)" ;;
  esac
  shift
done
if [[ -z "$out" ]]; then
  out="$root/build/real_model"
  [[ $quick == no ]] || out+=-quick
fi
for number in "$steps" "$threads"; do
  [[ "$number" =~ ^([1-9][0-9]*)?$ ]] || die "--steps and --threads take a whole number from 1, not '$number'"
done
[[ -z "$gsm8k" || -f "$gsm8k" ]] || die "--gsm8k: there is no file $gsm8k"
[[ " ${parts[*]} " == *" model "* || -f "$model" ]] || die "--model: there is no file $model"

# ---- set-up

begin=$SECONDS
bash "$root/cmake/engines.sh" "${parts[@]}"
if [[ -z "${IDIOLECT_BIN:-}" ]]; then
  need compiler cmake ninja Eigen3 nlohmann_json CLI11
  build="$root/build/real_model-build"
  mkdir -p "$build"
  say "building the programs (log: $build/log)"
  if ! {
    configure "$build" -DCMAKE_BUILD_TYPE=Release -DIDIOLECT_NATIVE=ON -DIDIOLECT_CUDA=OFF \
      -DIDIOLECT_LLAMA_CPP=ON -DIDIOLECT_TORCH=ON -DIDIOLECT_ENGINES_DIR="$engines" \
      -DIDIOLECT_BUILD_TESTS=OFF -DIDIOLECT_BUILD_EXAMPLES=ON -DIDIOLECT_BUILD_BENCH=OFF \
      -DIDIOLECT_BUILD_DOCS=OFF &&
      cmake --build "$build" --parallel "$jobs" --target idiolect_tool torch_trainer idiolect_real_model
  } >"$build/log" 2>&1; then
    tail -n 15 "$build/log" >&2
    die "the build failed; all of it is in $build/log"
  fi
  IDIOLECT_BIN="$build/bin"
fi
bin="$(realpath "$IDIOLECT_BIN")"
python="$engines/python/bin/python"
say "set up in $((SECONDS - begin)) s"

# ---- stages

if [[ $restart == yes && -f "$out/settings.json" ]]; then
  rm -rf "${out:?}"/{data,scores,done,sft,idft,untouched,settings.json,own*.jsonl,cool.jsonl} \
    "${out:?}"/{hinted,accepted,rejected,answers-*}.json* "${out:?}"/{sft,idft,untouched}.gguf
fi
mkdir -p "$out/scores" "$out/done"
trap 'say "stopped; the same command goes on from here" >&2; exit 130' INT TERM
trap 'say "stage \"${current:-set-up}\" failed; the same command begins with it" >&2' ERR

# stage <name> <what it does> <command>...: unless its stamp is there.
stage() {
  current="$1"
  local stamp="$out/done/$1.json" start_ns seconds
  [[ -f "$stamp" ]] && { say "$2: is there"; return 0; }
  say "$2"
  start_ns="$(date +%s%N)"
  "${@:3}"
  seconds=$((($(date +%s%N) - start_ns) / 1000000))
  printf '{"stage": "%s", "seconds": %d.%03d, "finished": %s}\n' "$1" \
    $((seconds / 1000)) $((seconds % 1000)) "$(date +%s.%N)" >"$stamp.part"
  mv "$stamp.part" "$stamp"
}

tool() { "$bin/idiolect" "$@" >"$out/log" || { tail -n 5 "$out/log" >&2; return 1; }; }
with_threads=(${threads:+--threads "$threads"})
chat=(--chat --model "$model" ${with_threads[@]+"${with_threads[@]}"})
# score <name> <texts> <option>...
score() {
  tool score --in "$2" --json "$out/scores/$1.json" --per-token "$out/scores/$1.tokens.jsonl" "${@:3}"
}

deal_problems() {
  "$bin/idiolect_real_model" problems --out "$out" --model "$(basename "$model")" ${steps:+--steps "$steps"} \
    ${gsm8k:+--gsm8k "$gsm8k"} ${quick_flag[@]+"${quick_flag[@]}"}
}
setting() { sed -n "s/^ *\"$1\": \([0-9]*\),\{0,1\}$/\1/p" "$out/settings.json"; }

# sample <name> <problems> <option>...
sample() {
  tool sample "${chat[@]}" --prompts "$out/data/$2.jsonl" --max-tokens "$(setting max_tokens)" \
    --out "$out/$1.jsonl" "${@:3}"
}

decode_with_hints() {
  local task='{question}\nWork it out in short steps. The last line is #### and the number.'
  local hint='Here is a problem with its solution.\n\nProblem: {question}\nSolution: {hint}\n\n'
  tool rewrite "${chat[@]}" --in "$out/data/hinted.jsonl" --out "$out/accepted.jsonl" \
    --rejected "$out/rejected.jsonl" --json "$out/hinted.json" --trace --seed 4 --verifier numeric \
    --beta 1 --rollouts 1 --tries 2 --max-tokens 120 --repeat-length 12 --repeat-times 3 \
    --prompt-template "$task" --hint-template "${hint}Now solve it in your own words.\n$task"
  cat "$out/accepted.jsonl" "$out/rejected.jsonl" >"$out/hinted.jsonl"
  score hinted "$out/hinted.jsonl" "${chat[@]}"
}

# Through LibTorch and back to a GGUF, `$1` with the trainer's options behind it.
train() {
  local name="$1"
  shift
  "$bin/torch_trainer" --model "$model" --train "$out/data/train.jsonl" --eval "$out/data/asked.jsonl" \
    --out "$out/$name" ${with_threads[@]+"${with_threads[@]}"} "$@"
  "$python" "$root/examples/torch_trainer/to_gguf.py" "$out/$name" "$model" "$out/$name.gguf" --type f16
  rm -f "$out/$name/model.safetensors"
}
train_for() {
  local long=(--seconds "$(setting seconds)")
  [[ -z "$steps" ]] || long=(--steps "$steps")
  train "$1" --loss "$2" "${long[@]}" --batch 4 --lr 5e-5 --log-every 5 --seed 5
}
# measure <name>: a model after training, by what is to be learned and what it wrote before.
measure() {
  local of=(--chat --model "$out/$1.gguf" ${with_threads[@]+"${with_threads[@]}"})
  score "$1-reference" "$out/data/held_out.jsonl" "${of[@]}" --with-end
  score "$1-own" "$out/own.jsonl" "${of[@]}"
  score "$1-other" "$out/own-other.jsonl" "${of[@]}"
  tool sample "${of[@]}" --prompts "$out/data/asked.jsonl" --temperature 0 --max-tokens 96 --out "$out/answers-$1.jsonl"
}

quick_flag=()
[[ $quick == no ]] || quick_flag=(--quick)
deal_problems
stage own "the model answers problems by itself" sample own held_out --seed 1
stage other "and other prompts" sample own-other other_prompts --seed 2
stage cool "and problems at temperature 0.3" sample cool cool --seed 3 --temperature 0.3
stage score-own "its answers are scored" score own "$out/own.jsonl" "${chat[@]}"
stage score-cool "those at temperature 0.3" score cool "$out/cool.jsonl" "${chat[@]}"
stage score-cool-centred "the same, centred by their sampler" \
  score cool-centred "$out/cool.jsonl" "${chat[@]}" --sampler-temperature 0.3
stage score-reference "the reference answers" \
  score reference "$out/data/held_out.jsonl" "${chat[@]}" --with-end
stage score-swapped "the answers to other problems" \
  score swapped "$out/data/swapped.jsonl" "${chat[@]}" --with-end
stage hinted "problems are answered with a hint" decode_with_hints
# The untouched weights take the same way, so that only training makes the difference.
stage untouched "the weights go through LibTorch and back, untouched" train untouched --steps 1 --batch 1 --lr 1e-30
stage sft "training with SFT" train_for sft nll
stage idft "training with IDFT" train_for idft idft
stage measure-untouched "the untouched model is measured" measure untouched
stage measure-sft "the model after SFT" measure sft
stage measure-idft "the model after IDFT" measure idft

current=page
printf '\n'
"$bin/idiolect_real_model" page --out "$out"
printf '\n'
say "page: $out/index.html (all of it in $((SECONDS - begin)) s)"
