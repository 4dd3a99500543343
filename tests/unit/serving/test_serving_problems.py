import json
import re
from pathlib import Path

import pytest

from cifarops.serving.problems import KINDS, ProblemError, problems

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "http.md").read_text()


def test_every_kind_of_problem_stands_in_the_reference_with_its_status() -> None:
    told: dict[str, str] = {}
    for line in PAGE.splitlines():
        if line.startswith("| `/problems/"):
            kinds, statuses = (cell.split(",") for cell in line.split("|")[1:3])
            names = [kind.strip().strip("`").removeprefix("/problems/") for kind in kinds]
            told |= dict(zip(names, map(str.strip, statuses), strict=True))
    never_sent = {"client-gone"}
    assert told == {name: str(kind.status) for name, kind in KINDS.items() if name not in never_sent}


@pytest.mark.parametrize(("path", "has_error"), [("/predict", False), ("/v2/models/x", True)])
def test_the_message_stands_where_clients_of_the_protocol_look(path: str, has_error: bool) -> None:
    document = json.loads(bytes(ProblemError("unknown-model", "There is none.").response(path).body))
    assert document["detail"] == "There is none."
    assert document.get("error") == ("There is none." if has_error else None)


def test_problems_of_one_status_are_described_together() -> None:
    described = problems("unusable-image", "not-ready", "unknown-label")
    assert list(described) == [422, 503]
    enum = re.findall(r"/problems/[a-z-]+", str(described[422]))
    assert enum == ["/problems/unusable-image", "/problems/unknown-label"]
    assert "Retry-After" in described[503]["headers"]
