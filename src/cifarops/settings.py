"""What the machine decides: paths and addresses, from environment variables named `CIFAROPS_*`.

What an experiment decides stands in params.yaml (`cifarops.config`).
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

EnvironmentName = Literal["development", "staging", "production"]
ENVIRONMENTS: tuple[EnvironmentName, ...] = ("development", "staging", "production")


@dataclass(frozen=True)
class GitLabSettings:
    """How the GitLab server is reached; what is None here is read off the remote `origin`.

    Attributes:
        url: Address of the server (`CIFAROPS_GITLAB_URL`, in a pipeline `CI_SERVER_URL`).
        project: Path of the project, `group/name` (in a pipeline `CI_PROJECT_PATH`).
        token: Access token (`CIFAROPS_GITLAB_TOKEN`, else `GITLAB_TOKEN`, in a pipeline else `CI_JOB_TOKEN`).
        is_job_token: The token is a pipeline job's own, which may do little.
        in_job: A job of a pipeline asks: whatever token it has for the API, it pushes with its own.
    """

    url: str | None = None
    project: str | None = None
    token: str | None = field(default=None, repr=False)
    is_job_token: bool = False
    in_job: bool = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "GitLabSettings":
        """Read the settings from `environ`."""
        own = environ.get("CIFAROPS_GITLAB_TOKEN") or environ.get("GITLAB_TOKEN")
        job = environ.get("CI_JOB_TOKEN")
        return cls(
            url=environ.get("CIFAROPS_GITLAB_URL") or environ.get("CI_SERVER_URL") or None,
            project=environ.get("CI_PROJECT_PATH") or None,
            token=own or job or None,
            is_job_token=bool(job and not own),
            in_job=bool(job),
        )


@dataclass(frozen=True)
class Settings:
    """Where everything a user makes lies.

    Attributes:
        workspace: Root of all state (`CIFAROPS_WORKSPACE`, default `workspace/`).
        tracking_uri: MLflow tracking and registry store (`CIFAROPS_TRACKING_URI`, default SQLite in the workspace).
        cifar10_url: Where the official archives are fetched from (`CIFAROPS_CIFAR10_URL`): a directory URL.
        actor: Who is recorded with decisions (`CIFAROPS_ACTOR`, default the login name).
        gitlab: How the GitLab server is reached.
        signing_key: Private key that bundles are signed with (`CIFAROPS_SIGNING_KEY`: PEM, or the path of a file with
            it), in place of the environment's own in the workspace.
        token: What is shown to servers that want a token (`CIFAROPS_TOKEN`).
        trusted: Directory of the public keys that servers trust (`CIFAROPS_TRUSTED_KEYS`), in place of the workspace's.
    """

    workspace: Path
    tracking_uri: str
    cifar10_url: str
    actor: str
    gitlab: GitLabSettings = GitLabSettings()
    signing_key: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    trusted: Path | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """Read the settings from `environ`, by default the process's own environment."""
        env = os.environ if environ is None else environ
        workspace = Path(env.get("CIFAROPS_WORKSPACE") or "workspace").absolute()
        return cls(
            workspace=workspace,
            tracking_uri=env.get("CIFAROPS_TRACKING_URI") or f"sqlite:///{workspace / 'mlflow.db'}",
            cifar10_url=env.get("CIFAROPS_CIFAR10_URL") or "https://www.cs.toronto.edu/~kriz/",
            actor=env.get("CIFAROPS_ACTOR") or env.get("USER") or env.get("LOGNAME") or "unknown",
            gitlab=GitLabSettings.from_environment(env),
            signing_key=env.get("CIFAROPS_SIGNING_KEY") or None,
            token=env.get("CIFAROPS_TOKEN") or None,
            trusted=(
                Path(env["CIFAROPS_TRUSTED_KEYS"]).absolute() if env.get("CIFAROPS_TRUSTED_KEYS") else None
            ),
        )

    @property
    def snapshots(self) -> Path:
        """Directory of snapshots, one folder per id."""
        return self.workspace / "snapshots"

    @property
    def runs(self) -> Path:
        """Directory of training runs, one folder per run id."""
        return self.workspace / "runs"

    @property
    def bundles(self) -> Path:
        """Directory of bundles, one folder per digest."""
        return self.workspace / "bundles"

    @property
    def signatures(self) -> Path:
        """Directory of signatures, one folder per bundle."""
        return self.workspace / "signatures"

    @property
    def keys(self) -> Path:
        """Directory of private keys, one file per environment."""
        return self.workspace / "keys"

    @property
    def trusted_keys(self) -> Path:
        """Directory of public keys, one folder per environment."""
        return self.trusted or self.keys / "trusted"

    @property
    def verdicts(self) -> Path:
        """Directory of gate verdicts as JSON."""
        return self.workspace / "verdicts"

    @property
    def releases(self) -> Path:
        """Directory of code releases, one folder per SHA-256."""
        return self.workspace / "releases"

    @property
    def pins(self) -> Path:
        """Directory of what was pinned for a release."""
        return self.workspace / "pins"

    @property
    def run(self) -> Path:
        """Directory of what lives as long as a process: control sockets and locks."""
        return self.workspace / "run"

    @property
    def serving(self) -> Path:
        """The file that says how servers are reached and how much they take."""
        return self.workspace / "serving.yaml"

    @property
    def tokens(self) -> Path:
        """The file of the servers' tokens, hashed."""
        return self.workspace / "tokens.json"

    @property
    def logs(self) -> Path:
        """Directory of the servers' output."""
        return self.workspace / "logs"

    @property
    def monitoring(self) -> Path:
        """Directory of where monitoring stands, what it learned from the robustness suite, and examples."""
        return self.workspace / "monitoring"

    @property
    def downloads(self) -> Path:
        """Directory of fetched archives."""
        return self.workspace / "downloads"

    @property
    def cache(self) -> Path:
        """Directory of what may be deleted at any time."""
        return self.workspace / "cache"

    @property
    def ledger(self) -> Path:
        """The ledger's SQLite file."""
        return self.workspace / "ledger.db"
