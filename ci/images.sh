#!/usr/bin/env bash
# Builds the images of a commit, both or the ones named: ci/images.sh [serve] [train]
# The wheel inside is the code release of the commit, with which the serving image is recorded. Writes reports/images.json:
# reference, digest and size of each.
#   CIFAROPS_BASE_IMAGE        the base, where deploy/Containerfile's own is not reached (ci/base.sh makes one)
#   CIFAROPS_IMAGE_REPOSITORY  where the images are pushed, for example registry.example.org/team/cifarops; log in first.
#                              Unset, they stay on this machine as localhost/cifarops/…
# pip fetches the packages before the build, in the way it is set up here; the build itself needs no network.
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/builder.sh

targets=("$@")
[ $# -gt 0 ] || targets=(serve train)
commit=$(git rev-parse HEAD)
version=$(python -c 'import tomllib; print(tomllib.load(open("pyproject.toml", "rb"))["project"]["version"])')
base=${CIFAROPS_BASE_IMAGE:-$(sed -n 's/^ARG BASE=//p' deploy/Containerfile)}
repository=${CIFAROPS_IMAGE_REPOSITORY:-localhost/cifarops}

wheel=$(cifarops deploy build --json | python -c 'import json, sys; code = json.load(sys.stdin); print(code["path"] + "/" + code["wheel"])')
rm -rf build/images
mkdir -p build/images/code reports
cp "$wheel" build/images/code/
found=()
for target in "${targets[@]}"; do
  echo "building $target with $builder" >&2
  python -m pip wheel --quiet --constraint constraints.txt --wheel-dir "build/images/$target" "${wheel}[$target]" >&2
  rm "build/images/$target/$(basename "$wheel")"
  reference="$repository/$target:$commit"
  build "$reference" . --file deploy/Containerfile --target "$target" --build-arg "BASE=$base" \
    --label "org.opencontainers.image.title=cifarops $target" \
    --label "org.opencontainers.image.version=$version" \
    --label "org.opencontainers.image.revision=$commit" \
    --label "org.opencontainers.image.base.name=$base"
  digest=$(if [ -n "${CIFAROPS_IMAGE_REPOSITORY:-}" ]; then push "$reference"; else digest_of "$reference"; fi)
  bytes=$(size_of "$reference")
  over=$((bytes - $(size_of "$base")))
  found+=("{\"target\": \"$target\", \"reference\": \"$reference\", \"digest\": \"$digest\", \"bytes\": $bytes, \"bytes_over_base\": $over}")
  [ "$target" != serve ] || cifarops deploy build --image "$reference@$digest" >&2
done
rm -rf build/images

(
  IFS=,
  printf '{"commit": "%s", "builder": "%s", "base": "%s", "images": [%s]}\n' "$commit" "$builder" "$base" "${found[*]}"
) | python -m json.tool | tee reports/images.json
