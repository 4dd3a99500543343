# Sourced by jobs that build images. In the container of a stock runner nothing does: there Debian's buildah is installed,
# and told how it works in a container (docs/how-to/pipeline.md, Runners).
if ! command -v buildah >/dev/null && ! command -v podman >/dev/null && ! command -v docker >/dev/null; then
  bash ci/apt.sh buildah
  export BUILDAH_ISOLATION=chroot STORAGE_DRIVER=vfs
fi
