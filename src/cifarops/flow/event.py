"""What makes the server start a pipeline, and the variables that it sets then."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Source = Literal["push", "tag", "merge_request", "schedule", "web"]
# What GitLab sets in some pipelines only, so that it must be unset in the others.
_CONDITIONAL = ("CI_COMMIT_BRANCH", "CI_COMMIT_TAG", "CI_OPEN_MERGE_REQUESTS")
_SLUG_LENGTH = 63


@dataclass(frozen=True)
class Event:
    """Something that happened to a repository.

    Attributes:
        source: `push` of a branch or of a `tag`, a `merge_request` opened or pushed to, a `schedule`, or a person who
            presses Run pipeline (`web`).
        ref: The branch (of a merge request: its source) or the tag.
        target: Where a merge request wants to go; "" for everything else.
        message: Message of the newest commit.
        merge_request: Number of the open merge request of the branch, or None where there is none.
        protected: Whether the branch or tag is protected.
        variables: What else is set: by the schedule, in the project, by whoever starts it.
    """

    source: Source
    ref: str
    target: str = ""
    message: str = "feat: something new"
    merge_request: int | None = None
    protected: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)

    def ci_variables(self) -> dict[str, str]:
        """Return the predefined variables that tell this event from others, and its own."""
        title, _, description = self.message.partition("\n")
        found = {
            "CI_PIPELINE_SOURCE": self._pipeline_source(),
            "CI_COMMIT_REF_NAME": self.ref,
            "CI_COMMIT_REF_SLUG": re.sub(r"[^a-z0-9]+", "-", self.ref.lower())[:_SLUG_LENGTH].strip("-"),
            "CI_COMMIT_REF_PROTECTED": str(self.protected).lower(),
            "CI_COMMIT_MESSAGE": self.message,
            "CI_COMMIT_TITLE": title,
            "CI_COMMIT_DESCRIPTION": description.lstrip("\n"),
        }
        if self.source == "tag":
            found["CI_COMMIT_TAG"] = self.ref
        elif self.source == "merge_request":
            found |= {
                "CI_MERGE_REQUEST_IID": str(self.merge_request or 1),
                "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": self.ref,
                "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": self.target,
            }
        else:
            found["CI_COMMIT_BRANCH"] = self.ref
        if self.source == "merge_request" or self.merge_request is not None:
            found["CI_OPEN_MERGE_REQUESTS"] = f"group/project!{self.merge_request or 1}"
        return {**found, **self.variables}

    def unset_variables(self) -> list[str]:
        """Return the predefined variables that such a pipeline does not have."""
        present = self.ci_variables()
        return [name for name in _CONDITIONAL if name not in present]

    def _pipeline_source(self) -> str:
        return {"merge_request": "merge_request_event", "tag": "push"}.get(self.source, self.source)
