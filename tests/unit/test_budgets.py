from pathlib import Path
from typing import Any

import pytest
import yaml

from cifarops.budgets import load_budgets
from cifarops.errors import UsageError

POLICY = Path(__file__).parents[2] / "policy.yaml"


def changed(tmp_path: Path, key: str, value: Any) -> Path:
    document = yaml.safe_load(POLICY.read_text())
    *parents, last = key.split(".")
    section = document["gate"]
    for parent in parents:
        section = section[parent]
    section[last] = value
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_a_profile_lays_its_budgets_over_the_base() -> None:
    base, smoke = load_budgets(POLICY, "fast"), load_budgets(POLICY, "smoke")
    assert smoke.min_accuracy < base.min_accuracy
    assert smoke.alpha == base.alpha
    assert load_budgets(POLICY, "a profile of one's own") == base


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("base.alhpa", 0.1, "unknown key 'gate.base.alhpa'; did you mean 'alpha'?"),
        ("base.alpha", 0.7, "gate.base.alpha = 0.7"),
        ("base.machine.memory_mb", 0, "gate.base.machine.memory_mb = 0"),
        ("profiles.smoke.max_ece", 2, "profiles.smoke.max_ece"),
        ("profiles.smoke", {"robustness": {"image": 3}}, "profiles.smoke.robustness.image"),
    ],
)
def test_a_slip_is_named(tmp_path: Path, key: str, value: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_budgets(changed(tmp_path, key, value), "demo")
    assert message in caught.value.message


@pytest.mark.parametrize("text", ["", "[1]", "a: [", "version: 1"])
def test_a_policy_without_budgets_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(UsageError):
        load_budgets(path, "demo")
    with pytest.raises(UsageError, match="no policy file"):
        load_budgets(tmp_path / "absent.yaml", "demo")
