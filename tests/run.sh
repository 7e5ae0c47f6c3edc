#!/usr/bin/env bash
# Builds and runs the whole test suite; see --help.
set -uo pipefail

usage() {
  cat <<'EOF'
Usage: bash tests/run.sh [--quick] [--no-install]
  Installs missing Debian packages, builds into build/ (Release, warnings as errors, benchmarks included) and runs
  every test; then builds build-sanitize/ (address and undefined-behaviour sanitizers) and runs the tests there too;
  then checks the format of the sources.
  --quick       without build-sanitize/
  --no-install  install nothing
The tests on reference problems and measured data need the folder that BILEVEL_SHARED names; without it they are skipped.
EOF
}
quick=0 install=1
for argument in "$@"; do
  case $argument in
    --quick) quick=1 ;;
    --no-install) install=0 ;;
    -h | --help) usage; exit 0 ;;
    *) echo "tests/run.sh: unknown option $argument (see --help)." >&2; exit 2 ;;
  esac
done

cd "$(dirname "$0")/.." || exit 1
packages=(cmake g++ ninja-build pkg-config libpng-dev libtiff-dev nlohmann-json3-dev libcli11-dev libgtest-dev
  libgmock-dev libbenchmark-dev python3-minimal)
if ((install)); then
  bash cmake/install-packages.sh "${packages[@]}" || exit 1
fi
jobs=$(nproc)
failed=0 passed_total=0 failed_total=0 skipped_total=0
lines=()

# attribute FILE NAME: a count in the first element of a JUnit file.
attribute() { sed -n "/<testsuite /,/>/p" "$1" | tr '\n\t' '  ' | sed -n "s/.*[ ]$2=\"\([0-9]*\)\".*/\1/p"; }

# run_tree FOLDER CTEST_OPTIONS -- CMAKE_OPTIONS: configure, build, test; adds to the totals.
run_tree() {
  local folder=$1 start=$SECONDS ctest_options=() status=0 all bad skipped disabled
  shift
  while [[ $1 != -- ]]; do ctest_options+=("$1"); shift; done
  shift
  echo "== $folder: configure and build"
  local generator=(-G Ninja)
  [[ -f $folder/CMakeCache.txt ]] && generator=()
  if ! { cmake -S . -B "$folder" "${generator[@]}" "$@" && cmake --build "$folder" -j "$jobs"; }; then
    lines+=("$folder: does not build")
    failed=1 failed_total=$((failed_total + 1))
    return
  fi
  echo "== $folder: tests"
  rm -f "$folder/junit.xml"
  ctest --test-dir "$folder" --output-on-failure --no-tests=error -j "$jobs" --output-junit "$PWD/$folder/junit.xml" \
    "${ctest_options[@]}" </dev/null || status=$?
  all=$(attribute "$folder/junit.xml" tests 2>/dev/null)
  bad=$(attribute "$folder/junit.xml" failures 2>/dev/null)
  skipped=$(attribute "$folder/junit.xml" skipped 2>/dev/null)
  disabled=$(attribute "$folder/junit.xml" disabled 2>/dev/null)
  skipped=${skipped:+$((skipped + ${disabled:-0}))}
  if [[ -z $all || -z $bad || -z $skipped ]] || ((status != 0 && bad == 0)); then
    lines+=("$folder: ctest ended with status $status")
    failed=1 failed_total=$((failed_total + 1))
    return
  fi
  ((status == 0)) || failed=1
  passed_total=$((passed_total + all - bad - skipped))
  failed_total=$((failed_total + bad))
  skipped_total=$((skipped_total + skipped))
  lines+=("$folder: $((all - bad - skipped)) passed, $bad failed, $skipped skipped ($((SECONDS - start)) s)")
}

run_tree build -- -DCMAKE_BUILD_TYPE=Release -DBILEVEL_WERROR=ON -DBILEVEL_TESTS=ON -DBILEVEL_APPS=ON -DBILEVEL_BENCHMARKS=ON
if ((quick)); then
  lines+=("build-sanitize: left out (--quick)")
else
  export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_stack_use_after_return=1:strict_string_checks=1}
  export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
  run_tree build-sanitize -LE package -- -C cmake/presets/sanitize.cmake
fi

formatter=$(command -v clang-format-14 || command -v clang-format || true)
if [[ -n $formatter && $("$formatter" --version) == *"version 14."* ]]; then
  if find include src kernels apps tests \( -name '*.hpp' -o -name '*.cpp' \) -print0 |
    xargs -0 "$formatter" --dry-run --Werror; then
    lines+=("format: clean")
  else
    lines+=("format: run clang-format -i on the files above")
    failed=1 failed_total=$((failed_total + 1))
  fi
else
  lines+=("format: not checked (needs clang-format 14)")
fi

echo
printf '%s\n' "${lines[@]}"
echo "$passed_total passed, $failed_total failed, $skipped_total skipped"
exit $failed
