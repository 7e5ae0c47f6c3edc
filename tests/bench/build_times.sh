#!/usr/bin/env bash
# What building, testing and starting cost, at this commit and at another one side by side; see --help.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: bash tests/bench/build_times.sh [--before COMMIT] [--runs N] [--work DIR] [WHAT...]
  Clones the committed state of this repository, and COMMIT, into a temporary folder (or DIR, kept) and prints the
  median of N runs (default 3) of each, and their ratio. Packages must be installed. WHAT, by default quickstart,
  start and size:
  quickstart  bash apps/quickstart.sh in a fresh clone
  tests       bash tests/run.sh in a fresh clone
  all         bash tests/run.sh --all in a fresh clone (this commit only)
  rebuild     library and programs with the CUDA back end, after a change of each kernels/*_args.hpp
  start       bilevel-denoise --version, and a program that opens a CPU context, in milliseconds; its resident size
  size        libbilevel, stripped
  The last two look at the tree of quickstart, which is built if it is not there.
TEXT
}
before='' runs=3 work='' what=()
while (($# > 0)); do
  case $1 in
    --before) before=${2:?--before needs a commit}; shift ;;
    --runs) runs=${2:?--runs needs a number}; shift ;;
    --work) work=${2:?--work needs a folder}; shift ;;
    -h | --help) usage; exit 0 ;;
    quickstart | tests | all | rebuild | start | size) what+=("$1") ;;
    *) echo "build_times.sh: unknown argument $1 (see --help)." >&2; exit 2 ;;
  esac
  shift
done
((${#what[@]} > 0)) || what=(quickstart start size)
source=$(cd "$(dirname "$0")/../.." && pwd)
if [[ -z $work ]]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
fi
mkdir -p "$work"
sides=(after)
[[ -z $before ]] || sides=(before after)
declare -A commit=([after]=HEAD [before]=$before)

median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
# row NAME UNIT BEFORE AFTER
row() {
  local ratio=-
  [[ -z $3 || -z $4 ]] || ratio=$(awk -v a="$4" -v b="$3" 'BEGIN { printf "%.2f", a / b }')
  printf '%-44s %10s %10s %-3s %7s\n' "$1" "${3:--}" "${4:--}" "$2" "$ratio"
}
clone() { # SIDE: a fresh clone
  rm -rf "${work:?}/$1"
  git clone -q "$source" "$work/$1"
  git -C "$work/$1" checkout -q "$(git -C "$source" rev-parse "${commit[$1]}")"
}
seconds_of() { # COMMAND...
  local start=$EPOCHREALTIME
  if ! "$@" >"$work/log" 2>&1 </dev/null; then
    tail -n 20 "$work/log" >&2
    echo "build_times.sh: failed: $*" >&2
    exit 1
  fi
  awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.3f\n", b - a }'
}
# compare NAME UNIT MEASURE: MEASURE SIDE prints the result of one run.
compare() {
  declare -A result=([before]='' [after]='')
  local side run
  for side in "${sides[@]}"; do : >"$work/$side.runs"; done
  for ((run = 0; run < runs; run++)); do
    for side in "${sides[@]}"; do $3 "$side" >>"$work/$side.runs"; done
  done
  for side in "${sides[@]}"; do result[$side]=$(median <"$work/$side.runs"); done
  row "$1" "$2" "${result[before]}" "${result[after]}"
}

quickstart() { clone "$1"; seconds_of bash "$work/$1/apps/quickstart.sh" --no-install; }
tests() { clone "$1"; seconds_of bash "$work/$1/tests/run.sh" --no-install; }
everything() { clone after; seconds_of bash "$work/after/tests/run.sh" --all --no-install; }
need_tree() { [[ -x $work/$1/build/apps/bilevel-denoise ]] || quickstart "$1" >"$work/quickstart.seconds"; }
version() { seconds_of "$work/$1/build/apps/bilevel-denoise" --version | awk '{ print 1000 * $1 }'; }
client() { seconds_of "$work/$1/client" | awk '{ print 1000 * $1 }'; }
resident() { "$work/$1/client" | awk '{ print $1 / 1024 }'; }
make_client() {
  cat >"$work/client.cpp" <<'TEXT'
#include <bilevel/core/context.hpp>
#include <cstdio>
#include <fstream>
#include <string>
int main() {
  bilevel::Context context(bilevel::Device::open("cpu:1"));
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind("VmHWM:", 0) == 0) std::puts(line.c_str() + 6);
}
TEXT
  local tree=$work/$1
  g++ -std=c++20 -O1 -I"$tree/include" -I"$tree/build/include" "$work/client.cpp" -o "$tree/client" \
    -L"$tree/build/src" -lbilevel -Wl,-rpath,"$tree/build/src"
}
stripped() {
  strip -o "$work/stripped" "$(realpath "$work/$1/build/src/libbilevel.so")"
  awk -v bytes="$(stat -c %s "$work/stripped")" 'BEGIN { printf "%.1f\n", bytes / 1e6 }'
}
cuda_tree() { # SIDE: library and programs with CUDA
  local tree=$work/$1
  [[ -d $tree ]] || clone "$1"
  cmake -S "$tree" -B "$tree/build-cuda" -G Ninja -DCMAKE_BUILD_TYPE=Release -DBILEVEL_TESTS=OFF -DBILEVEL_CUDA=ON \
    >"$work/log" 2>&1 && cmake --build "$tree/build-cuda" >"$work/log" 2>&1 || { tail "$work/log" >&2; exit 1; }
}
rebuild() {
  touch "$work/$1/$header"
  seconds_of cmake --build "$work/$1/build-cuda"
}

printf '%-44s %10s %10s %-3s %7s\n' "$(nproc) processors, median of $runs" before after "" ratio
for measure in "${what[@]}"; do
  case $measure in
    quickstart) compare "apps/quickstart.sh" s quickstart ;;
    tests) compare "tests/run.sh" s tests ;;
    all) (runs=1 sides=(after) && compare "tests/run.sh --all" s everything) ;;
    rebuild)
      for side in "${sides[@]}"; do cuda_tree "$side"; done
      for header in $(cd "$source" && ls kernels/*_args.hpp); do compare "rebuild after $header" s rebuild; done ;;
    start)
      for side in "${sides[@]}"; do need_tree "$side"; make_client "$side"; done
      (runs=21 && compare "bilevel-denoise --version" ms version)
      (runs=21 && compare "a program that opens a CPU context" ms client)
      compare "its resident memory" MB resident ;;
    size)
      for side in "${sides[@]}"; do need_tree "$side"; done
      compare "libbilevel, stripped" MB stripped ;;
  esac
done
