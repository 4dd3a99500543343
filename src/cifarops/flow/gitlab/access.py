"""Which server, which project, whose token."""

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from cifarops.errors import UsageError
from cifarops.settings import GitLabSettings

HOW_TO_AUTHENTICATE = (
    "In GitLab, Settings > Access tokens of the project: a token with role Maintainer and scope api. Then:"
    " export CIFAROPS_GITLAB_TOKEN=<token> (in pipelines a masked, protected CI/CD variable)."
)
# git@host:group/project.git
_SCP_LIKE = re.compile(r"(?:[^@/]+@)?(?P<host>[^:/]+):(?P<path>[^/].*)")


@dataclass(frozen=True)
class Access:
    """What a client needs to work on one project.

    Attributes:
        url: Address of the server, without a slash at the end.
        project: Path of the project, `group/name`.
        token: The token; never part of a message.
        is_job_token: The token is a pipeline job's own, which may do little.
    """

    url: str
    project: str
    token: str = field(repr=False)
    is_job_token: bool


def find_access(settings: GitLabSettings, origin: str) -> Access:
    """Complete the settings by what the remote's address says.

    Args:
        settings: What the environment says.
        origin: Address of the remote `origin`.

    Raises:
        UsageError: There is no token, or the address names no project on a server.
    """
    if settings.token is None:
        raise UsageError(
            "There is no GitLab token: CIFAROPS_GITLAB_TOKEN, GITLAB_TOKEN and CI_JOB_TOKEN are not set.",
            fix=HOW_TO_AUTHENTICATE,
        )
    found_url, found_path = _read(origin)
    url = (settings.url or found_url).rstrip("/")
    # A server under a path (https://host/gitlab) has it in front of every project's path.
    server = urlsplit(url)
    below = server.path.strip("/")
    project = settings.project or found_path.removeprefix(f"{below}/" if below else "")
    if server.scheme not in ("http", "https") or not server.hostname or "/" not in project:
        raise UsageError(
            f"The remote origin ({found_url or 'no address'}, path {found_path or 'none'}) names no GitLab project.",
            fix="Set CIFAROPS_GITLAB_URL=https://<server> and CI_PROJECT_PATH=<group>/<project>,"
            " or: git remote set-url origin https://<server>/<group>/<project>.git",
        )
    return Access(url, project, settings.token, settings.is_job_token)


def _read(origin: str) -> tuple[str, str]:
    """Return the server's address and the project's path in a remote's address; user and password are left out."""
    if "://" not in origin:
        match = _SCP_LIKE.fullmatch(origin)
        return (f"https://{match['host']}", _trim(match["path"])) if match else ("", "")
    parts = urlsplit(origin)
    if parts.scheme in ("http", "https"):
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", _trim(parts.path)
    return f"https://{parts.hostname or ''}", _trim(parts.path)


def _trim(path: str) -> str:
    return path.strip("/").removesuffix(".git")
