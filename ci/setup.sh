# Sourced by every job: afterwards the commands of this checkout are on the path.
# A runner that keeps a virtual environment with the pinned packages names it in CIFAROPS_VENV.
if [ -n "${CIFAROPS_VENV:-}" ]; then
  export PATH="$CIFAROPS_VENV/bin:$PATH" PYTHONPATH="$PWD/src"
else
  make --silent install
  export PATH="$PWD/.venv/bin:$PATH"
fi
# The token that may change the project is for protected branches; what nobody has reviewed gets one that may write notes.
export CIFAROPS_GITLAB_TOKEN="${CIFAROPS_GITLAB_TOKEN:-${CIFAROPS_NOTES_TOKEN:-}}"
export CIFAROPS_ACTOR="${GITLAB_USER_LOGIN:-pipeline}"
