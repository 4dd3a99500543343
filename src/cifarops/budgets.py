"""What the gate requires: the section `gate` of policy.yaml as strict, frozen models.

It stands in the policy and not in params.yaml, so that an experiment can't loosen what it is judged by.
"""

from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from cifarops.errors import UsageError
from cifarops.strict import Fraction, Section, explain, merged

POLICY = Path("policy.yaml")


class Reuse(Section):
    """How the test split is kept from wearing out.

    Attributes:
        kept: Share of the test split that no judgement looks at until confirmation is asked for; 0 keeps none.
        confirm_after: Once so many candidates have been judged on the rest, one that would be promoted must win on the
            kept share, too.
    """

    kept: float = Field(ge=0, le=0.5)
    confirm_after: int = Field(ge=1)


class RobustnessBudget(Section):
    """What may be lost on corrupted images, averaged over fifteen corruptions of five severities.

    Attributes:
        images: How many images of the test split are corrupted, 75 times each; 0 leaves robustness out.
        margin: Accuracy that a candidate may lose there (0.02 = two points).
        max_error: Largest share of wrong answers there.
    """

    images: int = Field(ge=0)
    margin: float = Field(ge=0, lt=0.5)
    max_error: Fraction


class MachineBudget(Section):
    """What the packaged model may cost on the machine that judges it.

    Attributes:
        latency_ms: Median time to answer one image on one core, milliseconds.
        size_mb: Size of the model file, megabytes.
        memory_mb: Most memory that a process needs to load it and answer a batch, megabytes.
    """

    latency_ms: float = Field(gt=0)
    size_mb: float = Field(gt=0)
    memory_mb: float = Field(gt=0)


class Budgets(Section):
    """When a bundle may replace the one in production.

    Attributes:
        alpha: Chance, over the whole life of a test split, of promoting a model that is no better.
        margin: Accuracy that a candidate may lose on any suite that is not the one it must win (0.01 = one point).
        class_margin: Accuracy that it may lose on the images of any one class of `test`.
        min_accuracy: A first model, with nothing in production to compare with, must be surely above this.
        max_ece: Largest expected calibration error after temperature scaling.
    """

    alpha: float = Field(gt=0, lt=0.5)
    margin: float = Field(ge=0, lt=0.5)
    class_margin: float = Field(ge=0, le=1)
    min_accuracy: Fraction
    max_ece: Fraction
    reuse: Reuse
    robustness: RobustnessBudget
    machine: MachineBudget


class GateRules(Section):
    """The budgets of every profile.

    Attributes:
        base: The budgets.
        profiles: What differs where a model of this profile of params.yaml is judged.
    """

    base: Budgets
    profiles: dict[str, dict[str, Any]]

    @model_validator(mode="after")
    def _profiles_are_right(self) -> Self:
        for name in self.profiles:
            try:
                self.budgets(name)
            except ValidationError as error:
                first = error.errors()[0]
                key = ".".join(str(part) for part in first["loc"])
                raise ValueError(f"profiles.{name}.{key}: {first['msg']}") from error
        return self

    def budgets(self, profile: str) -> Budgets:
        """Return the budgets for a profile; one that is not named has those of `base`."""
        return Budgets.model_validate(merged(self.base.model_dump(), self.profiles.get(profile, {})))


class _Document(Section):
    gate: GateRules


def load_budgets(path: Path, profile: str) -> Budgets:
    """Read the budgets that a profile's models are judged by.

    Args:
        path: policy.yaml; the other sections are not looked at.
        profile: Profile of params.yaml.

    Raises:
        UsageError: There is no such file, or something in its section `gate` is wrong.
    """
    try:
        document = yaml.safe_load(path.read_text())
        gate = document["gate"] if isinstance(document, dict) else {}
        return _Document.model_validate({"gate": gate}).gate.budgets(profile)
    except FileNotFoundError as error:
        raise UsageError(
            f"There is no policy file {path}, so nobody says what a model must reach.",
            fix="Run from the project's root, or name the file with --policy.",
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not YAML: {error}", fix="Correct the line it names.") from error
    except KeyError as error:
        raise UsageError(
            f"{path} has no section gate, so nobody says what a model must reach.",
            fix=f"Restore it: git checkout {path}",
        ) from error
    except ValidationError as error:
        raise explain(error, _Document, where=str(path), reference="docs/reference/flow.md") from error
