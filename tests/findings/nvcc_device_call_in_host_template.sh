#!/usr/bin/env bash
# nvcc 13.0.88: a host function template that calls a __device__ static member of a class that depends on its parameter is
# compiled without a diagnostic, also with --Werror all-warnings; the program then ends with status 1 and without a word
# at the call, since the host's copy of the function is a call of exit. Of functions that are no templates nvcc says
# "calling a __device__ function from a __host__ function is not allowed". Seen: status 0 of nvcc, status 1 of the program,
# no output of either; the error for the same call without templates. A shared library shows it as an undefined `exit`.
# Needs: g++, python3 with venv, network. Changes nothing outside a temporary folder.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 \
  nvidia-cuda-runtime==13.0.88 nvidia-cuda-cccl==13.0.85
root=$(echo venv/lib/python3*/site-packages/nvidia/cu13)
nvcc=("$root/bin/nvcc" -std=c++20 --Werror all-warnings -I"$root/include" -L"$root/lib" --cudart none)
[[ $("${nvcc[0]}" --version) == *V13.0.88* ]] || { echo "CHANGED: another compiler"; exit 1; }
cat >templates.cu <<'SOURCE'
#include <cstdio>
template <class T>
struct Tile {
  __device__ static int rows(int height) { return (height + 3) / 4 * 4; }
};
template <class T>
int padded(int height) {
  return Tile<T>::rows(height);
}
int main(int count, char**) { std::printf("%d\n", padded<int>(count)); }
SOURCE
sed 's/template <class T>//; s/<T>//; s/<int>//' templates.cu >plain.cu
"${nvcc[@]}" -c templates.cu -o templates.o >said 2>&1 || { echo "CHANGED: nvcc refuses the templates"; cat said; exit 1; }
[[ ! -s said ]] || { echo "CHANGED: nvcc says"; cat said; exit 1; }
cat >runtime.cpp <<'SOURCE'
extern "C" {  // what nvcc registers with; no device is used
void** __cudaRegisterFatBinary(void*) { return nullptr; }
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
char __cudaInitModule(void**) { return 0; }
}
SOURCE
g++ templates.o runtime.cpp -o templates
status=0
output=$(./templates) || status=$?
[[ $status == 1 && -z $output ]] || { echo "CHANGED: the program ends with $status and prints '$output'"; exit 1; }
! "${nvcc[@]}" -c plain.cu -o plain.o >said 2>&1 || { echo "CHANGED: nvcc takes the call without templates"; exit 1; }
grep -q 'calling a __device__ function' said || { echo "CHANGED: nvcc says"; cat said; exit 1; }
echo "As described: no diagnostic, and the program ends with status 1 at the call."
