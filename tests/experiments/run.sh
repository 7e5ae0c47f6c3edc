#!/usr/bin/env bash
# Usage: run.sh BILEVEL_DENOISE BILEVEL_MRI EXPERIMENT
# Runs a command of apps/experiments and looks at its table. Ends with 77, which CTest counts as skipped, without measured data.
set -euo pipefail

export BILEVEL_DENOISE=$1 BILEVEL_MRI=$2
source=$(cd "$(dirname "$0")/../.." && pwd)
shared=${BILEVEL_SHARED:-$source/../shared}/data
[[ -d $shared ]] || { echo "skipped: BILEVEL_SHARED names no folder with data."; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

case $3 in
  regularisers)
    bash "$source/apps/experiments/regularisers.sh" "$shared/bsd/train" "$shared/bsd/test" "$work/out" h1 tv
    awk '/^h1 / { h1 = $2 } /^tv / { tv = $2 } /^noisy / { noisy = $2 }
      END { exit !(h1 > noisy + 2 && tv > h1 + 0.5) }' "$work/out/table.txt"
    grep -q '^h1 .*xi 0.001 (fixed)' "$work/out/table.txt"
    ls "$work"/out/tv/pictures/*-denoised.png >/dev/null
    # What fails leaves its log, and its folder to the next try.
    ! bash "$source/apps/experiments/regularisers.sh" "$shared/bsd/train" "$shared/bsd/test" "$work/failed" no-such-model \
      2>"$work/message" || exit 1
    grep -q "$work/failed was not made; .* in $work/failed\." "$work/message"
    [[ ! -e $work/failed ]] && grep -q no-such-model "$work"/failed.*/no-such-model.log ;;
  patterns)
    export SLICES=0:16:8 TEST_SLICES=26:42:8
    bash "$source/apps/experiments/patterns.sh" "$shared/mri/nifti/colin27_slab_z058-099.nii.gz" "$work/out" h1 tv
    awk '/^reconstructed/ { n += ($4 > 20) + ($5 > 20); lines++ } END { exit !(lines == 4 && n == 8) }' \
      "$work/out/table.txt"
    grep -qE '^\|k\| / k_max of the pattern +0\.[0-9]+ +0\.[0-9]+$' "$work/out/table.txt" ;;
esac

! bash "$source/apps/experiments/$3.sh" 2>/dev/null || { echo "without arguments it runs."; exit 1; }
