#!/usr/bin/env bash
# Usage: run.sh SCRIPT.py ARGUMENT...
# Compares with another program (the scripts beside this one) by the Python of BILEVEL_CROSS_PYTHON [python3]. Ends with 77,
# which CTest counts as skipped, where the program is not installed.
set -euo pipefail

python=${BILEVEL_CROSS_PYTHON:-python3}
if ! command -v "$python" >/dev/null; then
  echo "skipped: there is no $python."
  exit 77
fi
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2} PYTHONDONTWRITEBYTECODE=1
exec "$python" "$(dirname "$0")/$1" "${@:2}"
