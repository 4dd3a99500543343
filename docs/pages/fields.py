"""What a model of a file says of its keys: their meaning, their kind and their range."""

import re
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def docstring(section: type[BaseModel]) -> tuple[str, dict[str, str]]:
    """Return a model's summary and the meaning of each of its attributes."""
    text = section.__doc__ or ""
    summary, _, attributes = text.partition("Attributes:")
    found = re.findall(r"^ {8}(\w+): ((?:.|\n {12})+)", attributes, flags=re.MULTILINE)
    return " ".join(summary.split()), {name: " ".join(meaning.split()) for name, meaning in found}


def range_of(field: FieldInfo) -> str:
    """Return the kind and the limits of a value."""
    limits = [
        f"{sign} {getattr(rule, name)}"
        for rule in field.metadata
        for name, sign in _BOUNDS.items()
        if getattr(rule, name, None) is not None
    ]
    return " ".join([_kind(field.annotation), ", ".join(limits)]).strip()


def inner_section(field: FieldInfo) -> type[BaseModel] | None:
    """Return the model of a key's own keys, or of each entry of a mapping; None for a plain value."""
    for inner in (field.annotation, *get_args(field.annotation)):
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            return inner
    return None


def _kind(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(str(value) for value in arguments)
    if origin in (Union, UnionType):
        return " or ".join("nothing" if each is type(None) else _kind(each) for each in arguments)
    if origin is dict:
        return "mapping"
    if origin is tuple and Ellipsis in arguments:
        return f"list of {_kind(arguments[0])}"
    if origin is tuple:
        return f"{('no', 'one', 'two', 'three')[len(arguments)]} {_kind((get_args(arguments[0]) or arguments)[0])}"
    if origin is dict:
        return f"mapping of {_kind(arguments[1])}"
    if origin is not None:  # Annotated
        return _kind(arguments[0])
    return str(annotation.__name__)
