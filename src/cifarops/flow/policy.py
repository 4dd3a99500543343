"""The policy: policy.yaml as strict, frozen models.

It names the branches, what may merge into what, what that takes, the environments, and what the gate requires. An
unknown key is an error that names the key and the nearest valid one; a name that points nowhere is an error too.
"""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import AfterValidator, Field, ValidationError, model_validator

from cifarops.budgets import POLICY as POLICY
from cifarops.budgets import GateRules
from cifarops.errors import UsageError
from cifarops.settings import EnvironmentName
from cifarops.strict import Section, did_you_mean, explain

Role = Literal["developer", "maintainer"]
Count = Annotated[int, Field(ge=0, le=100)]


def _regular(expression: str) -> str:
    try:
        re.compile(expression)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from error
    return expression


def _path_with_name(path: str) -> str:
    try:
        path.format(name="x")
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(f"{{name}} is all that may stand in braces, not {error}") from error
    return path


class Names(Section):
    """What the part of a work branch's name after the slash looks like.

    Attributes:
        pattern: Regular expression that the whole part matches.
        longest: Most characters it has.
    """

    pattern: Annotated[str, AfterValidator(_regular)]
    longest: int = Field(ge=1, le=200)


class Messages(Section):
    """What a commit message looks like.

    Attributes:
        run_tests: The message that, exactly, runs the unit tests.
        types: The types of conventional commits.
    """

    run_tests: str = Field(min_length=1)
    types: tuple[str, ...] = Field(min_length=1)


class Work(Section):
    """One type of short-lived branch.

    Attributes:
        purpose: What it is for.
        origin: The protected branch it starts from (`from` in the file).
        into: The protected branches it may merge into.
        requires: The file such a branch must carry, with `{name}` in its path.
    """

    purpose: str
    origin: str = Field(alias="from")
    into: tuple[str, ...] = Field(min_length=1)
    requires: Annotated[str, AfterValidator(_path_with_name)] | None = None

    @property
    def merged_back(self) -> tuple[str, ...]:
        """The protected branches besides its origin: a conflict there is resolved on a branch of its own."""
        return tuple(branch for branch in self.into if branch != self.origin) if self.is_urgent else ()

    @property
    def is_urgent(self) -> bool:
        """Whether it merges straight into where it started and into other branches too."""
        return self.origin in self.into and len(self.into) > 1


class Protected(Section):
    """One persistent branch.

    Attributes:
        purpose: What it is for.
        accepts: Work branch types and protected branches that may merge into it.
        approvals: Approvals that a merge request needs; the author's own does not count.
        code_owners: Whether one of them must be a code owner's.
        merge: The least role that may merge.
        checks: Pipeline jobs that must pass in a merge request.
    """

    purpose: str
    accepts: tuple[str, ...] = Field(min_length=1)
    approvals: Count
    code_owners: bool
    merge: Role
    checks: tuple[str, ...] = Field(min_length=1)


class FreezeRules(Section):
    """What is frozen while a release is cut.

    Attributes:
        branch: The protected branch into which nothing merges meanwhile.
        stale_after_hours: An older freeze is told to be forgotten, hours.
    """

    branch: str
    stale_after_hours: float = Field(gt=0)


class Tags(Section):
    """Tags that maintainers alone create, as patterns with `*`.

    Attributes:
        release: Tags of releases.
        freeze: Tags that hold a freeze.
    """

    release: str
    freeze: str


class Environment(Section):
    """One environment.

    Attributes:
        branch: The protected branch it runs.
        url: Where it answers.
        deploy: The least role that may deploy there.
        approvals: Approvals that a deployment needs.
    """

    branch: str
    url: str
    deploy: Role
    approvals: Count


class Policy(Section):
    """The whole policy.

    Attributes:
        version: Version of this format.
        names: Names of work branches.
        messages: Commit messages.
        work: Short-lived branch types.
        protected: Persistent branches.
        freeze: What is frozen while a release is cut.
        tags: Tags that maintainers alone create.
        environments: Where what runs.
        gate: What a model must reach.
    """

    version: Literal[1]
    names: Names
    messages: Messages
    work: dict[str, Work] = Field(min_length=1)
    protected: dict[str, Protected] = Field(min_length=1)
    freeze: FreezeRules
    tags: Tags
    environments: dict[EnvironmentName, Environment]
    gate: GateRules

    @model_validator(mode="after")
    def _points_somewhere(self) -> Self:
        for kind in self.work.keys() & self.protected.keys():
            raise ValueError(f"{kind} is both a work branch type and a protected branch")
        pointers = {
            "freeze.branch": [self.freeze.branch],
            **{f"work.{kind}.from": [work.origin] for kind, work in self.work.items()},
            **{f"work.{kind}.into": work.into for kind, work in self.work.items()},
            **{f"environments.{name}.branch": [each.branch] for name, each in self.environments.items()},
        }
        for key, branches in pointers.items():
            for branch in branches:
                if branch not in self.protected:
                    raise ValueError(
                        f"{key}: {branch!r} is no protected branch{did_you_mean(branch, self.protected)}"
                    )
        return self

    @model_validator(mode="after")
    def _both_sides_agree(self) -> Self:
        for target, protected in self.protected.items():
            for source in protected.accepts:
                if source in self.work and target not in self.work[source].into:
                    raise ValueError(
                        f"{target} accepts {source}, but work.{source}.into does not name {target}"
                    )
                if source not in self.work and source not in self.protected:
                    known = [*self.work, *self.protected]
                    raise ValueError(
                        f"protected.{target}.accepts: there is no {source!r}{did_you_mean(source, known)}"
                    )
            for kind, work in self.work.items():
                if target in work.into and kind not in protected.accepts:
                    raise ValueError(f"work.{kind}.into names {target}, but {target} does not accept {kind}")
        return self


def load_policy(path: Path) -> Policy:
    """Read the policy from a file.

    Raises:
        UsageError: There is no such file, or something in it is wrong.
    """
    try:
        return parse_policy(path.read_text(), str(path))
    except FileNotFoundError as error:
        raise UsageError(
            f"There is no policy file {path}.",
            fix="Run from the project's root, or name the file with --policy.",
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no text: {error}", fix=f"Restore it: git checkout {path}.") from error


def parse_policy(text: str, where: str) -> Policy:
    """Read the policy from text.

    Args:
        text: What stands in the file.
        where: The file's name, for messages.

    Raises:
        UsageError: Something in it is wrong.
    """
    try:
        return Policy.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise UsageError(f"{where} is not YAML: {error}", fix="Correct the line it names.") from error
    except ValidationError as error:
        raise explain(error, Policy, where=where, reference="docs/reference/flow.md") from error
