#!/usr/bin/env bash
# Usage: symbols.sh LIBRARY... -- VARIANT=LIST...   (LIST: a file that names the variant's kernel objects, one a line)
#
# 1. The shared libraries export symbols of namespace bilevel only, and none of bilevel::kernels; the modules export
#    their entries and nothing else.
#    Nor do they call exit(), which nvcc also puts in the place of a device function that the host calls.
# 2. libbilevel and libbilevel_io need no library of CUDA, libbilevel none of a file format and no BLAS.
# 3. The kernel objects of an instruction-set variant define no global or weak symbol outside
#    bilevel::kernels::VARIANT. The linker keeps one copy of a weak symbol, from whichever object comes first: a
#    std:: template compiled for AVX-512 could become the one that the baseline calls.
# 4. What a variant does for a pixel stands inside the loop over the pixels of a row: as a function of its own that the
#    loop calls, it works on one pixel at a time.
set -euo pipefail

nm=${NM:-nm}
libraries=()
while (($# > 0)) && [[ $1 != -- ]]; do
  libraries+=("$1")
  shift
done
((${#libraries[@]} > 0 && $# > 1)) || { echo "usage: symbols.sh LIBRARY... -- VARIANT=LIST..." >&2; exit 2; }
shift
failed=0

# Mangled names: special prefix (vtable, typeinfo, guard variable, thunk, local entity), then the nested name.
special='(T[VIST]|GV|GR|T[hvc][hvn0-9_]*|Z)*'
# The sanitizers' markers and the personality pointer of exception tables hold no code.
neutral='^(__odr_asan.*|__asan_.*|DW\.ref\.__gxx_personality_v0|_init|_fini)$'

# complain WHAT SYMBOLS
complain() {
  [[ -n $2 ]] || return 0
  echo "FAILED: $1:"
  c++filt <<<"$2" | sed 's/^/  /'
  failed=1
}

for library in "${libraries[@]}"; do
  name=$(basename "$library")
  exports=$("$nm" -D --defined-only --format=posix "$library" | awk '{ sub(/@.*/, "", $1); print $1 }')
  [[ -n $exports ]] || complain "$name exports nothing" " "
  own="^_Z${special}N[VKRO]*7bilevel"
  [[ $name != libbilevel_c* ]] || own='^bilevel_(cblas_module|cuda_module|cuda_libraries)$'
  complain "$name exports symbols that it must not" "$(grep -vE "$own" <<<"$exports" | grep -vE "$neutral" || true)"
  complain "$name exports symbols of bilevel::kernels" "$(grep -E '^_Z.*N[VKRO]*7bilevel7kernels' <<<"$exports" || true)"
  complain "$name ends the process (device code that the host calls?)" \
    "$("$nm" -D --undefined-only "$library" | awk '$NF ~ /^exit(@|$)/')"
  unwanted='libcuda|libcufft|libcublas'
  [[ $name != libbilevel.* ]] || unwanted+='|libhdf5|libismrmrd|libnifti|libznz|libtiff|libpng|libjpeg|libopenblas|libcblas|libblas'
  [[ $name == libbilevel_cuda* ]] ||
    complain "$name needs libraries that it must not" "$(ldd "$library" | grep -E "$unwanted" || true)"
  echo "$name: $(wc -l <<<"$exports") exported symbols."
done

for argument in "$@"; do
  variant=${argument%%=*}
  mapfile -t objects < <(grep . "${argument#*=}")
  if ((${#objects[@]} == 0)); then
    echo "FAILED: variant $variant has no kernel objects."
    failed=1
    continue
  fi
  symbols=$("$nm" --extern-only --defined-only --format=posix "${objects[@]}" | awk 'NF >= 2 { print $1 }' | sort -u)
  own="^_Z${special}N[VKRO]*7bilevel7kernels${#variant}${variant}"
  foreign=$(grep -vE "$own" <<<"$symbols" | grep -vE "$neutral" || true)
  if [[ -n $foreign ]]; then
    echo "FAILED: kernel objects of $variant define symbols outside bilevel::kernels::$variant:"
    c++filt <<<"$foreign" | sed 's/^/  /'
    failed=1
  fi
  [[ $variant == baseline ]] ||
    complain "kernel objects of $variant call a function for every pixel; mark its lambda BILEVEL_PIXEL_LAMBDA" \
      "$("$nm" --defined-only --format=posix "${objects[@]}" | awk 'NF >= 2 { print $1 }' | c++filt |
        grep -E '\{lambda\(int, int\)#[0-9]+\}::operator\(\)' | sort -u || true)"
  echo "$variant: ${#objects[@]} objects, $(grep -c . <<<"$symbols") global or weak symbols."
done
exit $failed
