# Sourced by jobs that run the pipeline's interpreter. A runner that keeps the tools names their folder in CIFAROPS_TOOLS.
if [ -n "${CIFAROPS_TOOLS:-}" ]; then
  ln -sfn "$CIFAROPS_TOOLS/node_modules" ci/tools/node_modules
else
  make --silent flow-tools
fi
