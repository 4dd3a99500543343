# shellcheck shell=bash
# Sourced: which program builds images here, and how each of them is asked the same things.

for builder in buildah podman docker none; do
  command -v "$builder" >/dev/null && break
done
if [ "$builder" = none ]; then
  echo "error: there is nothing here that builds images." >&2
  echo "  do: apt-get install -y buildah (or podman, or docker), then run it again." >&2
  exit 1
fi

# Layers keep their digest when their content does; only Docker's format knows health checks.
case $builder in
  docker) same=() ;;
  *) same=(--layers --format docker --timestamp "$(git log -1 --format=%ct)") ;;
esac

# No build step asks anything of a network; in a chroot there is no way to take it away.
network=none
[ "${BUILDAH_ISOLATION:-}" != chroot ] || network=host

build() { # REFERENCE CONTEXT OPTION...
  "$builder" build --network "$network" "${same[@]}" --tag "$1" "${@:3}" "$2" >&2
}

size_of() { # REFERENCE: bytes, to the three digits that buildah tells
  case $builder in
    buildah) buildah images --format '{{.Size}}' "$1" | tr -d ' B' | tr k K | numfmt --from=si ;;
    *) "$builder" image inspect --format '{{.Size}}' "$1" ;;
  esac
}

digest_of() { # REFERENCE: of the manifest; Docker knows that of a pushed image only, and has its id instead
  case $builder in
    buildah) buildah inspect --type image --format '{{.FromImageDigest}}' "$1" ;;
    podman) podman image inspect --format '{{.Digest}}' "$1" ;;
    docker) docker image inspect --format '{{.Id}}' "$1" ;;
  esac
}

push() { # REFERENCE: its digest there
  local digest
  digest=$(mktemp)
  case $builder in
    docker) docker push --quiet "$1" >&2 && docker image inspect --format '{{index .RepoDigests 0}}' "$1" | sed 's/.*@//' ;;
    *) "$builder" push --quiet --digestfile "$digest" "$1" >&2 && cat "$digest" ;;
  esac
  rm "$digest"
}
