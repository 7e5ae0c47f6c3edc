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
  patterns)
    export SLICES=0:16:8 TEST_SLICES=26:42:8
    bash "$source/apps/experiments/patterns.sh" "$shared/mri/nifti/colin27_slab_z058-099.nii.gz" "$work/out" h1 tv
    awk '/^reconstructed/ { n += ($4 > 20) + ($5 > 20); lines++ } END { exit !(lines == 4 && n == 8) }' \
      "$work/out/table.txt"
    grep -qE '^\|k\| / k_max of the pattern +0\.[0-9]+ +0\.[0-9]+$' "$work/out/table.txt" ;;
esac

! bash "$source/apps/experiments/$3.sh" 2>/dev/null || { echo "without arguments it runs."; exit 1; }
