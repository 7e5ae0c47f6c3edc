#!/usr/bin/env bash
# Usage: run.sh BUILD_FOLDER COMPILER
# Installs the build, whole and by component, moves the prefix, builds apps/examples against it with find_package and
# with pkg-config, runs them without LD_LIBRARY_PATH and looks at what they print. The build may be a static one.
set -euo pipefail

build=$(cd "${1:?usage: run.sh BUILD_FOLDER COMPILER}" && pwd)
cxx=${2:?usage: run.sh BUILD_FOLDER COMPILER}
source=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export CXXFLAGS="-O0 ${CXXFLAGS:-}"
unset LD_LIBRARY_PATH PKG_CONFIG_SYSROOT_DIR

fail() {
  echo "FAILED: $1"
  [[ $# -lt 2 ]] || echo "$2"
  exit 1
}
# logged COMMAND...: quiet unless it fails.
logged() { "$@" >"$work/log" 2>&1 || fail "$1 $2 ended with an error:" "$(cat "$work/log")"; }
# files FOLDER: of everything installed there but folders, relative and sorted.
files() { find "$1" ! -type d -printf '%P\n' | sort; }

# ---- Installation: three components, which together are all there is.
logged cmake --install "$build" --prefix "$work/staged"
mv "$work/staged" "$work/prefix"
prefix=$work/prefix
for component in library headers apps; do
  logged cmake --install "$build" --prefix "$work/$component" --component $component
  mkdir -p "$work/$component"
done
libdir=$(dirname "$(find "$prefix" -name 'libbilevel.so' -o -name 'libbilevel.a')")
lib=${libdir#"$prefix"/}
version=$(sed -n 's/^#define BILEVEL_VERSION "\(.*\)"/\1/p' "$prefix/include/bilevel/core/version.hpp")
soversion=${version%.*}
numbers=${soversion//./\\.}
static=
[[ -e $libdir/libbilevel.so ]] || static=--static

# belongs COMPONENT PATTERN: the component holds files whose names match, and no others.
belongs() {
  local others
  others=$(files "$work/$1" | grep -vE "^($2)$" || true)
  [[ -z $others ]] || fail "the component $1 installs more than it should:" "$others"
}
belongs library "$lib/libbilevel(_io)?\.(a|so\.$numbers(\.[0-9]+)?)|$lib/libbilevel_(cblas|cuda|cuda_libraries)\.so\.$numbers"
belongs headers "include/.*\.hpp|$lib/cmake/bilevel/.*\.cmake|$lib/pkgconfig/bilevel.*\.pc|$lib/libbilevel(_io)?\.so"
belongs apps 'bin/bilevel-[a-z]+'
difference=$(diff <(files "$prefix") <(for c in library headers apps; do files "$work/$c"; done | sort)) ||
  fail "the components together are not the whole installation:" "$difference"
for name in bilevel bilevel_io; do
  [[ -n $static ]] && continue
  readelf -d "$libdir/lib$name.so" | grep -q "SONAME.*\[lib$name\.so\.$numbers\]" || fail "the SONAME of lib$name"
done
echo "installed bilevel $version: $(files "$prefix" | wc -l) files"

# refused COMPONENT FOLDER: where what is built in BUILD_FOLDER/FOLDER is missing, nothing is installed.
refused() {
  [[ -n $(files "$work/$1") ]] || return 0
  local script
  script=$(<"$build/cmake_install.cmake")
  printf '%s\n' "${script//"$build/$2/"/"$work/not-built/"}" >"$work/install.cmake"
  ! cmake -DCMAKE_INSTALL_COMPONENT="$1" -DCMAKE_INSTALL_PREFIX="$work/refused" -DCMAKE_INSTALL_LOCAL_ONLY=1 \
    -P "$work/install.cmake" >"$work/log" 2>&1 || fail "the component $1 is installed though it is not built."
  tr -s ' \n' ' ' <"$work/log" | grep -q "the component '$1' cannot be installed, because .* is not built. Build it" ||
    fail "the component $1 is refused without a remedy:" "$(cat "$work/log")"
  [[ ! -e $work/refused ]] || fail "a refused component left files:" "$(files "$work/refused")"
}
refused library src
refused apps apps

for other in 0.1 0.3; do
  echo "find_package(bilevel $other QUIET PATHS \"$libdir/cmake/bilevel\" NO_DEFAULT_PATH)
if(bilevel_FOUND OR NOT bilevel_CONSIDERED_VERSIONS STREQUAL \"$version\")
  message(FATAL_ERROR \"\${bilevel_CONSIDERED_VERSIONS}\")
endif()" >"$work/version.cmake"
  cmake -P "$work/version.cmake" >"$work/log" 2>&1 || fail "find_package(bilevel $other):" "$(cat "$work/log")"
done

# ---- Clients, by find_package and by pkg-config.
logged cmake -S "$source/apps/examples" -B "$work/examples" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_CXX_COMPILER="$cxx"
logged cmake --build "$work/examples" -j 2

export PKG_CONFIG_PATH=$libdir/pkgconfig
[[ $(pkg-config --modversion bilevel) == "$version" ]] || fail "pkg-config tells another version."
# with_pkg_config SOURCE PACKAGE: builds $work/NAME.
with_pkg_config() {
  # shellcheck disable=SC2046,SC2086
  "$cxx" -std=c++20 $CXXFLAGS "$1" -o "$work/$(basename "$1" .cpp)" $(pkg-config --cflags --libs $static "$2") \
    "-Wl,-rpath,$(pkg-config --variable=libdir "$2")"
}
with_pkg_config "$source/apps/examples/learn_tv.cpp" bilevel &
first=$!
with_pkg_config "$source/apps/examples/apply_model.cpp" bilevel-io
with_pkg_config "$source/tests/consume/main.cpp" bilevel-io
wait $first

# An older language standard is refused with a sentence.
# shellcheck disable=SC2046
! "$cxx" -std=c++17 -fsyntax-only $(pkg-config --cflags bilevel) "$source/tests/consume/main.cpp" 2>"$work/log" ||
  fail "a C++17 client compiles."
grep -q 'compile with -std=c++20' "$work/log" || fail "C++17 is refused without a remedy."

# Whoever solves and learns loads neither CUDA nor a file format.
formats='cuda|cufft|cublas|nvidia|nvrtc|hdf5|ismrmrd|nifti|znz|tiff|png|jpeg'
for file in "$libdir"/libbilevel.so "$work"/{,examples/}learn_tv; do
  [[ -e $file ]] || continue
  loaded=$(ldd "$file")
  ! grep -E 'not found' <<<"$loaded" || fail "$(basename "$file") does not find a library."
  loaded=$(grep -iE "$formats" <<<"$loaded" | grep -v 'libbilevel\.so' || true)
  [[ -z $loaded ]] || fail "$(basename "$file") loads:" "$loaded"
done

# ---- What they print.
# says NAME PROGRAM ARGUMENT...: runs a client; its output is in $said.
says() {
  said=$("${@:2}") || fail "$1 ended with an error:" "$said"
  sed "s/^/$1: /" <<<"$said"
}
# holds AWK_PROGRAM: exit status of awk on $said.
holds() { awk "$1" <<<"$said" || fail "the lines above do not say what they should: $1"; }

# own_examples DEVICE [LAUNCHER]: what a user adds from outside, on a device.
own_examples() {
  local device=$1
  shift
  says own_operator "$@" "$work/examples/own_operator" "$device"
  holds '/^operator: right$/ { right = 1 } /^alpha/ { ok = $2 > 0 && $7 + 0 <= $9 + 0 && $9 < 2 } END { exit !(right && ok) }'
  says own_potential "$@" "$work/examples/own_potential" "$device"
  holds '/^term: right$/ { right = 1 } /^alpha/ { ok = $2 > 0 && $7 + 0 <= $9 + 0 && $9 < 2 } END { exit !(right && ok) }'
  says own_loss "$@" "$work/examples/own_loss" "$device"
  holds '$2 == "alpha" { alpha[$1] = $3 + 0; n += $8 + 0 <= $10 + 0 }
    END { exit !(n == 3 && alpha["region:"] < alpha["whole:"] && alpha["huber:"] > 0) }'
  says own_minimiser "$@" "$work/examples/own_minimiser" "$device"
  holds '/^(own|newton): stationary,/ { lower[$1] = $9 + 0; upper[$1] = $11 + 0 }
    function near(a, b) { return a <= b * 1.01 && b <= a * 1.01 }
    END { exit !(upper["own:"] > 0 && near(upper["own:"], upper["newton:"]) && lower["own:"] <= upper["newton:"] * 1.01) }'
  says own_method "$@" "$work/examples/own_method" "$device"
  holds '/^iteration/ { bad += n++ && !($6 + 0 < before); before = $4 + 0; certain += $8 + 0 > 2 * $10 }
    /^stationary:/ { ok = 1 } END { exit !(ok && n > 1 && !bad && certain == n) }'
  says weigh_samples "$@" "$work/examples/weigh_samples" "$device"
  holds '/^loss between/ { ok = $3 + 0 <= $5 + 0 && $8 > 0.1 && $13 + 0 < $8 / 10 } END { exit !ok }'
}
if [[ -n ${BILEVEL_CONSUME_LAUNCHER:-} ]]; then  # an emulator of CUDA, for which the rest is as it was
  own_examples cuda:0 "$BILEVEL_CONSUME_LAUNCHER"
  exit
fi

says client "$work/main" "$work"
[[ $said == "bilevel $version" ]] || fail "the client has the headers of another version."

for learn in "$work/examples/learn_tv" "$work/learn_tv"; do
  says learn_tv "$learn" "$work/model.json"
  holds '/^loss between/ { ok = $3 > 0 && $3 + 0 <= $5 + 0 && $5 + 0 < $10 / 2 } END { exit !ok }'
done
says own_penalty "$work/examples/own_penalty"
holds 'function away(value) { return log(value / 0.05) ^ 2 }
  { for (k = 1; k < NF; ++k) if ($k == "nu") nu[$1] = $(k + 1) + 0 }
  END { exit !(nu["with"] > 0 && away(nu["with"]) < away(nu["without"])) }'
own_examples auto
own_examples cpu-guarded:2
says observer "$work/examples/observer"
holds '/^iteration/ { ordered += $5 <= $7; above += $7 + 0 > 0.4; n++ }
  /^interrupted after/ { end = $3 }
  END { exit !(n > 1 && ordered == n && above == n - 1 && end == n) }'
for apply in "$work/examples/apply_model" "$work/apply_model"; do
  rm -f "$work/denoised.png"
  says apply_model "$apply" "$work/model.json" "$work/noisy.png" "$work/denoised.png"
  holds '{ exit !(/: converged,/ && $NF + 0 <= 1e-3) }'
  says apply_model "$work/main" "$work" "$work/denoised.png"
done
said=$("$work/apply_model" "$work/missing.json" a b 2>&1) && fail "apply_model reads a model that is not there."
[[ $said == apply_model:*missing.json* ]] || fail "apply_model does not say which file is missing:" "$said"

for program in "$prefix"/bin/*; do
  [[ -x $program ]] || continue
  "$program" --help >/dev/null || fail "$program --help"
  echo "runs: $(basename "$program")"
done

# ---- The manual shows lines of learn_tv.cpp, in their order.
awk '{ sub(/^ +/, "") }
  FNR == NR { if (/^```/) shown = /^```cpp/; else if (shown && $0 != "") line[n++] = $0; next }
  k < n && $0 == line[k] { k++ }
  END { if (n == 0 || k < n) { print line[k]; exit 1 } }' "$source/README.md" "$source/apps/examples/learn_tv.cpp" \
  >"$work/log" || fail "the README shows a line that learn_tv.cpp lacks:" "$(cat "$work/log")"
