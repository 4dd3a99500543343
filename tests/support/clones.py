"""A local forge and clones of it, one for each person, with real git and nothing of this machine's configuration."""

import atexit
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cifarops.flow.git import Git
from cifarops.flow.local.create import create_remote
from cifarops.flow.local.forge import LocalForge
from cifarops.flow.policy import POLICY, Policy, Role, load_policy

ROOT = Path(__file__).parents[2]
MEMBERS: Mapping[str, Role] = {
    "ada": "maintainer",
    "bob": "maintainer",
    "cleo": "developer",
    "robot": "maintainer",
}


@dataclass(frozen=True)
class Project:
    """A forge with `main`, `develop` and `release` at version 1.0.0."""

    root: Path
    policy: Policy
    forge: LocalForge

    def clone(self, user: str) -> Git:
        """Return a fresh clone in which `user` works."""
        place = self.root / f"{user}-{len(list(self.root.iterdir()))}"
        Git(self.root, person(user))("clone", "--quiet", str(self.forge.root), str(place))
        return Git(place, person(user))

    def as_user(self, user: str) -> LocalForge:
        return LocalForge(self.forge.root, user)

    def merge(self, source: str, target: str, *, by: str = "ada") -> str:
        """Take a change all the way: merge request, approvals, green pipeline, merge."""
        number = (
            self.as_user("cleo").open(source, target, title=f"{source} into {target}", description="").number
        )
        return self.merge_number(number, by=by)

    def merge_number(self, number: int, *, by: str = "ada") -> str:
        request = next(each for each in self.forge.merge_requests() if each.number == number)
        for user in ("ada", "bob", "robot"):
            self.forge.approve(number, user)
        self.forge.pipeline_result(number, self.tip(request.source), ok=True)
        return self.forge.merge(number, by)

    def tip(self, branch: str) -> str:
        return Git(self.forge.root).commit(f"refs/heads/{branch}")


def person(user: str) -> dict[str, str]:
    """Return the environment of somebody who uses git."""
    address = f"{user}@example.org"
    return {
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": user.title(),
        "GIT_AUTHOR_EMAIL": address,
        "GIT_COMMITTER_NAME": user.title(),
        "GIT_COMMITTER_EMAIL": address,
        "CIFAROPS_FLOW_USER": user,
    }


_template: Path | None = None


def make_project(root: Path) -> Project:
    """Return a copy of a forge with three protected branches and the tag v1.0.0, made once for all tests."""
    global _template
    if _template is None:
        _template = Path(tempfile.mkdtemp(prefix="cifarops-forge-"))
        atexit.register(shutil.rmtree, _template, ignore_errors=True)
        _make_template(_template)
    shutil.copytree(_template / "remote.git", root / "remote.git")
    return Project(root, load_policy(ROOT / POLICY), LocalForge(root / "remote.git", "robot"))


def _make_template(root: Path) -> None:
    policy = load_policy(ROOT / POLICY)
    forge = create_remote(root / "remote.git", policy, MEMBERS, user="robot")
    git = Git(root / "first", person("ada"))
    git.root.mkdir()
    git("init", "--quiet", "--initial-branch=main")
    git("remote", "add", "origin", str(forge.root))
    files = {str(name): (ROOT / name).read_text() for name in (POLICY, Path("params.yaml"))}
    write(git, {**files, "README.md": "one\ntwo\nthree\n"}, "feat: begin")
    git.push(*(f"main:refs/heads/{branch}" for branch in policy.protected))
    forge.create_tag("v1.0.0", git.commit(), "1.0.0")


def write(git: Git, files: Mapping[str, str], message: str) -> str:
    """Commit files and return the commit."""
    for name, text in files.items():
        path = git.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        git("add", name)
    git("commit", "--quiet", "--allow-empty", "--message", message)
    return git.commit()
