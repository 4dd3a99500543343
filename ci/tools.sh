# Sourced by jobs that run the pipeline's interpreter. A runner that keeps the tools names their folder in CIFAROPS_TOOLS.
command -v rsync >/dev/null || bash ci/apt.sh rsync
if [ -n "${CIFAROPS_TOOLS:-}" ]; then
  ln -sfn "$CIFAROPS_TOOLS/node_modules" ci/tools/node_modules
else
  command -v npm >/dev/null || bash ci/apt.sh npm
  make --silent flow-tools
fi
