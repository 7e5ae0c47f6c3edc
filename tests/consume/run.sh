#!/usr/bin/env bash
# Usage: run.sh BUILD_FOLDER COMPILER
# Installs the build to a prefix, moves the prefix, and builds and runs a client with find_package and with pkg-config.
set -euo pipefail

build=${1:?usage: run.sh BUILD_FOLDER COMPILER}
cxx=${2:?usage: run.sh BUILD_FOLDER COMPILER}
source=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
flags=${CXXFLAGS:-}

cmake --install "$build" --prefix "$work/staged" >"$work/install.log" || { cat "$work/install.log"; exit 1; }
mv "$work/staged" "$work/prefix"
prefix=$work/prefix
library=$(find "$prefix" -name 'libbilevel.so*' | head -n 1)
libdir=$(dirname "$library")
version=$(sed -n 's/^#define BILEVEL_VERSION "\(.*\)"/\1/p' "$prefix/include/bilevel/core/version.hpp")
echo "installed bilevel $version: $(find "$prefix" -type f | wc -l) files"

# FILE...: run the client, compare what it prints.
check() {
  local said
  said=$(LD_LIBRARY_PATH=$libdir "$1" "$work")
  [[ $said == "bilevel $version" ]] || { echo "FAILED: $1 printed '$said'."; exit 1; }
  echo "$2: $said"
}

cmake -S "$source" -B "$work/client" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_CXX_COMPILER="$cxx" >"$work/configure.log" ||
  { cat "$work/configure.log"; exit 1; }
cmake --build "$work/client" >"$work/build.log" || { cat "$work/build.log"; exit 1; }
check "$work/client/client" find_package

export PKG_CONFIG_PATH=$libdir/pkgconfig
unset PKG_CONFIG_SYSROOT_DIR
[[ $(pkg-config --modversion bilevel) == "$version" ]] || { echo "FAILED: pkg-config tells another version."; exit 1; }
# shellcheck disable=SC2046,SC2086
"$cxx" -std=c++20 $flags "$source/main.cpp" -o "$work/client_pc" $(pkg-config --cflags --libs bilevel)
check "$work/client_pc" pkg-config

# An older language standard is refused with a sentence.
# shellcheck disable=SC2046
if "$cxx" -std=c++17 -fsyntax-only $(pkg-config --cflags bilevel) "$source/main.cpp" 2>"$work/old.log"; then
  echo "FAILED: a C++17 client compiles."
  exit 1
fi
grep -q 'compile with -std=c++20' "$work/old.log" || { echo "FAILED: C++17 is refused without a remedy."; exit 1; }

# Installed commands find the library without LD_LIBRARY_PATH.
for command in "$prefix"/bin/*; do
  [[ -x $command ]] || continue
  env -u LD_LIBRARY_PATH "$command" --help >/dev/null || { echo "FAILED: $command --help"; exit 1; }
  echo "runs: $(basename "$command")"
done
