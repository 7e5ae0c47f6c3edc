#!/usr/bin/env bash
# Usage: resources.sh NVCC SOURCE_FOLDER GENERATED_INCLUDE_FOLDER [OBJECT_FOLDER]
# Compiles every kernel for sm_80, with BILEVEL_EACH_PTX=1 also for sm_90 from PTX of its own, and reads what `ptxas -v`
# says: no spills, no local-memory frame, and registers and shared memory within the budget written beside the kernel
# (its `resident` blocks per multiprocessor of 65536 registers and 160 KiB). Then the packed vector updates must move 16
# bytes per instruction in their PTX. OBJECT_FOLDER: PTX of compute_80 is taken from the objects there, where they hold
# it as text.
set -euo pipefail

nvcc=${1:?usage: resources.sh NVCC SOURCE_FOLDER GENERATED_INCLUDE_FOLDER [OBJECT_FOLDER]}
source=${2:?} generated=${3:?} objects=${4:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
flags=(-x cu -std=c++20 -O3 --expt-relaxed-constexpr -DBILEVEL_BACKEND=cuda -I"$source" -I"$source/include" -I"$generated")
architectures=(80)
[[ ${BILEVEL_EACH_PTX:-0} == 1 ]] && architectures+=(90)
failed=0 kernels=0

# OBJECT PTX: the text of its PTX.
take_ptx() {
  python3 - "$1" "$2" <<'PYTHON'
import sys
data = open(sys.argv[1], "rb").read()
begin = data.find(b".version ")
if begin < 0 or data.count(b"\n.target ") != 1 or b"\n.target sm_80" not in data:
    sys.exit(1)
open(sys.argv[2], "wb").write(data[begin:data.index(b"\0", begin)])
PYTHON
}

# Lines of `ptxas -v` -> "kernel|stack|spills|registers|shared".
table='
/Compiling entry function/ { split($0, part, "\x27"); name = part[2] }
/bytes stack frame/ { stack = $1; spills = $5 + $9 }
/Used [0-9]+ registers/ {
  registers = 0; shared = 0
  for (i = 1; i <= NF; i++) {
    if ($i ~ /^registers/) registers = $(i - 1)
    if ($i ~ /^smem/) shared = $(i - 2)
  }
  if (name != "") print name "|" stack "|" spills "|" registers "|" shared
  name = ""
}'

# FILE: its PTX, and what ptxas says of it for each architecture.
compile() {
  local file=$1 name arch object=$objects/${1#"$source/kernels/"}.o
  name=$work/$(basename "$file")
  for arch in "${architectures[@]}"; do
    if [[ $arch != 80 || ! -f $object ]] || ! take_ptx "$object" "$name.$arch.ptx"; then
      "$nvcc" "${flags[@]}" -arch=compute_$arch -ptx -o "$name.$arch.ptx" "$file" >"$name.log" 2>&1 || return 1
    fi
    "$ptxas" -v -arch=sm_$arch -o "$name.$arch.cubin" "$name.$arch.ptx" >"$name.sm_$arch.log" 2>&1 || return 1
  done
}
ptxas=$(dirname "$(command -v "$nvcc")")/ptxas
running=()
for file in "$source"/kernels/*.cpp "$source"/kernels/overrides/cuda/*.cpp; do
  while (($(jobs -rp | wc -l) >= $(nproc))); do wait -n || true; done
  compile "$file" &
  running+=($!)
done
for job in "${running[@]}"; do
  wait "$job" || { cat "$work"/*.log; echo "FAILED: a kernel does not compile."; exit 1; }
done

for arch in "${architectures[@]/#/sm_}"; do
  for log in "$work"/*.$arch.log; do
    while IFS='|' read -r readable stack spills registers shared; do
      kernels=$((kernels + 1))
      case $readable in
        *thrust::* | *cub::*) continue ;;  # Thrust's own
        grid_kernel*) resident=${readable##*, } resident=${resident%>} ;;
        image_kernel* | range_kernel*) resident=4 ;;
        batch_kernel*) resident=2 ;;
        *) echo "FAILED: $readable has no budget."; failed=1; continue ;;
      esac
      most_registers=$((65536 / (256 * resident))) most_shared=$((160 * 1024 / resident))
      ((most_shared > 49152)) && most_shared=49152
      verdict=ok
      if ((stack > 0 || spills > 0 || registers > most_registers || shared > most_shared)); then
        verdict=FAILED failed=1
      fi
      printf '%-6s %s %3d of %3d registers, %5d of %5d bytes shared, %d spilled, frame %d: %s\n' "$verdict" $arch \
        "$registers" "$most_registers" "$shared" "$most_shared" "$spills" "$stack" "$readable"
    done < <(awk "$table" "$log" | c++filt |
      sed 's/bilevel::kernels::cuda:://g; s/(anonymous namespace):://g; s/([^|]*//; s/^void //')
  done
done
if ((kernels < 100)); then
  echo "FAILED: only $kernels kernels were found."
  failed=1
fi

# The eight packed kernels and their 16-byte accesses (loops are unrolled).
awk '
/\.entry/ { name = ""; if (match($0, /Packed(Update|Direction)I[fd]Lb[01]/)) { name = substr($0, RSTART, RLENGTH); wide[name] += 0 } }
name != "" && /(ld|st)\.global\.(v2\.f64|v4\.f32|v4\.b32|v2\.b64|v2\.u64|v4\.u32)/ { wide[name]++ }
END { for (n in wide) { print n, wide[n]; if (wide[n] < 4) bad = 1; kernels++ } exit bad || kernels != 8 }' \
  "$work/packed_vectors.cpp.80.ptx" || { echo "FAILED: a packed update has too few 16-byte accesses (above)."; failed=1; }
echo "$kernels kernels read."
exit $failed
