#!/usr/bin/env bash
# Usage: symbols.sh LIBRARY VARIANT=LIST...   (LIST: a file that names the variant's kernel objects, one a line)
#
# 1. The shared library exports symbols of namespace bilevel only, and none of bilevel::kernels.
# 2. The kernel objects of an instruction-set variant define no global or weak symbol outside
#    bilevel::kernels::VARIANT. The linker keeps one copy of a weak symbol, from whichever object comes first: a
#    std:: template compiled for AVX-512 could become the one that the baseline calls.
set -euo pipefail

nm=${NM:-nm}
library=${1:?usage: symbols.sh LIBRARY VARIANT=LIST...}
shift
failed=0

# Mangled names: special prefix (vtable, typeinfo, guard variable, thunk, local entity), then the nested name.
special='(T[VIST]|GV|GR|T[hvc][hvn0-9_]*|Z)*'
# The sanitizers' markers and the personality pointer of exception tables hold no code.
neutral='^(__odr_asan.*|__asan_.*|DW\.ref\.__gxx_personality_v0|_init|_fini)$'

exports=$("$nm" -D --defined-only --format=posix "$library" | awk '{ sub(/@.*/, "", $1); print $1 }')
foreign=$(grep -vE "^_Z${special}N[VKRO]*7bilevel" <<<"$exports" | grep -vE "$neutral" || true)
if [[ -n $foreign ]]; then
  echo "FAILED: $(basename "$library") exports symbols outside namespace bilevel:"
  c++filt <<<"$foreign" | sed 's/^/  /'
  failed=1
fi
kernels=$(grep -E '^_Z.*N[VKRO]*7bilevel7kernels' <<<"$exports" || true)
if [[ -n $kernels ]]; then
  echo "FAILED: $(basename "$library") exports symbols of bilevel::kernels:"
  c++filt <<<"$kernels" | sed 's/^/  /'
  failed=1
fi
if [[ -z $exports ]]; then
  echo "FAILED: $(basename "$library") exports nothing."
  failed=1
fi
echo "$(basename "$library"): $(wc -l <<<"$exports") exported symbols."

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
  echo "$variant: ${#objects[@]} objects, $(grep -c . <<<"$symbols") global or weak symbols."
done
exit $failed
