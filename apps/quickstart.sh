#!/usr/bin/env bash
# Learns a denoiser from a few photographs, or an MRI sampling pattern from a few slices, and tries it on others; see
# --help.
set -euo pipefail

usage() {
  cat <<'EOF'
Usage: bash apps/quickstart.sh [--mri] [--data DIR] [--out DIR] [--fast] [--no-install]
  Installs what is missing to build bilevel (Debian packages), builds bilevel-denoise into build/, fetches eight
  photographs from the Debian package python3-skimage, learns the parameters of a total-variation denoiser from five
  of them, and shows how well it does on the three it has not seen.
  --mri         with bilevel-mri instead: fetches a brain volume (Debian package mricron-data), learns which 35 % of
                k-space to sample from eight slices, and compares it with two usual patterns on six other slices
  --data DIR    your own images: a folder with subfolders train/ and test/, or one folder, every third image of which
                is kept for the test (PNG, PGM, PPM, TIFF or .npy); with --mri a NIfTI volume
  --out DIR     where the run, tables and images go (default build/quickstart, build/quickstart-mri)
  --fast        fewer and smaller images: half a minute, a rougher result
  --no-install  install nothing
EOF
}
fail() { echo "quickstart: $1" >&2; exit "${2:-1}"; }

data='' out='' fast=0 install=1 mri=0
while (($# > 0)); do
  case $1 in
    --data) (($# > 1)) || fail "--data needs a folder (see --help)." 2; data=$(realpath -m -- "$2"); shift ;;
    --out) (($# > 1)) || fail "--out needs a folder (see --help)." 2; out=$(realpath -m -- "$2"); shift ;;
    --fast) fast=1 ;;
    --mri) mri=1 ;;
    --no-install) install=0 ;;
    -h | --help) usage; exit 0 ;;
    *) fail "unknown option $1 (see --help)." 2 ;;
  esac
  shift
done
cd "$(dirname "$0")/.."
if ((mri)); then
  [[ -z $data || -e $data ]] || fail "--data $data does not exist." 3
  program=bilevel-mri out=${out:-$PWD/build/quickstart-mri}
else
  [[ -z $data || -d $data ]] || fail "--data $data is not a folder." 3
  program=bilevel-denoise out=${out:-$PWD/build/quickstart}
fi

# Images that image readers of bilevel know, sorted.
images_in() { find -L "$1" -maxdepth 1 -type f -iregex '.*\.\(png\|jpg\|jpeg\|pgm\|ppm\|pnm\|tif\|tiff\|npy\)' ! -name '.*' | sort -V; }

# link_into FOLDER FILE...: fills FOLDER with links to the files.
link_into() {
  local folder=$1
  shift
  rm -rf "$folder"
  mkdir -p "$folder"
  ln -s -- "$@" "$folder/"
}

build() {
  if ((install)); then
    bash cmake/install-packages.sh cmake g++ ninja-build pkg-config libpng-dev libtiff-dev libjpeg-dev nlohmann-json3-dev \
      libcli11-dev libfftw3-dev libopenblas-dev liblbfgsb-dev libhdf5-dev libismrmrd-dev libnifti-dev
  fi
  command -v cmake >/dev/null || fail "cmake is missing; leave out --no-install, or install it."
  local options=() apps log=build/quickstart-build.log
  mkdir -p build
  if [[ ! -f build/CMakeCache.txt ]]; then
    # For this machine: its instruction set, and CUDA where there is a GPU.
    options=(-DCMAKE_BUILD_TYPE=Release -DBILEVEL_TESTS=OFF -DBILEVEL_CPU_VARIANTS=native -DBILEVEL_CUDA=OFF)
    if command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q GPU; then
      options+=(-DBILEVEL_CUDA=AUTO -DCMAKE_CUDA_ARCHITECTURES=native)
    fi
    if command -v ninja >/dev/null; then options+=(-G Ninja); fi
  fi
  # The program asked for beside those that this tree has.
  apps=$(sed -n 's/^BILEVEL_APPS:[A-Z]*=//p' build/CMakeCache.txt 2>/dev/null | grep -v OFF || true)
  case ";$apps;" in
    *";ON;"* | *";${program#bilevel-};"*) ;;
    *) options+=("-DBILEVEL_APPS=${apps:+$apps;}${program#bilevel-}") ;;
  esac
  echo "Building $program (a few minutes the first time; log in $log) ..."
  if ! { cmake -S . -B build "${options[@]}" && cmake --build build --target "$program" -j "$(nproc)"; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    fail "the build failed; the whole log is in $log. If build/ is left from something else, remove it and try again."
  fi
}

names_train=(astronaut coffee brick grass cell)
names_test=(camera chelsea gravel)

# Sets the array found to the eight photographs below the folder $1; fails when one is not there.
find_photographs() {
  local name file
  found=()
  for name in "${names_train[@]}" "${names_test[@]}"; do
    file=$1/usr/lib/python3/dist-packages/skimage/data/$name.png
    [[ -s $file ]] || return 1
    found+=("$file")
  done
}

# fetch_package NAME WHAT SIZE PLACE INSTEAD: a Debian package unpacked into PLACE/unpacked.
fetch_package() {
  local name=$1 what=$2 size=$3 place=$4 instead=$5
  if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
    fail "this system has no apt-get to fetch $what with; pass $instead: --data" 3
  fi
  echo "Fetching $what (Debian package $name, $size, unpacked into ${place#"$PWD"/}, not installed) ..."
  rm -rf "$place/unpacked" "$place/download"
  mkdir -p "$place/download"
  download() { (cd "$place/download" && apt-get -q -o APT::Sandbox::User="$(id -un)" download "$name") >"$place/download.log" 2>&1; }
  if ! download && ! { ((install)) && refresh_lists && download; }; then
    tail -n 3 "$place/download.log" >&2
    fail "$what could not be fetched (is there a network?); pass $instead: --data" 3
  fi
  dpkg -x "$(find "$place/download" -name '*.deb' | head -n 1)" "$place/unpacked"
  rm -rf "$place/download"
}

fetch_photographs() {
  local place=$PWD/build/photographs root
  for root in / "$place/unpacked"; do
    if find_photographs "${root%/}"; then
      link_into "$place/train" "${found[@]:0:5}"
      link_into "$place/test" "${found[@]:5}"
      return
    fi
  done
  fetch_package python3-skimage "photographs" "20 MB" "$place" "a folder of your own images"
  find_photographs "$place/unpacked" ||
    fail "this version of python3-skimage holds other photographs; pass a folder of your own images: --data DIR" 3
  link_into "$place/train" "${found[@]:0:5}"
  link_into "$place/test" "${found[@]:5}"
}

refresh_lists() {
  if (($(id -u) == 0)); then apt-get -q update >/dev/null 2>&1; else sudo apt-get -q update >/dev/null 2>&1; fi
}

# Sets train and test_folder from --data, or from the photographs.
choose_data() {
  if [[ -z $data ]]; then
    fetch_photographs
    train=build/photographs/train test_folder=build/photographs/test
    return
  fi
  if [[ -d $data/train && -d $data/test ]]; then
    train=$data/train test_folder=$data/test
    return
  fi
  local all=() train_files=() test_files=() i
  mapfile -t all < <(images_in "$data")
  ((${#all[@]} >= 2)) ||
    fail "--data $data holds ${#all[@]} images; give at least two (PNG, PGM, PPM, TIFF or .npy), or subfolders train/ and test/." 3
  for i in "${!all[@]}"; do
    if ((i % 3 == 1)); then test_files+=("${all[i]}"); else train_files+=("${all[i]}"); fi
  done
  train=$out/split/train test_folder=$out/split/test
  link_into "$train" "${train_files[@]}"
  link_into "$test_folder" "${test_files[@]}"
}

# new_run FOLDER: a run of an earlier quickstart is replaced; any other folder is left alone.
new_run() {
  [[ -e $1 ]] || return 0
  if [[ -f $1/log.jsonl || -f $1/model.json || -d $1/checkpoint ]] || [[ -z $(ls -A "$1") ]]; then
    rm -rf "$1"
  else
    fail "$1 exists and is no run of $program; choose another folder with --out DIR." 2
  fi
}

learn_pattern() {
  local volume=$data place=$PWD/build/brain command=build/apps/bilevel-mri options=(--size 128) name
  if [[ -z $volume ]]; then
    volume=$place/unpacked/usr/share/mricron/templates/ch2.nii.gz
    [[ -s $volume ]] || fetch_package mricron-data "a brain volume" "16 MB" "$place" "a NIfTI volume of your own"
    [[ -s $volume ]] || fail "this version of mricron-data holds other volumes; pass a NIfTI volume of your own: --data" 3
  fi
  if ((fast)); then options=(--size 64); fi
  options+=(--rate 0.35 --sigma 0.003 --data "$volume" --slices 50:82:4)
  for name in learned largest vds; do new_run "$out/$name"; done
  echo
  echo "Learning which 35 % of k-space to sample from eight slices ..."
  "$command" learn "${options[@]}" --test-slices 90:114:4 --out "$out/learned"
  for name in largest vds; do
    echo
    echo "The usual pattern '$name' at the same rate, its weight tuned in the same way ..."
    "$command" baseline --pattern "$name" "${options[@]}" --out "$out/$name"
  done
  echo
  echo "On slices of another region that were not used for learning:"
  "$command" evaluate --run "$out/learned" "$out/largest" "$out/vds" --data "$volume" --slices 90:114:4 \
    --save "$out/unseen" | tee "$out/evaluation.txt"
  echo
  echo "Pattern:      $out/learned/images/mask.png (zero frequency in the middle), mask.npy"
  echo "Model:        $out/learned/model.json"
  echo "Log, curves:  $out/learned/log.jsonl  $out/learned/convergence.svg"
  echo "Table:        $out/evaluation.txt"
  echo "Unseen:       $out/unseen/  (truth, zero-filled, reconstruction, 10 x error)"
}

build
mkdir -p "$out"
if ((mri)); then
  learn_pattern
  exit
fi
choose_data
denoise=build/apps/bilevel-denoise
run=$out/run
new_run "$run"
size=(--images 25 --crop 96)
if ((fast)); then size=(--images 8 --crop 64 --max-iterations 15); fi

echo
echo "Learning the parameters of an anisotropic total-variation denoiser (noise level 0.1) ..."
"$denoise" train --data "$train" --model tv-aniso --sigma 0.1 "${size[@]}" --out "$run"
echo
echo "On photographs that were not used for learning:"
rm -rf "$out/unseen"
"$denoise" evaluate --model "$run/model.json" --data "$test_folder" --sigma 0.1 --save "$out/unseen" | tee "$out/evaluation.txt"

first=$(images_in "$out/unseen" | grep -e '-noisy.png$' | head -n 1)
[[ -n $first ]] || fail "$test_folder holds no image." 3
echo
"$denoise" apply --model "$run/model.json" --input "$first" --output "$out/applied.png"
echo
echo "Model:        $run/model.json"
echo "Log, curves:  $run/log.jsonl  $run/convergence.svg"
echo "Samples:      $run/images/  (clean, noisy, reconstructed)"
echo "Table:        $out/evaluation.txt"
echo "Unseen:       $out/unseen/  (noisy and denoised)
Applied:      $out/applied.png  (from $first)"
