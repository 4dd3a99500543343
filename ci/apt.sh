#!/usr/bin/env bash
# Installs Debian packages that are missing: those that are named, or all that the slow tests need besides Python, Node and
# git: what builds and runs images, rsync, by which the pipeline's interpreter gives every job its own copy of the files,
# Prometheus and its promtool, and a library of NVIDIA's load generator (libb64).
set -euo pipefail
packages=("$@")
[ $# -gt 0 ] || packages=(buildah debootstrap libb64-0d podman prometheus rsync runc)
dpkg --status "${packages[@]}" >/dev/null 2>&1 && exit
[ "$(id -u)" = 0 ] || {
  echo "error: packages are missing, and only root can install them." >&2
  echo "  do: sudo apt-get install -y --no-install-recommends ${packages[*]}" >&2
  exit 1
}
apt-get update --quiet=2
DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends "${packages[@]}" >/dev/null
