#!/usr/bin/env bash
# Public headers include standard headers (<name>, without folder or extension) and "bilevel/..." and nothing else,
# have a guard, and do not name the types of CUDA, cuFFT, cuBLAS, FFTW, JSON, HDF5, ISMRMRD or NIfTI libraries.
# Usage: includes.sh INCLUDE_FOLDER...
set -euo pipefail

(($# > 0)) || { echo "usage: includes.sh INCLUDE_FOLDER..." >&2; exit 2; }
mapfile -t headers < <(find "$@" -name '*.hpp' | sort)
((${#headers[@]} > 0)) || { echo "no public header under: $*" >&2; exit 1; }

failed=0
if grep -nHE '^[[:space:]]*#[[:space:]]*include' "${headers[@]}" |
  grep -vE 'include[[:space:]]*(<[a-z_]+>|"bilevel/[a-z0-9_/]+\.hpp")'; then
  echo "FAILED: the includes above are neither standard headers nor \"bilevel/...\"."
  failed=1
fi
unguarded=$(grep -LE '^#(pragma once|ifndef [A-Z_]+_H)' "${headers[@]}" || true)
if [[ -n $unguarded ]]; then
  echo "FAILED: without a guard: $unguarded"
  failed=1
fi
if grep -nHE '__global__|__device__|\b(cuda[A-Z]|cufft|cublas|fftwf?_|cblas_|thrust::|cub::|nlohmann|CLI::|png_|TIFF[A-Z]|hid_t|H5[A-Z]|ISMRMRD::|nifti_|znz)' \
  "${headers[@]}"; then
  echo "FAILED: the lines above name a library that public headers must not need."
  failed=1
fi
((failed)) || echo "${#headers[@]} public headers: standard and bilevel includes only."
exit $failed
