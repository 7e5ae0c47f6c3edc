#!/usr/bin/env bash
# Builds and runs the whole test suite; see --help.
set -uo pipefail

usage() {
  cat <<'TEXT'
Usage: bash tests/run.sh [--quick] [--no-install]
  Installs missing Debian packages, builds into build/ (Release, warnings as errors, benchmarks included, with nvcc also
  the CUDA back end) and runs every test, with nvcc also one that compiles the kernels for sm_80 and sm_90 and looks at
  registers and shared memory; then builds build-sanitize/ (address and undefined-behaviour sanitizers, CPU only) and
  runs the tests there too; then, with nvcc and a CUDA emulator or a GPU, runs the tests of build/ with device code
  executed; then checks the format of the sources.
  --quick       only build/
  --no-install  install nothing
The tests on reference problems and measured data need the folder that BILEVEL_SHARED names; without it they are skipped.
The emulator is BILEVEL_CUDA_EMU, or cuda-emu in that folder. BILEVEL_REQUIRE_GPU=1: no GPU is a failure.
TEXT
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
  libgmock-dev libbenchmark-dev libfftw3-dev libopenblas-dev liblbfgsb-dev libhdf5-dev libismrmrd-dev libnifti-dev
  python3-minimal libzstd-dev)
if ((install)); then
  bash cmake/install-packages.sh "${packages[@]}" || exit 1
fi
jobs=$(nproc)
failed=0 passed_total=0 failed_total=0 skipped_total=0
lines=()

# attribute FILE NAME: a count in the first element of a JUnit file.
attribute() { sed -n "/<testsuite /,/>/p" "$1" | tr '\n\t' '  ' | sed -n "s/.*[ ]$2=\"\([0-9]*\)\".*/\1/p"; }

# build_tree FOLDER CMAKE_OPTIONS: configure and build.
build_tree() {
  local folder=$1 start=$SECONDS generator=(-G Ninja)
  shift
  echo "== $folder: configure and build"
  [[ -f $folder/CMakeCache.txt ]] && generator=()
  if cmake -S . -B "$folder" "${generator[@]}" "$@" && cmake --build "$folder" -j "$jobs"; then
    lines+=("$folder: built ($((SECONDS - start)) s)")
  else
    lines+=("$folder: does not build")
    failed=1 failed_total=$((failed_total + 1))
    return 1
  fi
}

# test_tree FOLDER NAME CTEST_OPTIONS: runs tests of a built tree; adds to the totals.
test_tree() {
  local folder=$1 name=$2 start=$SECONDS status=0 all bad skipped disabled junit=$PWD/$1/junit.xml
  shift 2
  echo "== $name: tests"
  rm -f "$junit"
  ctest --test-dir "$folder" --output-on-failure --no-tests=error -j "$jobs" --output-junit "$junit" "$@" </dev/null ||
    status=$?
  all=$(attribute "$junit" tests 2>/dev/null)
  bad=$(attribute "$junit" failures 2>/dev/null)
  skipped=$(attribute "$junit" skipped 2>/dev/null)
  disabled=$(attribute "$junit" disabled 2>/dev/null)
  skipped=${skipped:+$((skipped + ${disabled:-0}))}
  if [[ -z $all || -z $bad || -z $skipped ]] || ((status != 0 && bad == 0)); then
    lines+=("$name: ctest ended with status $status")
    failed=1 failed_total=$((failed_total + 1))
    return
  fi
  ((status == 0)) || failed=1
  passed_total=$((passed_total + all - bad - skipped))
  failed_total=$((failed_total + bad))
  skipped_total=$((skipped_total + skipped))
  lines+=("$name: $((all - bad - skipped)) passed, $bad failed, $skipped skipped ($((SECONDS - start)) s)")
}

# count FILE ATTRIBUTE: a number of the first element of a GoogleTest report.
count() { sed -n "s/.*<testsuites [^>]*[ ]*$2=\"\([0-9]*\)\".*/\1/p" "$1" | head -n 1; }

# emulate NAME TEST_PROGRAM...: runs the programs of build/ whole, in as many parts at once as there are processors,
# under the settings in the environment; adds to the totals.
emulate() {
  local name=$1 start=$SECONDS all=0 bad=0 skipped=0 part program reports=build/reports-${1// /-}
  shift
  echo "== $name"
  rm -rf "$reports" && mkdir -p "$reports"
  for program in "$@"; do
    local running=()
    for ((part = 0; part < jobs; part++)); do
      GTEST_TOTAL_SHARDS=$jobs GTEST_SHARD_INDEX=$part timeout 1500 "$emulator/cuda-emu" "build/tests/test_$program" \
        "--gtest_output=xml:$reports/$program.$part.xml" >"$reports/$program.$part.log" 2>&1 </dev/null &
      running+=($!)
    done
    for ((part = 0; part < jobs; part++)); do
      local status=0 report=$reports/$program.$part
      wait "${running[part]}" || status=$?
      if ((status != 0)); then
        echo "-- test_$program, part $part, ended with status $status; the failures and the end of its output:"
        grep -nE '^\[  FAILED|cuda-emu: ERROR' "$report.log" | head -n 40
        tail -n 60 "$report.log"
        ((bad += 1))
      fi
      [[ -f $report.xml ]] || continue
      all=$((all + $(count "$report.xml" tests)))
      skipped=$((skipped + $(grep -c 'result="skipped"' "$report.xml") + $(count "$report.xml" disabled)))
      awk '/^\[ RUN/ { name = $4 } /: Skipped$/ { getline; print "   skipped " name ": " $0 }' "$report.log"
    done
    echo "   test_$program done after $((SECONDS - start)) s"
  done
  ((bad == 0)) || failed=1
  ((all > 0)) || { failed=1; bad=1; }
  passed_total=$((passed_total + all - bad - skipped))
  failed_total=$((failed_total + bad))
  skipped_total=$((skipped_total + skipped))
  lines+=("$name: $((all - bad - skipped)) passed, $bad failed, $skipped skipped ($((SECONDS - start)) s)")
}

# Everything that runs device code, in the emulator: with its checks; the kernels also with the search for races between
# blocks, on the variant that finishes sums in a second launch; solvers and apps also with work held back as long as
# allowed and the threads of a block in reverse order, but for tests that only count or bound over long solves. That
# host code never touches device memory is watched in the core tests here (it makes every call slower, the more memory a
# process has used), and on the CPU's guarded device.
apps_on_device='-MriBadInput.*:MriHelp.*:MriResume.*:MriResample.*:MriData.*:MriRunFiles.*:MriRateSearch.*'
apps_on_device+=':Mri.The*:Mri.LearnToARate:Mri.R*:Mri.W*:Mri.B*:Mri.G*:Mri.E*:Mri.N*:Mri.C*:Mri.V*:Mri.F*'
late_on_device="$apps_on_device:Mri.*:MriPdhg*:MriParity*:*FirstOrderRates*:*PdhgRates*:*EndsFromHugeStarts*"
late_on_device+=':Mixed*.CertificatesHold*:*CertificateBoundsTheDistance*:Trained.EveryAlgorithm*:*.CheckPasses*:Faults*'
test_in_emulator() {
  local emulator=$1
  export CUDA_EMU_BUILD=$PWD/build/emulator CUDA_EMU_CACHE=$PWD/build/emulator-cache
  export CUDA_EMU_CHECK=1 CUDA_EMU_LEAK_ERROR=1 BILEVEL_TEST_DEVICE=cuda
  if ! bash "$emulator/build.sh" >build/emulator.log 2>&1; then
    cat build/emulator.log
    lines+=("emulator: does not build")
    failed=1 failed_total=$((failed_total + 1))
    return
  fi
  emulate "cuda (emulator, host watched)" core
  export CUDA_EMU_HOST_GUARD=0
  emulate "cuda (emulator)" kernels ops model solve learn
  # Of bilevel-mri two whole runs: what else its tests look at is host code, and has run on the CPU.
  GTEST_FILTER="$apps_on_device" emulate "cuda (emulator, apps)" apps
  cmake "-DBILEVEL_TEST_LAUNCHER=$emulator/cuda-emu" build >/dev/null
  test_tree build "cuda (emulator, bilevel-bench)" -R '^bench\.smoke$'
  cmake -UBILEVEL_TEST_LAUNCHER build >/dev/null
  BILEVEL_CUDA_VARIANT=checking CUDA_EMU_GLOBAL_RACECHECK=1 emulate "cuda (emulator, races)" kernels
  CUDA_EMU_ASYNC=1 CUDA_EMU_ORDER=reverse GTEST_FILTER="$late_on_device" emulate "cuda (emulator, late and reversed)" solve apps
}

test_on_gpu() {
  export BILEVEL_TEST_DEVICE=cuda
  test_tree build "cuda (GPU)" -L '^(kernels|core|ops|model|solve|learn|apps)$'
  if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck initcheck synccheck; do
      if compute-sanitizer --tool $tool --error-exitcode 1 build/tests/test_kernels >build/$tool.log 2>&1; then
        lines+=("compute-sanitizer $tool: clean")
      else
        tail -n 40 build/$tool.log
        lines+=("compute-sanitizer $tool: FAILED")
        failed=1 failed_total=$((failed_total + 1))
      fi
    done
  fi
}

has_gpu() { command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q GPU; }

emulator_folder() { echo "${BILEVEL_CUDA_EMU:-${BILEVEL_SHARED:-$PWD/../shared}/cuda-emu}"; }

test_cuda() {
  local emulator
  emulator=$(emulator_folder)
  if ! command -v nvcc >/dev/null; then
    lines+=("cuda: not built (no nvcc on PATH)")
  elif has_gpu; then
    test_on_gpu
  elif [[ -x $emulator/cuda-emu ]]; then
    test_in_emulator "$emulator"
  else
    lines+=("cuda: built in build/, but nothing here runs it (no GPU, no emulator)")
  fi
  if [[ ${BILEVEL_REQUIRE_GPU:-0} == 1 ]] && ! has_gpu; then
    lines+=("cuda: BILEVEL_REQUIRE_GPU=1, and no GPU was found")
    failed=1 failed_total=$((failed_total + 1))
  fi
}

# What device code is compiled for: the GPU here, or the emulator, which reads PTX.
cuda=(-DBILEVEL_CUDA=AUTO -DCMAKE_CUDA_ARCHITECTURES=80-real)
if ((!quick)) && command -v nvcc >/dev/null && { has_gpu || [[ -x $(emulator_folder)/cuda-emu ]]; }; then
  cuda=(-DBILEVEL_CUDA=ON -DCMAKE_CUDA_RUNTIME_LIBRARY=Shared -DBILEVEL_CUDA_CHECKING=ON -DCMAKE_CUDA_ARCHITECTURES=)
  has_gpu && cuda[-1]+=native || cuda[-1]+=80-virtual
fi
built=0
build_tree build -DCMAKE_BUILD_TYPE=Release -DBILEVEL_WERROR=ON -DBILEVEL_TESTS=ON -DBILEVEL_APPS=ON -DBILEVEL_BENCHMARKS=ON \
  -DBILEVEL_TEST_LAUNCHER= "${cuda[@]}" && built=1 && test_tree build "cpu"
if ((quick)); then
  lines+=("sanitizers, cuda: left out (--quick)")
else
  export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_stack_use_after_return=1:strict_string_checks=1}
  export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
  build_tree build-sanitize -C cmake/presets/sanitize.cmake && test_tree build-sanitize "cpu (sanitizers)" -LE package
  ((built)) && test_cuda
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
