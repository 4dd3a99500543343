"""What GitLab reads from the repository itself: code owners, and templates for merge requests."""

from pathlib import Path

from cifarops.files import write_atomic
from cifarops.flow.policy import Policy

_MADE = "Made from policy.yaml by: cifarops flow gitlab files"
# What decides how everything else is checked and deployed.
_PROCESS = (
    "/policy.yaml",
    "/.gitlab-ci.yml",
    "/.gitlab/",
    "/.pre-commit-config.yaml",
    "/ci/",
    "/deploy/",
    "/src/cifarops/flow/",
)
_TEMPLATES = Path(".gitlab/merge_request_templates")


def wanted_files(policy: Policy) -> dict[Path, str]:
    """Return the files, by path from the repository's root."""
    return {Path(".gitlab/CODEOWNERS"): _code_owners()} | {
        _TEMPLATES / f"{name}.md": text for name, text in _templates(policy).items()
    }


def differing_files(policy: Policy, root: Path) -> list[Path]:
    """Return the files that are absent or not as the policy wants them."""
    return [
        path
        for path, text in wanted_files(policy).items()
        if not (root / path).is_file() or (root / path).read_text() != text
    ]


def write_files(policy: Policy, root: Path) -> list[Path]:
    """Write the files that differ and return them."""
    differing = differing_files(policy, root)
    for path in differing:
        write_atomic(root / path, wanted_files(policy)[path].encode())
    return differing


def _code_owners() -> str:
    lines = [
        f"# {_MADE}",
        "# Roles own the code, so that nobody's name has to be kept up to date (GitLab 17.8 or later, Premium).",
        "",
        "[Code]",
        "* @@developer",
        "",
        "# What decides how everything else is checked and deployed.",
        "[Process]",
        *(f"{path} @@maintainer" for path in _PROCESS),
    ]
    return "\n".join(lines) + "\n"


def _templates(policy: Policy) -> dict[str, str]:
    templates = {
        kind: _template(policy, f"{kind}: {work.purpose}", work.into, work.requires)
        for kind, work in policy.work.items()
    }
    between = {
        target: [source for source in rules.accepts if source in policy.protected]
        for target, rules in policy.protected.items()
    }
    for target, sources in between.items():
        for source in sources:
            title = f"{source} into {target}: {policy.protected[target].purpose}"
            templates[f"{source}-into-{target}"] = _template(policy, title, (target,), None)
    first = next(iter(policy.work))
    return {"Default": templates[first], **templates}


def _template(policy: Policy, title: str, targets: tuple[str, ...], requires: str | None) -> str:
    lines = [
        f"<!-- {title}",
        f"{_MADE} -->",
        "",
        "## What changes, and why",
        "",
        "",
        "## How it was tested",
        "",
        "",
    ]
    lines += ["## Before it merges", ""]
    if requires:
        lines.append(f"- [ ] `{requires.format(name='<name>')}` says what is tried")
    for target in targets:
        rules = policy.protected[target]
        approvals = f"{rules.approvals} approval{'s' if rules.approvals != 1 else ''} besides the author's"
        owner = ", with a code owner's among them" if rules.code_owners else ""
        lines.append(f"- [ ] into `{target}`: {approvals}{owner}; green are {', '.join(rules.checks)}")
    lines.append("- [ ] every thread is resolved")
    return "\n".join(lines) + "\n"
