import json

import pytest
from pydantic import BaseModel, Field

from cifarops.serving.documents import read_json, read_model
from cifarops.serving.problems import ProblemError


class Example(BaseModel):
    name: str
    size: int = Field(1, ge=0)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "Expecting value at line 1 column 1"),
        (b"{", "line 1 column 2"),
        (b"{} {}", "Extra data"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b'{"x": {"a": 1, "b": 2, "\\u0061": 3}}', "twice"),
        (b"[" * 10_000, "nested too deeply"),
        (b'{"a":' * 10_000, "nested too deeply"),
        (b"[NaN]", "NaN is no number"),
        (b"[-Infinity]", "-Infinity is no number"),
        (b"[1e999]", "too large"),
        (b"9" * 5000, "digits"),
        (b"\xff\xfe[\x00]\x00", "not UTF-8 at byte 0"),
        (b"\xef\xbb\xbf{}", "BOM"),
    ],
)
def test_what_has_no_one_meaning_is_refused(content: bytes, why: str) -> None:
    with pytest.raises(ProblemError, match=why) as caught:
        read_json(content)
    assert caught.value.kind == "invalid-request"


def test_everything_else_is_read_as_the_standard_library_does() -> None:
    document = {"a": [1, 2.5, None, True, "é\u2028"], "b": {"a": {}}}
    assert read_json(json.dumps(document).encode()) == document
    assert read_json(json.dumps(document, ensure_ascii=False).encode()) == document


def test_a_document_that_does_not_fit_is_named_by_its_place_and_never_sent_back() -> None:
    assert read_model(Example, b'{"name": "x"}') == Example(name="x")
    with pytest.raises(ProblemError, match="size: Input should be greater") as caught:
        read_model(Example, b'{"size": -1, "name": "' + b"x" * 10_000 + b'"}')
    assert len(str(caught.value.detail)) < 300
    with pytest.raises(ProblemError, match="it: Input should be a valid dict"):
        read_model(Example, b"[]")


def test_half_a_character_is_refused() -> None:
    for content in (rb'{"name": "\ud800"}', rb'{"\uDC00": 1}', rb'["\ude00\ud83d"]'):
        with pytest.raises(ProblemError, match="surrogate"):
            read_json(content)
    assert read_json(rb'["\ud83d\ude00", "\\ud800"]') == ["\U0001f600", r"\ud800"]
