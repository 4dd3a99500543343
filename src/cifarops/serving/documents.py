"""JSON from outside, read strictly: one meaning each, no surprise in size, depth or numbers."""

import json
import math
import re
from typing import Any, NoReturn, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from cifarops.serving.problems import ProblemError

# Half a pair would be a string that can't be written or sent back.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_Model = TypeVar("_Model", bound=BaseModel)


def read_json(content: bytes) -> Any:
    """Parse one JSON document in UTF-8.

    Raises:
        ProblemError: It is none; a key stands twice in an object; it is nested hundreds deep; a number is not
            finite, a character not whole (400).
    """
    try:
        text = content.decode()
        found = json.loads(text, object_pairs_hook=_unique, parse_float=_finite, parse_constant=_no_number)
        if _SURROGATE.search(text):
            json.dumps(found, ensure_ascii=False).encode()
    except UnicodeDecodeError as error:
        raise _refused(f"it is not UTF-8 at byte {error.start}") from error
    except UnicodeEncodeError as error:
        raise _refused("half of a surrogate pair stands alone") from error
    except json.JSONDecodeError as error:
        raise _refused(f"{error.msg} at line {error.lineno} column {error.colno}") from error
    except RecursionError as error:
        raise _refused("it is nested too deeply") from error
    except ValueError as error:  # ours, and an integer of thousands of digits
        raise _refused(str(error)) from error
    return found


def read_model(model: type[_Model], content: bytes) -> _Model:
    """Parse a JSON document and check it against a model.

    Raises:
        ProblemError: It can't be parsed, or does not fit the model (400).
    """
    try:
        return model.model_validate(read_json(content))
    except ValidationError as error:
        # Never with the input: it may be large, or no text that could be sent back.
        found = error.errors(include_url=False, include_input=False, include_context=False)
        wrong = "; ".join(f"{'.'.join(map(str, each['loc'])) or 'it'}: {each['msg']}" for each in found[:5])
        raise _refused(ascii(wrong)[1:-1]) from error


async def document(request: Request, model: type[_Model]) -> _Model:
    """Read the body of a request as a model; raises as `read_model` does."""
    return read_model(model, await request.body())


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in the same object")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def _refused(why: str) -> ProblemError:
    return ProblemError("invalid-request", f"The JSON document can't be used: {why}.")
