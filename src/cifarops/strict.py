"""Strict, frozen models for files that people write, and messages that name the key and the nearest valid one."""

import difflib
from collections.abc import Iterable
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cifarops.errors import UsageError

Fraction = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A strict, frozen part of a file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def explain(error: ValidationError, model: type[Section], *, where: str, reference: str) -> UsageError:
    """Turn a model's refusal into a message about the first thing to correct.

    Args:
        error: The refusal.
        model: The model that refused.
        where: What the message begins with: the file, and the part of it.
        reference: The page that lists every key.
    """
    # A misspelt key is also a missing one; the misspelling is what helps.
    first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        fields = _section_at(model, first["loc"][:-1]).model_fields
        siblings = [field.alias or name for name, field in fields.items()]
        return UsageError(
            f"{where}: unknown key {key!r}{did_you_mean(str(first['loc'][-1]), siblings)}",
            fix=f"Valid keys there: {', '.join(siblings)}.",
        )
    value = f"{key} = {first.get('input')!r}: " if key else ""
    said = first["msg"].removeprefix("Value error, ")
    return UsageError(
        f"{where}: {value}{said}{'' if said.endswith(('.', '?')) else '.'}",
        fix=f"Correct it; {reference} lists every key and its range.",
    )


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return one file's values with another's laid over them, key by key, at any depth."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """Return the end of a sentence: `; did you mean 'x'?` with the valid name most like `name`, or a full stop."""
    close = difflib.get_close_matches(name, list(valid), n=1)
    return f"; did you mean {close[0]!r}?" if close else "."


def _section_at(model: type[Section], location: tuple[int | str, ...]) -> type[Section]:
    section = model
    parts = iter(location)
    for part in parts:
        fields = section.model_fields
        annotation = next(field.annotation for name, field in fields.items() if part in (name, field.alias))
        for inner in (annotation, *get_args(annotation)):
            if isinstance(inner, type) and issubclass(inner, Section):
                section = inner
        if get_args(annotation):
            next(parts, None)  # which entry of a mapping of sections
    return section
