#!/usr/bin/env bash
# Denoising with every regulariser, its parameters learned: PSNR on photographs that were not learned from, and pictures.
# Usage: regularisers.sh TRAIN TEST OUT [MODEL...], TRAIN and TEST folders of photographs (24 in TEST), OUT a new folder;
# MODEL as of bilevel-denoise train but dtv [tikhonov h1 wavelet tv2 tv tgv2 foe]. BILEVEL_DENOISE names the program.
#
# Setting: 8 crops of 64x64 for learning, 24 centre crops of 128x128 to test, noise of standard deviation 0.1, seed 1, foe
# for at most FOE_SECONDS [300]. OUT/MODEL is the run, OUT/MODEL/pictures the crops, OUT/table.txt what is printed,
# OUT/MODEL.log what went wrong.
set -euo pipefail
shopt -s inherit_errexit

if (($# < 3)) || [[ $1 == -* ]]; then
  sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
  exit 2
fi
train=$1 test=$2 out=$3
models=("${@:4}")
((${#models[@]})) || models=(tikhonov h1 wavelet tv2 tv tgv2 foe)
denoise=${BILEVEL_DENOISE:-bilevel-denoise}
source "$(dirname "$0")/result_folder.sh"
begin_result "$out"

# number KEY FILE: the last number of that name in a JSON file.
number() { sed -n "s/^ *\"$1\": \([0-9.e+-]*\),\{0,1\}$/\1/p" "$2" | tail -1; }

# learned RUN: the numbers of its model, those that were not learned being called fixed, and the names of arrays.
learned() {
  awk -F '"' '/^ *"name":/ { text = text (text == "" ? "" : ", ") $4 }
    /^ *"value":/ { sub(/,/, "", $3); sub(/: /, "", $3); text = text sprintf(" %.4g", $3) }
    /^ *"learned": false/ { text = text " (fixed)" }
    END { print text }' "$1/model.json"
}

row() { printf '%-10s %9s %9s %14s  %s\n' "$@"; }
{
  row model 'PSNR/dB' SSIM applications 'what was learned'
  for model in "${models[@]}"; do
    options=()
    [[ $model != foe ]] || options=(--precision mixed --time-limit "${FOE_SECONDS:-300}")
    trained "$model" "$denoise" train --data "$train" --model "$model" --images 8 --crop 64 --sigma 0.1 --seed 1 --quiet \
      "${options[@]}" --out "$work/$model"
    logged "$model" "$denoise" evaluate --model "$work/$model/model.json" --data "$test" --images 24 --crop 128 \
      --sigma 0.1 --seed 1 --json --save "$work/$model/pictures" >"$work/$model/test.json"
    applications=$(tail -1 "$work/$model/log.jsonl" |
      sed -n 's/.*"lower_gradients":\([0-9]*\),"hessian_products":\([0-9]*\),"other_operators":\([0-9]*\).*/\1+\2+\3/p')
    row "$model" "$(printf %.2f "$(number psnr "$work/$model/test.json")")" \
      "$(printf %.4f "$(number ssim "$work/$model/test.json")")" "$((applications))" "$(learned "$work/$model")"
  done
  row noisy "$(printf %.2f "$(number psnr_noisy "$work/$model/test.json")")" \
    "$(printf %.4f "$(number ssim_noisy "$work/$model/test.json")")" 0 ''
} | tee "$work/table.txt"
