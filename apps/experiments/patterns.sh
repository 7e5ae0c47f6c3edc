#!/usr/bin/env bash
# Does the best sampling pattern depend on the regulariser? Learns a pattern for each, then reconstructs under every pattern
# with every regulariser, weights tuned: tables of PSNR on the slices learned from and on others, a column per pattern, and
# how far from zero frequency the samples of each pattern are. The best pattern of a row should be its own.
# Usage: patterns.sh VOLUME OUT [REGULARISER...], VOLUME a NIfTI file, OUT a new folder; REGULARISER as of bilevel-mri learn
# but foe [h1 wavelet tv tv2]. BILEVEL_MRI names the program.
#
# Setting: 8 slices for learning and 8 between them to test (SLICES, TEST_SLICES), 64x64, 30 % of k-space, noise 0.003. OUT/A
# is the run that learns for A, OUT/B-under-A that of regulariser B under its pattern, OUT/table.txt what is printed.
set -euo pipefail
shopt -s inherit_errexit

if (($# < 2)) || [[ $1 == -* ]]; then
  sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
  exit 2
fi
volume=$1 out=$2
names=("${@:3}")
((${#names[@]})) || names=(h1 wavelet tv tv2)
mri=${BILEVEL_MRI:-bilevel-mri}
data=(--data "$volume" --slices "${SLICES:-50:114:8}" --size 64 --sigma 0.003 --seed 1 --quiet)
source "$(dirname "$0")/result_folder.sh"
begin_result "$out"

for a in "${names[@]}"; do
  trained "$a" "$mri" learn "${data[@]}" --rate 0.3 --regulariser "$a" --out "$work/$a"
done
# number KEY: the last of that name in the JSON that comes in.
number() { sed -n "s/^ *\"$1\": \([0-9.]*\),\{0,1\}$/\1/p" | tail -1; }
# reconstruct B A: by regulariser B under the pattern of A.
reconstruct() {
  trained "$1-under-$2" "$mri" baseline "${data[@]}" --pattern given --from "$work/$2" --regulariser "$1" --out "$work/$1-under-$2"
  "$mri" evaluate --run "$work/$1-under-$2" --data "$volume" --slices "${TEST_SLICES:-54:114:8}" --sigma 0.003 --seed 2 --json \
    >"$work/$1-under-$2/test.json"
}
# psnr_table TITLE FILE: from FILE of every run of a regulariser under a pattern.
psnr_table() {
  local a b
  printf '%-28s' "$1"
  printf '%9s' "${names[@]}"
  printf '\n'
  for b in "${names[@]}"; do
    printf '%-28s' "reconstructed by $b"
    for a in "${names[@]}"; do printf '%9.2f' "$(number psnr <"$work/$b-under-$a/$2")"; done
    printf '\n'
  done
}
for b in "${names[@]}"; do
  for a in "${names[@]}"; do reconstruct "$b" "$a"; done
done
{
  psnr_table 'learned from: pattern of' summary.json
  psnr_table 'other slices: pattern of' test.json
  printf '%-28s' '|k| / k_max of the pattern'
  for a in "${names[@]}"; do printf '%9.3f' "$(number mean_radius <"$work/$a-under-$a/test.json")"; done
  printf '\n'
} | tee "$work/table.txt"
