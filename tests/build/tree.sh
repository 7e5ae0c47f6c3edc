#!/usr/bin/env bash
# Usage: tree.sh SOURCE_FOLDER
# The shape of the source tree: top level, sizes, and what library sources must not do.
set -euo pipefail

cd "${1:?usage: tree.sh SOURCE_FOLDER}"
failed=0
complain() {
  echo "FAILED: $1"
  sed 's/^/  /' <<<"$2"
  failed=1
}

if git rev-parse --is-inside-work-tree >/dev/null 2>&1 && [[ -z $(git rev-parse --show-prefix) ]]; then
  mapfile -t files < <(git ls-files --cached --others --exclude-standard | sort -u | while read -r f; do
    [[ -e $f ]] && echo "$f"
  done)
else
  mapfile -t files < <(find . -path './build*' -prune -o -path './.git' -prune -o -type f -print | sed 's|^\./||' | sort)
fi
select_files() { printf '%s\n' "${files[@]}" | grep -E "$1" || true; }

top=$(printf '%s\n' "${files[@]}" | cut -d/ -f1 | grep -v '^\.' | sort -u)
expected=$(printf '%s\n' CMakeLists.txt README.md apps cmake include kernels src tests | sort)
difference=$(diff <(echo "$expected") <(echo "$top") | grep '^[<>]' || true)
[[ -z $difference ]] || complain "top level (< missing, > unexpected):" "$difference"

# FOLDER_PATTERN LINES
longer_than() {
  select_files "$1" | while read -r f; do
    n=$(wc -l <"$f")
    ((n <= $2)) || echo "$f: $n lines"
  done
}
long=$(longer_than '\.(hpp|cuh)$' 300)
[[ -z $long ]] || complain "headers of more than 300 lines:" "$long"
long=$(longer_than '\.(cpp|cu)$' 700)
[[ -z $long ]] || complain "sources of more than 700 lines:" "$long"

cited=$(select_files '\.(hpp|cpp|cu|sh|cmake|md|txt)$' | grep -v '^tests/build/tree.sh$' | xargs -d '\n' grep -noE '[A-Za-z_-]+\.md\b' -- | grep -v ':README\.md$' || true)
[[ -z $cited ]] || complain "documents that are not in the repository:" "$cited"

outside=$(select_files '^(include|src|kernels|apps|cmake|CMakeLists.txt|README.md)' | xargs -d '\n' grep -nF '../shared' -- || true)
[[ -z $outside ]] || complain "../shared is named outside tests/ and .ci/:" "$outside"

# Library code, comments removed: nothing printed, no process ended but the child in which files are read.
printing='(^|[^A-Za-z0-9_])(v?f?printf|f?puts|f?putchar|putc|perror|exit|_exit|_Exit|quick_exit|abort|terminate)[[:space:]]*\('
streams='std::(cout|cerr|clog)|#[[:space:]]*include[[:space:]]*<iostream>'
loud=$(select_files '^(include|src|kernels)/.*\.(cpp|hpp|cu|cuh)$' | while read -r f; do
  sed 's|//.*||' "$f" | grep -nE "$printing|$streams" | sed "s|^|$f:|" || true
done | grep -v '^src/io/child_process\.cpp:[0-9]*: *::_exit(0);$' || true)
[[ -z $loud ]] || complain "library sources print, exit or abort:" "$loud"

((failed)) || echo "${#files[@]} files: top level, sizes and library rules hold."
exit $failed
