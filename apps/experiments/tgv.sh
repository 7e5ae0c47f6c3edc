#!/usr/bin/env bash
# Total generalised variation against total variation, both learned, on a piecewise affine image and on photographs; and what
# a weight of the second part (alpha0) that is too small or too large does when alpha1 is learned beside it: oscillation on
# the one side, total variation on the other.
# Usage: tgv.sh OUT [PHOTOGRAPH...], OUT a new folder. BILEVEL_DENOISE names the program.
#
# Setting: one crop of 128x128, noise of standard deviation 0.1, seed 1; NU [0.002], xi and xi_v 0.001. alpha0 is FACTORS
# ["0.0333 0.1 10 30 300"] times the learned one. OUT/IMAGE-tv, OUT/IMAGE-tgv2, OUT/IMAGE-FACTOR are the runs, pictures in
# images/, OUT/table.txt what is printed.
set -euo pipefail
shopt -s inherit_errexit

if (($# < 1)) || [[ $1 == -* ]]; then
  sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
  exit 2
fi
out=$1 photographs=("${@:2}")
denoise=${BILEVEL_DENOISE:-bilevel-denoise}
source "$(dirname "$0")/result_folder.sh"
begin_result "$out"

# Planes of several slopes, meeting along lines and a circle: a PGM.
awk 'BEGIN {
  n = 128
  print "P2\n" n, n "\n65535"
  for (r = 0; r < n; ++r)
    for (c = 0; c < n; ++c) {
      x = c / (n - 1); y = r / (n - 1)
      v = x + y < 0.9 ? 0.15 + 0.8 * x : 0.9 - 0.5 * y
      if ((x - 0.6) ^ 2 + (y - 0.55) ^ 2 < 0.06) v = 0.1 + 0.7 * y + 0.2 * x
      if (x > 0.1 && x < 0.35 && y > 0.7 && y < 0.92) v = 0.2 + 2 * (x - 0.1)
      printf "%d\n", 65535 * v + 0.5
    }
}' >"$work/affine.pgm"

# number KEY FILE: the last number of that name in a JSON file.
number() { sed -n "s/^ *\"$1\": \([0-9.e+-]*\),\{0,1\}$/\1/p" "$2" | tail -1; }
# learned NAME FILE: a number of a model.json.
learned() { awk -F '[:,]' -v name="\"$1\"" '$1 ~ /"name"/ { own = index($2, name) } own && $1 ~ /"value"/ { print $2 + 0; exit }' "$2"; }
# train NAME IMAGE OPTION...: a run, and its row of the table.
train() {
  local name=$1 image=$2
  shift 2
  trained "$name" "$denoise" train --data "$image" --images 1 --crop 128 --sigma 0.1 --seed 1 --quiet --out "$work/$name" "$@"
}
row() { printf '%-10s %-16s %8s %8s %10s\n' "$@"; }
result() { # IMAGE TEXT NAME
  row "$1" "$2" "$(printf %.2f "$(number psnr "$work/$3/summary.json")")" "$(printf %.4f "$(number ssim "$work/$3/summary.json")")" \
    "$(printf %.3f "$(number loss "$work/$3/summary.json")")"
}
{
  row image model 'PSNR/dB' SSIM loss
  for image in "$work/affine.pgm" "${photographs[@]}"; do
    name=$(basename "${image%.*}")
    train "$name-tv" "$image" --model tv
    result "$name" tv "$name-tv"
    train "$name-tgv2" "$image" --model tgv2 --init "nu=${NU:-0.002}"
    result "$name" tgv2 "$name-tgv2"
    alpha1=$(learned alpha1 "$work/$name-tgv2/model.json") alpha0=$(learned alpha0 "$work/$name-tgv2/model.json")
    for factor in ${FACTORS:-0.0333 0.1 10 30 300}; do
      train "$name-$factor" "$image" --model tgv2 --learn alpha1 \
        --init "nu=${NU:-0.002}" --init "alpha1=$alpha1" \
        --init "alpha0=$(awk -v a="$alpha0" -v f="$factor" 'BEGIN { print a * f }')"
      result "$name" "alpha0 x $factor" "$name-$factor"
    done
  done
} | tee "$work/table.txt"
