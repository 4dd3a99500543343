"""docs/reference/flow.md: the tables of policy.yaml and of the hooks, and every key of policy.yaml."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import yaml
from pydantic import BaseModel

from cifarops.flow.install import HOOKS
from cifarops.flow.policy import POLICY, Policy, load_policy
from cifarops.flow.rules import may_merge
from docs.pages.fields import docstring, inner_section, range_of


def flow_page(root: Path) -> str:
    """Return the reference of the branch process."""
    policy = load_policy(root / POLICY)
    parts = (_branches, _names, _merges, _checks, _freeze, _tags, _environments)
    lines = [
        "# The branch process",
        "",
        "This page is made from `policy.yaml` by `make docs`. Hooks, pipeline guards and GitLab settings keep the same file; to ask",
        "it a question: `cifarops flow policy explain fix/x main`. Which promise is kept by what: [process](process.md).",
    ]
    for part in parts:
        lines += ["", *part(policy)]
    lines += ["", *_hooks(root), "", *_keys(policy)]
    return "\n".join(lines) + "\n"


def _branches(policy: Policy) -> Iterator[str]:
    yield from ("## Branches", "")
    yield from _table(
        ("work branch", "for", "starts from", "merges into", "must carry"),
        (
            (f"`{kind}/<name>`", work.purpose, f"`{work.origin}`", _codes(work.into), _code(work.requires))
            for kind, work in policy.work.items()
        ),
    )
    yield ""
    yield from _table(
        ("protected branch", "is", "accepts"),
        (
            (f"`{name}`", each.purpose, _codes(_forms(policy, each.accepts)))
            for name, each in policy.protected.items()
        ),
    )
    yield from (
        "",
        "Nobody pushes to a protected branch, rewrites it or deletes it; it changes by merge requests, always with a merge commit.",
    )


def _names(policy: Policy) -> Iterator[str]:
    messages = policy.messages
    yield from (
        "## Names and messages",
        "",
        f"`<name>` matches `{policy.names.pattern}` and has at most {policy.names.longest} characters.",
        "",
        "A commit message is `<type>: <what changes>`, with an optional scope in parentheses and `!` for what breaks, where",
        f"`<type>` is one of {_codes(messages.types)}. The message `{messages.run_tests}`, exactly and with nothing after it, runs the",
        "unit tests, on the developer's machine when it is pushed and in the pipeline. Merge commits keep the message that Git gives them.",
    )


def _merges(policy: Policy) -> Iterator[str]:
    targets = list(policy.protected)
    resolving = [
        f"{kind}/<name>-into-{target}" for kind, work in policy.work.items() for target in work.merged_back
    ]
    sources = [*_forms(policy, policy.work), *resolving, *targets]
    yield from ("## What may merge into what", "")
    yield from _table(
        ("from \\ into", *(f"`{target}`" for target in targets)),
        (
            (
                f"`{source}`",
                *(
                    "yes" if may_merge(policy, source.replace("<name>", "x"), target).allowed else "–"
                    for target in targets
                ),
            )
            for source in sources
        ),
    )
    for kind, work in policy.work.items():
        if work.is_urgent:
            others = " or ".join(f"`{each}`" for each in work.merged_back)
            yield from (
                "",
                f"A `{kind}/<name>` contains nothing that {others} has and `{work.origin}` lacks. Where it conflicts with",
                f"one of them, the conflict is resolved on a branch of its own, `{kind}/<name>-into-<branch>`, which starts at it and",
                "merges that branch in.",
            )


def _checks(policy: Policy) -> Iterator[str]:
    yield from ("## What a merge takes", "")
    yield from _table(
        ("into", "approvals", "a code owner's", "merged by", "pipeline jobs"),
        (
            (
                f"`{name}`",
                str(each.approvals),
                "yes" if each.code_owners else "no",
                f"{each.merge} or higher",
                _codes(each.checks),
            )
            for name, each in policy.protected.items()
        ),
    )
    yield from ("", "The author's own approval does not count. A new commit takes approvals away.")


def _freeze(policy: Policy) -> Iterator[str]:
    branch, hours = policy.freeze.branch, policy.freeze.stale_after_hours
    yield from (
        "## Freeze",
        "",
        f"While a release is cut, nothing merges into `{branch}`. The freeze is the annotated tag",
        f"`{policy.tags.freeze.replace('*', branch)}` on the remote, whose message says by whom, since when, why and for which release; every",
        f"guard looks for it, and the server locks the branch besides. It is lifted by the merge of `{branch}` into `release`, or by",
        f"`cifarops flow unfreeze`. `cifarops flow status` shows it, and says so when it is older than {hours:g} hours.",
    )


def _tags(policy: Policy) -> Iterator[str]:
    yield from (
        "## Tags",
        "",
        f"Only maintainers create `{policy.tags.release}` (releases) and `{policy.tags.freeze}` (freezes).",
    )


def _environments(policy: Policy) -> Iterator[str]:
    yield from ("## Environments", "")
    yield from _table(
        ("environment", "runs", "answers at", "deployed by", "approvals"),
        (
            (name, f"`{each.branch}`", f"`{each.url}`", f"{each.deploy} or higher", str(each.approvals))
            for name, each in policy.environments.items()
        ),
    )


def _hooks(root: Path) -> Iterator[str]:
    configured = yaml.safe_load((root / HOOKS).read_text())
    yield from (
        "## Hooks",
        "",
        "`cifarops flow install` sets a clone and its worktrees up. On a commit and on a push run, from `.pre-commit-config.yaml`:",
        "",
    )
    yield from _table(
        ("hook", "runs", "at"),
        (
            (
                hook["name"],
                f"`{hook['entry'].removeprefix('ci/in-venv ')}`",
                ", ".join(hook.get("stages", configured["default_stages"])),
            )
            for repository in configured["repos"]
            for hook in repository["hooks"]
        ),
    )
    yield from (
        "",
        "Before a push, `cifarops flow check push` looks at the name of every branch in it, and runs the unit tests of a pushed commit",
        "whose message asks for them, on the code of that commit. `make lint` and the pipeline run the same hooks on all files.",
    )


def _keys(policy: Policy) -> Iterator[str]:
    yield from ("## policy.yaml, key by key", "", "An unknown key is refused by name.", "")
    yield from _table(("key", "value", "meaning"), _section_keys("", type(policy)))


def _section_keys(path: str, section: type[BaseModel]) -> Iterator[tuple[str, str, str]]:
    _, described = docstring(section)
    for name, field in section.model_fields.items():
        key = f"{path}{field.alias or name}"
        inner = inner_section(field)
        if inner is None:
            yield f"`{key}`", range_of(field), described[name]
        else:
            yield from _section_keys(f"{key}." if field.annotation is inner else f"{key}.<name>.", inner)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"| {' | '.join('---' for _ in columns)} |"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _forms(policy: Policy, kinds: Iterable[str]) -> list[str]:
    return [f"{kind}/<name>" if kind in policy.work else kind for kind in kinds]


def _codes(values: Iterable[str]) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _code(value: str | None) -> str:
    return f"`{value}`" if value else ""
