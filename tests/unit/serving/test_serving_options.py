from pathlib import Path

import pytest

from cifarops.errors import UsageError
from cifarops.serving.options import Limits, Options, read_options


def test_without_a_file_everything_is_as_by_default(tmp_path: Path) -> None:
    assert read_options(tmp_path / "serving.yaml") == Options()
    (tmp_path / "serving.yaml").write_text("# nothing\n")
    assert read_options(tmp_path / "serving.yaml") == Options()


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "serving.yaml"
    path.write_text("tls: {certificate: a.pem, key: /keys/b.pem}\nhosts: [here]\nlimits: {rate: 2.5}\n")
    options = read_options(path)
    assert options.tls is not None
    assert (options.tls.certificate, options.tls.key) == (tmp_path / "a.pem", Path("/keys/b.pem"))
    assert options.hosts == ("here",)
    assert options.limits == Limits(rate=2.5)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("host: [a]", "did you mean 'hosts'"),
        ("limits: {deadline: 1}", "did you mean 'deadline_s'"),
        ("limits: {deadline_s: 0}", "limits.deadline_s = 0"),
        ("limits: {connections: many}", "limits.connections = 'many'"),
        ("tls: {certificate: a.pem}", "tls.key"),
        ("a: [", "can't be read"),
        ("\xff\x00", "can't be read"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: str, what: str) -> None:
    path = tmp_path / "serving.yaml"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(UsageError) as caught:
        read_options(path)
    assert what in caught.value.message + caught.value.fix
