#!/usr/bin/env bash
# Builds and runs the test suite; see --help.
set -uo pipefail

usage() {
  cat <<'TEXT'
Usage: bash tests/run.sh [--quick | --all] [--no-install]
  Installs missing Debian packages, builds into build/ (Release, warnings as errors, the kernels of the baseline and of
  this processor, with nvcc also the CUDA back end) and runs the tests; those that read foreign files also with address
  and undefined-behaviour sanitizers; with nvcc and a CUDA emulator or a GPU runs those with device code executed that
  take least time; checks the format of the sources.
  --all         also: the kernels of every instruction set, registers and shared memory of those for sm_80 and sm_90, the
                benchmarks, every test with sanitizers (build-sanitize/), the dearer experiments, all tests on a device,
                races between blocks of a launch, work on the device as late as allowed and threads in reverse order, the
                installed examples on a device
  --quick       only build/ and its tests on the CPU
  --no-install  install nothing
The tests on reference problems and measured data need the folder that BILEVEL_SHARED names; without it they are skipped.
The emulator is BILEVEL_CUDA_EMU, or cuda-emu in that folder. BILEVEL_REQUIRE_GPU=1: no GPU is a failure.
TEXT
}
depth=usual install=1
for argument in "$@"; do
  case $argument in
    --quick | --all)
      [[ $depth == usual ]] || { echo "tests/run.sh: give one of --quick and --all (see --help)." >&2; exit 2; }
      depth=${argument#--} ;;
    --no-install) install=0 ;;
    -h | --help) usage; exit 0 ;;
    *) echo "tests/run.sh: unknown option $argument (see --help)." >&2; exit 2 ;;
  esac
done

cd "$(dirname "$0")/.." || exit 1
packages=(cmake g++ ninja-build pkg-config libpng-dev libtiff-dev libjpeg-dev nlohmann-json3-dev libcli11-dev libgtest-dev
  libgmock-dev libbenchmark-dev libfftw3-dev libopenblas-dev liblbfgsb-dev libhdf5-dev libismrmrd-dev libnifti-dev
  python3-minimal libzstd-dev)
if ((install)); then
  bash cmake/install-packages.sh "${packages[@]}" || exit 1
fi
jobs=$(nproc)
failed=0 passed_total=0 failed_total=0 skipped_total=0
lines=()
times=$(mktemp)  # "seconds phase: test", of every test that ran
trap 'rm -f "$times"' EXIT

say() { printf '\n== %s (after %d s)\n' "$1" "$SECONDS"; }
fault() { # LINE: something that is no test went wrong
  lines+=("$1")
  failed=1 failed_total=$((failed_total + 1))
}
# tally NAME START PASSED FAILED SKIPPED
tally() {
  lines+=("$1: $3 passed, $4 failed, $5 skipped ($((SECONDS - $2)) s)")
  passed_total=$((passed_total + $3)) failed_total=$((failed_total + $4)) skipped_total=$((skipped_total + $5))
  (($4 == 0 && $3 > 0)) || failed=1
}

# build_tree FOLDER CMAKE_OPTION...: configures and builds.
build_tree() {
  local folder=$1 start=$SECONDS generator=(-G Ninja)
  shift
  say "$folder: configure and build"
  [[ -f $folder/CMakeCache.txt ]] && generator=()
  if cmake -S . -B "$folder" "${generator[@]}" "$@" && cmake --build "$folder" -j "$jobs"; then
    lines+=("$folder: built ($((SECONDS - start)) s)")
  else
    fault "$folder: does not build"
    return 1
  fi
}

# attribute FILE NAME: a count in the first element of a JUnit file.
attribute() { sed -n "/<testsuite /,/>/p" "$1" | tr '\n\t' '  ' | sed -n "s/.*[ ]$2=\"\([0-9]*\)\".*/\1/p"; }

# test_tree FOLDER NAME CTEST_OPTION...: runs tests of a built tree.
test_tree() {
  local folder=$1 name=$2 start=$SECONDS status=0 all bad skipped disabled junit=$PWD/$1/junit.xml
  shift 2
  say "$name: tests"
  rm -f "$junit"
  ctest --test-dir "$folder" --output-on-failure --no-tests=error -j "$jobs" --output-junit "$junit" "$@" </dev/null ||
    status=$?
  all=$(attribute "$junit" tests 2>/dev/null)
  bad=$(attribute "$junit" failures 2>/dev/null)
  skipped=$(attribute "$junit" skipped 2>/dev/null)
  disabled=$(attribute "$junit" disabled 2>/dev/null)
  if [[ -z $all || -z $bad || -z $skipped ]] || ((status != 0 && bad == 0)); then
    fault "$name: ctest ended with status $status"
    return
  fi
  skipped=$((skipped + ${disabled:-0}))
  ((status == 0)) || failed=1
  sed -n "s/.*<testcase name=\"\([^\"]*\)\".* time=\"\([0-9.e-]*\)\".*/\2 $name: \1/p" "$junit" >>"$times"
  tally "$name" "$start" $((all - bad - skipped)) "$bad" "$skipped"
}

# emulate NAME TEST_PROGRAM...: runs the programs of build/ in parts, as many at once as there are processors, under the
# settings in the environment.
count() { sed -n "s/.*<testsuites [^>]*[ ]*$2=\"\([0-9]*\)\".*/\1/p" "$1" | head -n 1; }
emulate() {
  local name=$1 start=$SECONDS all=0 bad=0 skipped=0 part program report reports=build/reports-${1//[ ()]/-} parts=4
  shift
  say "$name"
  rm -rf "$reports" && mkdir -p "$reports"
  export reports parts emulator
  for program in "$@"; do
    for ((part = 0; part < parts; part++)); do echo "$program $part"; done
  done | xargs -P "$jobs" -L 1 bash -c 'report=$reports/$0.$1
    GTEST_TOTAL_SHARDS=$parts GTEST_SHARD_INDEX=$1 timeout 1500 "$emulator/cuda-emu" "build/tests/test_$0" \
      "--gtest_output=xml:$report.xml" >"$report.log" 2>&1 </dev/null || echo $? >"$report.status"'
  for program in "$@"; do
    for ((part = 0; part < parts; part++)); do
      report=$reports/$program.$part
      if [[ -f $report.status ]]; then
        echo "-- test_$program, part $part, ended with status $(<"$report.status"); the failures and the end of its output:"
        grep -nE '^\[  FAILED|cuda-emu: ERROR' "$report.log" | head -n 40
        tail -n 60 "$report.log"
        ((bad += 1))
      fi
      [[ -f $report.xml ]] || continue
      all=$((all + $(count "$report.xml" tests)))
      skipped=$((skipped + $(grep -c 'result="skipped"' "$report.xml") + $(count "$report.xml" disabled)))
      awk '/^\[ RUN/ { name = $4 } /: Skipped$/ { getline; print "   skipped " name ": " $0 }' "$report.log"
      sed -n "s/.*<testcase name=\"\([^\"]*\)\".* time=\"\([0-9.e-]*\)\".* classname=\"\([^\"]*\)\".*/\2 $name: \3.\1/p" \
        "$report.xml" >>"$times"
    done
  done
  tally "$name" "$start" $((all - bad - skipped)) "$bad" "$skipped"
}

# Everything that runs device code, in the emulator with its checks (memory, shared memory, barriers, host code that
# touches device memory, leaks), but for tests that only count or bound over long solves. With --all also these; the
# kernels with the search for races between blocks, on the variant that finishes sums in a second launch; and solvers and
# apps with work held back as long as allowed and the threads of a block in reverse order.
long_on_device='*FirstOrderRates*:*PdhgRates*:*EndsFromHugeStarts*:Mixed*.CertificatesHold*:*CertificateBoundsTheDistance*'
long_on_device+=':*Certificate.Holds*:Certificate.*Reference*:ExpertsMaid.StationarityIsTrue:ExpertsMaid.Resumes*:Convergence.*'
long_on_device+=':Claims.WhatEnds*:Maid.DoesNotDependOnThreads:MriHypergradient.MatchesDifferences*'
long_on_device+=':SumsRounding.CoversThatOfChainedPasses:SumsDirectional.*:*Ball*.DirectionalBoundsHold*:ProductRounding.*:MeanStiffness.*'
long_on_device+=':InexactGradient.NoAccepted*:InexactGradient.TakesBack*:APriori.LeastSquares*:Hoag.EverySchedule*'
long_on_device+=':InexactGradient.ThePublished*:Dfo.GoesOn*:UnrolledTraining.FewSteps*:Stochastic.FieldsOf*:Stochastic.GoesOn*:Stochastic.EndsNear*:Stochastic.RecordsAre*'
long_on_device+=':APriori.*Promised:Unrolled.TheReverseDerivativeKnows*'
long_on_device+=':Maid.CertifiesEveryIterationAgainst*:EveryKernel*.SameBits*:EveryKernel*.ReversedList*:EveryKernel*.ImagesDoNotSee*'
# Upper-level methods are host code over the same oracle: on devices MAID, L-BFGS-B and the exchange stand for all.
long_on_device+=':InexactGradient.*:Claims.*:Dfo*:Hoag.*:OwnMethod.*:LossLearning.MethodsLearn:UnrolledTraining.*:Maid.ResumesWith*'
long_on_device+=':Maid.KeepsItsLimits:Stochastic.EveryEpoch*:ExpertsMaid.LbfgsSteps*:ExpertsHypergradient.GaussNewton*'
long_on_device+=':SumsHypergradient.IsTheDerivative*:MriCertificate.DistanceIsTight*'
# The same in the other precision, or with other limits.
long_on_device+=':EveryKernel/0.InactiveImages*:Sums/0.AreThoseOfTheirParts:Pdhg/1.ReachesTheMinimiser*:LbfgsTyped*.StepsOfHard*'
long_on_device+=':LbfgsTyped*.NeedsFewer*:MixedMinimiser.WhatNoPrecision*:FirstOrder*.ToleranceBelow*:FirstOrder*.NothingDepends*'
# Of bilevel-mri and bilevel-learn some whole runs: what else their tests look at is host code, and has run on the CPU.
# `check` with --all.
apps_on_device='-MriBadInput.*:MriHelp.*:MriResume.*:MriResample.*:MriData.*:MriRunFiles.*:MriRateSearch.*'
apps_on_device+=':Mri.The*:Mri.LearnToARate:Mri.R*:Mri.W*:Mri.B*:Mri.G*:Mri.E*:Mri.N*:Mri.C*:Mri.V*:Mri.F*'
apps_on_device+=':RunFolder*:LongRun.*:Resources.*:Numbers.*:Texts.*:Means.*:ExitCodes.*:CropGrid.*:TrainingRun.*'
apps_on_device+=':MriEvaluate.*:MriMask*:MriCrop.*:MriNotes.*:EarlierRun.*:OptionValues.*:OutputCheck.*:Mri.O*'
apps_on_device+=':Advice.*:*.WhatDoesNotFit*:*.Damaged*:*.TakesTheLevels*:MriExperts.ModelsOf*'
apps_on_device+=':LearnBadInput.*:LearnHelp.*:LearnDigits.*:LearnRidge.*:LearnSamples.C*:LearnSamples.T*'
long_apps_on_device='*.CheckPasses*:Checks.*:Sums.EveryKind*:Sums.AResumed*:Sums.LearnsBelow*:Sums.CheckTakes*:MriSums.*'
long_apps_on_device+=':Mri*.AResumed*:*BetterThan*:Sums.Generalised*:Sums.Directional*:MriGivenPattern.*:*Baseline*'
long_apps_on_device+=':*.IsTotalVariation*:MriExperts.TheFirst*:MriGeneralised.Reconstructs*:MriDirectional.Reconstructs*'
long_apps_on_device+=':Deblurring.EveryKind*:Colour.AResumed*:Resume.EveryMethod*:Trained.EveryAlgorithm*'
long_apps_on_device+=':Resume.EveryCheckpoint*:Resume.Signals*:Resume.AnEarly*:Deblurring.A*:Experts.FillIn*:Experts.AResumed*'
long_apps_on_device+=':MriExperts.TheRun*:MriWavelets.Learns*:MriNumbers.*:Mri.MaskAnd*:Trained.ApplyFillsIn*:Trained.ApplyTreats*'
late_on_device="$apps_on_device:Mri.*:MriPdhg*:MriParity*:$long_on_device:Trained.EveryAlgorithm*:*.CheckPasses*:Sums*:MriSums*:Faults*"
test_in_emulator() {
  emulator=$1
  export CUDA_EMU_BUILD=$PWD/build/emulator CUDA_EMU_CACHE=$PWD/build/emulator-cache CUDA_EMU_THREADS=1
  export CUDA_EMU_CHECK=1 CUDA_EMU_LEAK_ERROR=1 BILEVEL_TEST_DEVICE=cuda
  if ! bash "$emulator/build.sh" >build/emulator.log 2>&1; then
    cat build/emulator.log
    fault "emulator: does not build"
    return
  fi
  local filter='*'
  [[ $depth == all ]] || filter+="-$long_on_device"
  GTEST_FILTER=$filter emulate "cuda (emulator)" learn solve kernels model core ops
  filter=$apps_on_device
  [[ $depth == all ]] || filter+=":$long_apps_on_device"
  GTEST_FILTER=$filter emulate "cuda (emulator, apps)" apps
  local start=$SECONDS
  if cmake -DPROGRAM=build/apps/bilevel-bench "-DLAUNCHER=$emulator/cuda-emu" -DFOLDER=build/tests -P tests/bench/smoke.cmake; then
    tally "cuda (emulator, bilevel-bench)" "$start" 1 0 0
  else
    tally "cuda (emulator, bilevel-bench)" "$start" 0 1 0
  fi
  [[ $depth == all ]] || return 0
  BILEVEL_CONSUME_LAUNCHER=$emulator/cuda-emu test_tree build "cuda (emulator, installed examples)" -R '^consume\.install$'
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
        fault "compute-sanitizer $tool: FAILED"
      fi
    done
  fi
}

has_gpu() { command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q GPU; }

emulator_folder() { echo "${BILEVEL_CUDA_EMU:-${BILEVEL_SHARED:-$PWD/../shared}/cuda-emu}"; }

test_cuda() {
  local folder
  folder=$(emulator_folder)
  if ! command -v nvcc >/dev/null; then
    lines+=("cuda: not built (no nvcc on PATH)")
  elif has_gpu; then
    test_on_gpu
  elif [[ -x $folder/cuda-emu ]]; then
    test_in_emulator "$folder"
  else
    lines+=("cuda: built in build/, but nothing here runs it (no GPU, no emulator)")
  fi
  if [[ ${BILEVEL_REQUIRE_GPU:-0} == 1 ]] && ! has_gpu; then
    fault "cuda: BILEVEL_REQUIRE_GPU=1, and no GPU was found"
  fi
}

test_with_sanitizers() {
  # What this processor cannot run is not instrumented; of AVX2 undefined behaviour in the hand-tuned kernels.
  build_tree build-sanitize -C cmake/presets/sanitize.cmake "-DBILEVEL_CPU_VARIANTS=baseline;avx2;native" &&
    test_tree build-sanitize "cpu (sanitizers)" -LE package
}

check_format() {
  local formatter
  formatter=$(command -v clang-format-14 || command -v clang-format || true)
  if [[ -z $formatter || $("$formatter" --version) != *"version 14."* ]]; then
    lines+=("format: not checked (needs clang-format 14)")
  elif find include src kernels apps tests \( -name '*.hpp' -o -name '*.cpp' \) -print0 |
    xargs -0 "$formatter" --dry-run --Werror; then
    lines+=("format: clean")
  else
    fault "format: run clang-format -i on the files above"
  fi
}

# What device code is compiled for: the GPU here, or the emulator, which reads PTX.
cuda=(-DBILEVEL_CUDA=AUTO -DCMAKE_CUDA_ARCHITECTURES=80-real)
[[ $depth == all ]] && deeper=ON || deeper=OFF
[[ $depth == usual ]] && files=ON || files=OFF  # also of the baseline with less optimisation
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_stack_use_after_return=1:strict_string_checks=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
if [[ $depth != quick ]] && command -v nvcc >/dev/null && { has_gpu || [[ -x $(emulator_folder)/cuda-emu ]]; }; then
  cuda=(-DBILEVEL_CUDA=ON -DCMAKE_CUDA_RUNTIME_LIBRARY=Shared -DCMAKE_CUDA_ARCHITECTURES=)
  has_gpu && cuda[-1]+=native || cuda[-1]+=80-virtual
fi
# The usual run leaves out the dearer experiments (every method of E7 and E8 has tests of its own), damaged files without
# sanitizers (it reads them with sanitizers), and registers and shared memory of kernels.
without='^$'
[[ $depth == all ]] || without+='|^Experiments\.(OneParameter|ThreeParameters|Regularisers)|^cuda_build\.resources'
[[ $depth == usual ]] && without+='|^(Formats/)?(Image|Mri)Robustness'
[[ $depth == all ]] && variants=all || variants='baseline;native'
[[ $depth == all ]] && export BILEVEL_EACH_PTX=1
built=0
build_tree build -DCMAKE_BUILD_TYPE=Release -DBILEVEL_WERROR=ON -DBILEVEL_TESTS=ON -DBILEVEL_APPS=ON "${cuda[@]}" \
  "-DBILEVEL_BENCHMARKS=$deeper" "-DBILEVEL_CUDA_CHECKING=$deeper" "-DBILEVEL_CPU_VARIANTS=$variants" \
  "-DBILEVEL_SANITIZED_FILES=$files" "-DBILEVEL_LIGHT_BASELINE=$files" &&
  built=1 && test_tree build "cpu" -E "$without"
if [[ $depth == quick ]]; then
  lines+=("sanitizers, cuda: left out (--quick)")
else
  [[ $depth == all ]] && test_with_sanitizers
  ((built)) && test_cuda
  [[ $depth == all ]] || lines+=("with --all: every instruction set, registers of kernels, benchmarks, sanitizers on everything, long tests in the emulator, races between blocks, late and reversed work, installed examples on a device")
fi
check_format

echo
echo "The slowest tests, in seconds:"
sort -rn "$times" | head -n 20 | sed 's/^/  /'
echo
printf '%s\n' "${lines[@]}"
echo "$passed_total passed, $failed_total failed, $skipped_total skipped"
exit $failed
