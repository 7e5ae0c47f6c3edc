#!/usr/bin/env bash
# GCC 12.2.0 (Debian 12, 12.2.0-14+deb12u1), C++ at -O3 -ffp-contract=off: a loop over products of interleaved complex
# numbers, re = a b - c d beside im = a d + c b, is vectorised with fused multiply-adds all the same (vfmaddsub) for
# processors that have them, so its bits depend on the instruction set. -ffp-contract=off is documented to disable such
# contraction. Seen: vfmaddsub in the assembly for x86-64-v3 and x86-64-v4, none for x86-64; of 32 products of simple
# fractions 29 real parts differed from those of x86-64. Products whose two terms are added with a sign that is no constant
# are not contracted.
# Needs: Debian 12 amd64, network. Changes nothing outside a temporary folder.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir debs root
(cd debs && apt-get download -q g++-12=12.2.0-14+deb12u1 libisl23=0.25-1.1 libmpc3=1.3.1-1 libmpfr6=4.2.0-1 \
  libgmp10=2:6.2.1+dfsg1-1.1 >/dev/null)
for deb in debs/*.deb; do dpkg -x "$deb" root; done
export LD_LIBRARY_PATH=$work/root/usr/lib/x86_64-linux-gnu
compiler=$work/root/usr/lib/gcc/x86_64-linux-gnu/12/cc1plus
version=$("$compiler" -quiet -version -o /dev/null - </dev/null 2>&1)
[[ $version == *"version 12.2.0 "* ]] || { echo "CHANGED: another compiler, $version"; exit 1; }
cat >product.cpp <<'SOURCE'
void difference(const double* __restrict a, const double* __restrict b, double* __restrict out, int n) {
  for (int e = 0; e < n; ++e) {
    out[2 * e] = a[2 * e] * b[2 * e] - a[2 * e + 1] * b[2 * e + 1];
    out[2 * e + 1] = a[2 * e] * b[2 * e + 1] + a[2 * e + 1] * b[2 * e];
  }
}
SOURCE
cat >signed.cpp <<'SOURCE'
void with_sign(const double* __restrict a, const double* __restrict b, double* __restrict out, int n, double minus) {
  for (int e = 0; e < n; ++e) {
    out[2 * e] = a[2 * e] * b[2 * e] + minus * a[2 * e + 1] * b[2 * e + 1];
    out[2 * e + 1] = a[2 * e] * b[2 * e + 1] + a[2 * e + 1] * b[2 * e];
  }
}
SOURCE
# fused SOURCE LEVEL: fused instructions in the assembly.
fused() {
  "$compiler" -quiet -O3 -ffp-contract=off "-march=$2" "$1" -o out.s
  grep -c 'vfm' out.s || true
}
plain=$(fused product.cpp x86-64) three=$(fused product.cpp x86-64-v3) four=$(fused product.cpp x86-64-v4)
sign=$(fused signed.cpp x86-64-v3)
echo "fused instructions: x86-64 $plain, x86-64-v3 $three, x86-64-v4 $four; with a sign that is no constant $sign"
if ((plain == 0 && three > 0 && four > 0 && sign == 0)); then
  echo "as seen: -ffp-contract=off does not keep GCC 12.2.0 from fusing products of complex numbers"
else
  echo "CHANGED: see the numbers above"
  exit 1
fi
