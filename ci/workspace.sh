# Sourced by jobs that work on the machine of the environments. What they keep, and the servers that they start, outlive the
# checkout, which the runner wipes before its next job.
: "${CIFAROPS_WORKSPACE:?is not set on this runner. do: name a folder outside its builds, see docs/how-to/pipeline.md, Runners}"
: "${CIFAROPS_VENV:?is not set on this runner. do: name a virtual environment with the pinned packages, see docs/how-to/pipeline.md, Runners}"
