import pytest
from pydantic import Field, ValidationError

from cifarops.errors import UsageError
from cifarops.strict import Section, explain


class Inner(Section):
    origin: str = Field("a", alias="from")
    size: int = Field(1, ge=0)


class Outer(Section):
    alone: Inner = Inner()
    many: dict[str, Inner] = Field(default_factory=dict)


def refusal(document: dict[str, object]) -> UsageError:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(document)
    return explain(caught.value, Outer, where="file.yaml", reference="page.md")


@pytest.mark.parametrize(
    ("document", "message", "fix"),
    [
        ({"alon": {}}, "file.yaml: unknown key 'alon'; did you mean 'alone'?", "alone, many"),
        ({"alone": {"frm": "b"}}, "unknown key 'alone.frm'; did you mean 'from'?", "from, size"),
        ({"many": {"x": {"sise": 2}}}, "unknown key 'many.x.sise'; did you mean 'size'?", "from, size"),
        ({"many": {"x": {"size": -1}}}, "file.yaml: many.x.size = -1: Input should be", "page.md"),
        ({"many": {"x": {"size": "wide", "sise": 1}}}, "unknown key 'many.x.sise'", "from, size"),
    ],
)
def test_says_which_key_is_wrong_and_what_is_right(
    document: dict[str, object], message: str, fix: str
) -> None:
    error = refusal(document)
    assert message in error.message
    assert error.message[-2] not in "?."
    assert fix in error.fix
