#!/usr/bin/env bash
# Does the best sampling pattern depend on the regulariser? Learns a pattern for each, then reconstructs under every pattern
# with every regulariser, weights tuned: a table of PSNR on slices that were not learned from, a column per pattern.
# Usage: patterns.sh VOLUME OUT [REGULARISER...], VOLUME a NIfTI file, OUT a new folder; REGULARISER as of bilevel-mri learn
# but foe [h1 wavelet tv tv2]. BILEVEL_MRI names the program.
#
# Setting: 4 slices for learning and 4 of another region to test, 64x64, 30 % of k-space, noise 0.003. OUT/A is the run that
# learns for A, OUT/B-under-A that of regulariser B under its pattern, OUT/table.txt what is printed.
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
data=(--data "$volume" --slices "${SLICES:-50:82:8}" --size 64 --sigma 0.003 --seed 1 --quiet)
source "$(dirname "$0")/result_folder.sh"
begin_result "$out"

for a in "${names[@]}"; do
  logged "$a" "$mri" learn "${data[@]}" --rate 0.3 --regulariser "$a" --out "$work/$a"
done
# psnr B A: of regulariser B under the pattern of A.
psnr() {
  logged "$1-under-$2" "$mri" baseline "${data[@]}" --pattern given --from "$work/$2" --regulariser "$1" --out "$work/$1-under-$2"
  "$mri" evaluate --run "$work/$1-under-$2" --data "$volume" --slices "${TEST_SLICES:-90:114:6}" --sigma 0.003 --seed 2 --json |
    sed -n 's/^ *"psnr": \([0-9.]*\),\{0,1\}$/\1/p' | tail -1
}
{
  printf '%-26s' 'PSNR/dB, pattern of'
  printf '%9s' "${names[@]}"
  printf '\n'
  for b in "${names[@]}"; do
    printf '%-26s' "reconstructed by $b"
    for a in "${names[@]}"; do
      value=$(psnr "$b" "$a")  # in an argument of printf a failure would not end the script
      printf '%9.2f' "$value"
    done
    printf '\n'
  done
} | tee "$work/table.txt"
