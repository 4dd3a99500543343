from pathlib import Path
from typing import Any

import pytest
import yaml

from cifarops.errors import UsageError
from cifarops.flow.policy import load_policy, parse_policy

FILE = Path(__file__).parents[3] / "policy.yaml"


def changed(path: str, value: Any) -> str:
    document = yaml.safe_load(FILE.read_text())
    *parents, last = path.split(".")
    section = document
    for parent in parents:
        section = section[parent]
    section[last] = value
    return yaml.safe_dump(document)


@pytest.mark.promise("A2")
def test_the_projects_policy_is_the_process() -> None:
    policy = load_policy(FILE)
    assert {kind: (work.origin, work.into) for kind, work in policy.work.items()} == {
        "feature": ("develop", ("develop",)),
        "fix": ("develop", ("develop",)),
        "experiment": ("develop", ("develop",)),
        "hotfix": ("main", ("main", "develop", "release")),
    }
    assert {name: each.accepts for name, each in policy.protected.items()} == {
        "develop": ("feature", "fix", "experiment", "hotfix"),
        "release": ("develop", "hotfix"),
        "main": ("release", "hotfix"),
    }
    assert policy.protected["main"].approvals > policy.protected["develop"].approvals >= 1
    assert policy.work["hotfix"].merged_back == ("develop", "release")
    assert policy.work["feature"].merged_back == ()


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("protectd", {}, "unknown key 'protectd'; did you mean 'protected'?"),
        ("work.feature.form", "develop", "unknown key 'work.feature.form'; did you mean 'from'?"),
        ("protected.main.approval", 3, "unknown key 'protected.main.approval'; did you mean 'approvals'?"),
        ("protected.main.approvals", -1, "protected.main.approvals = -1"),
        ("names.pattern", "[", "no regular expression"),
        ("version", 2, "version = 2"),
        (
            "freeze.branch",
            "devlop",
            "freeze.branch: 'devlop' is no protected branch; did you mean 'develop'?",
        ),
        ("work.fix.from", "master", "work.fix.from: 'master' is no protected branch"),
        ("work.fix.into", ["develop", "main"], "work.fix.into names main, but main does not accept fix"),
        (
            "protected.main.accepts",
            ["release"],
            "work.hotfix.into names main, but main does not accept hotfix",
        ),
        ("protected.main.accepts", ["release", "hotfix", "fix"], "main accepts fix"),
        (
            "protected.main.accepts",
            ["release", "hotfix", "hotfx"],
            "there is no 'hotfx'; did you mean 'hotfix'?",
        ),
        (
            "environments.staging.branch",
            "stage",
            "environments.staging.branch: 'stage' is no protected branch",
        ),
        ("environments.moon", {}, "environments.moon"),
        ("work.feature.requires", "experiments/{nam}.yaml", "work.feature.requires"),
    ],
)
def test_a_slip_is_named(path: str, value: Any, message: str) -> None:
    with pytest.raises(UsageError) as refusal:
        parse_policy(changed(path, value), "policy.yaml")
    assert refusal.value.message.startswith("policy.yaml: ")
    assert message in refusal.value.message
    assert refusal.value.fix


@pytest.mark.parametrize("text", ["", "- a", "a: [", "1"])
def test_what_is_no_policy_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"policy\.yaml"):
        load_policy(tmp_path / "policy.yaml")


def test_a_policy_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no policy file"):
        load_policy(tmp_path / "policy.yaml")
    (tmp_path / "policy.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="no text"):
        load_policy(tmp_path / "policy.yaml")
