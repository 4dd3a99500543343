"""`cifarops flow policy`: the policy checked, shown and explained."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cifarops.cli.common import JsonFlag, emit, group, table

app = group("Check, show and explain policy.yaml.")

PolicyFile = Annotated[Path, typer.Option("--policy", help="The policy file.")]
POLICY = Path("policy.yaml")


@app.command()
def check(policy: PolicyFile = POLICY, as_json: JsonFlag = False) -> None:
    """Refuse a policy file that has unknown keys, wrong values or names that point nowhere."""
    from cifarops.flow.policy import load_policy

    found = load_policy(policy)
    emit(
        {"policy": str(policy), "work": list(found.work), "protected": list(found.protected)},
        as_json=as_json,
        human=f"{policy} is valid: {', '.join(found.work)} into {', '.join(found.protected)}.",
    )


@app.command()
def show(policy: PolicyFile = POLICY, as_json: JsonFlag = False) -> None:
    """Show the branches, who may merge what into them, and what that takes."""
    from cifarops.flow.policy import load_policy

    found = load_policy(policy)
    emit(
        found.model_dump(mode="json", by_alias=True),
        as_json=as_json,
        human=table(
            "Protected branches",
            ("branch", "accepts", "approvals", "merged by", "checks"),
            [
                (name, ", ".join(each.accepts), each.approvals, each.merge, ", ".join(each.checks))
                for name, each in found.protected.items()
            ],
        ),
    )


@app.command()
def explain(
    source: Annotated[str, typer.Argument(help="The branch with the change.")],
    target: Annotated[str, typer.Argument(help="The branch it is to be merged into.")],
    policy: PolicyFile = POLICY,
    as_json: JsonFlag = False,
) -> None:
    """Say whether a branch may merge into another, why, and what to do instead."""
    from cifarops.flow.policy import load_policy
    from cifarops.flow.rules import may_merge

    answer = may_merge(load_policy(policy), source, target)
    lines = ["yes" if answer.allowed else "no", answer.reason, answer.instead]
    emit(asdict(answer), as_json=as_json, human="\n".join(line for line in lines if line))
