#!/usr/bin/env bash
# Usage: install-packages.sh PACKAGE...
# Installs the Debian packages that dpkg does not know as installed; with sudo when not root.
set -euo pipefail

if ! command -v dpkg-query >/dev/null; then
  echo "This system has no dpkg; please install the equivalents of: $*" >&2
  exit 0
fi
missing=()
for package in "$@"; do
  status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [[ $status == installed ]] || missing+=("$package")
done
((${#missing[@]} > 0)) || exit 0

as_root=()
if (($(id -u) != 0)); then
  command -v sudo >/dev/null || {
    echo "These Debian packages are missing and there is no sudo; install them as root and come back: ${missing[*]}" >&2
    exit 1
  }
  as_root=(sudo)
fi
echo "Installing Debian packages: ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q "$@" >>"$log" 2>&1 </dev/null; }
apt update || echo "apt-get update failed; going on with the package lists that are there." >&2
apt install -y --no-install-recommends "${missing[@]}" || {
  tail -n 15 "$log" >&2
  echo "apt-get could not install: ${missing[*]} (is there a network?). With the packages installed by other means, use --no-install." >&2
  exit 1
}
