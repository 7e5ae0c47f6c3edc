#!/usr/bin/env bash
# Denoising with every regulariser, its parameters learned: PSNR on photographs that were not learned from, and pictures.
# Usage: regularisers.sh TRAIN TEST OUT [MODEL...], TRAIN and TEST folders of photographs (24 in TEST), OUT a new folder;
# MODEL as of bilevel-denoise train but dtv [tikhonov h1 wavelet tv2 tv tgv2 foe]. BILEVEL_DENOISE names the program.
#
# Setting: 8 crops of 64x64 for learning, 24 centre crops of 128x128 to test, noise of standard deviation 0.1, seed 1, foe
# for at most FOE_SECONDS [300]. OUT/MODEL is the run, OUT/MODEL/pictures the crops, OUT/table.txt what is printed.
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
mkdir "$out"

# number KEY FILE: the last number of that name in a JSON file.
number() { sed -n "s/^ *\"$1\": \([0-9.e+-]*\),\{0,1\}$/\1/p" "$2" | tail -1; }

row() { printf '%-10s %9s %9s %14s  %s\n' "$@"; }
{
  row model 'PSNR/dB' SSIM applications 'what was learned'
  for model in "${models[@]}"; do
    options=()
    [[ $model != foe ]] || options=(--precision mixed --time-limit "${FOE_SECONDS:-300}")
    "$denoise" train --data "$train" --model "$model" --images 8 --crop 64 --sigma 0.1 --seed 1 --quiet "${options[@]}" \
      --out "$out/$model"
    "$denoise" evaluate --model "$out/$model/model.json" --data "$test" --images 24 --crop 128 --sigma 0.1 --seed 1 --json \
      --save "$out/$model/pictures" >"$out/$model/test.json"
    learned=$(tail -1 "$out/$model/log.jsonl" | sed -n 's/.*"theta":{\([^}]*\)}.*/\1/p' | tr -d '"')
    work=$(tail -1 "$out/$model/log.jsonl" |
      sed -n 's/.*"lower_gradients":\([0-9]*\),"hessian_products":\([0-9]*\),"other_operators":\([0-9]*\).*/\1+\2+\3/p')
    row "$model" "$(printf %.2f "$(number psnr "$out/$model/test.json")")" \
      "$(printf %.4f "$(number ssim "$out/$model/test.json")")" "$((work))" "$learned"
  done
  row noisy "$(printf %.2f "$(number psnr_noisy "$out/$model/test.json")")" \
    "$(printf %.4f "$(number ssim_noisy "$out/$model/test.json")")" 0 ''
} | tee "$out/table.txt"
