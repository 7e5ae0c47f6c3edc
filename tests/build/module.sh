#!/usr/bin/env bash
# Usage: module.sh PROGRAM SOVERSION COMPILER
# A CUDA back end that is damaged, foreign or of another version is refused in a sentence, and the CPU stays usable.
set -euo pipefail

program=${1:?usage: module.sh PROGRAM SOVERSION COMPILER}
soversion=${2:?} cxx=${3:?}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
module=$work/libbilevel_cuda.so.$soversion
failed=0

# says PATTERN: of `--version` with the module in the way.
says() {
  local said
  said=$(LD_LIBRARY_PATH=$work${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} "$program" --version) ||
    { echo "FAILED: --version ended with $?"; failed=1; return; }
  grep '^cuda: ' <<<"$said"
  if ! grep -q "^cuda: device 'cuda:0': .*$1.*; use the device 'cpu'" <<<"$said" || ! grep -q '^device auto: cpu' <<<"$said"; then
    echo "FAILED: expected '$1' in:"
    echo "$said"
    failed=1
  fi
}
: >"$module"
says 'cannot be loaded: .*file too short'
echo 'extern "C" int something_else() { return 1; }' | "$cxx" -shared -fPIC -x c++ - -o "$module"
says 'is no CUDA back end of bilevel'
cat <<'TEXT' | "$cxx" -shared -fPIC -x c++ - -o "$module"
struct Module { const char* version; unsigned long layout; void* calls[8]; };
extern "C" const Module* bilevel_cuda_module() { static const Module m = {"9.9.9", 0, {}}; return &m; }
TEXT
says 'belongs to another build (version 9.9.9'
exit $failed
