import pytest
from typer.testing import CliRunner

from cifarops.cli.main import build


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a.png", "--version", "3"], "A server answers with its own version."),
        (["a.png", "--bundle", "abc"], "A server answers with its own version."),
        (["a", "b", "--out", "rows.csv"], "one folder or archive is scored"),
        (["a", "--out", "rows.csv", "--url", "http://127.0.0.1:1"], "without a server"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(build(), ["predict", *arguments])
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
