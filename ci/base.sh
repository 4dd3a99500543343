#!/usr/bin/env bash
# A base for the images out of Debian packages, for machines that reach a Debian mirror and no image registry.
# Needs root and debootstrap. Prints the reference to put into CIFAROPS_BASE_IMAGE; made once, then kept in build/.
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/builder.sh

suite=bookworm # its Python is 3.11
kept=build/images-base/root.tar
if [ ! -f "$kept" ]; then
  command -v debootstrap >/dev/null || {
    echo "error: there is no debootstrap here." >&2
    echo "  do: apt-get install -y debootstrap, or name a base image in CIFAROPS_BASE_IMAGE." >&2
    exit 1
  }
  mkdir -p "$(dirname "$kept")"
  root=$(mktemp -d)
  trap 'rm -rf "$root" "$kept.part"' EXIT
  chmod 755 "$root"
  debootstrap --variant=minbase --include=python3-venv "$suite" "$root" >&2
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
  tar -C "$root" --numeric-owner -cf "$kept.part" .
  mv "$kept.part" "$kept"
fi
printf 'FROM scratch\nADD root.tar /\n' > "$(dirname "$kept")/Containerfile"
build localhost/cifarops/base "$(dirname "$kept")"
echo localhost/cifarops/base
