import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from cifarops.bundle.store import Bundle, write_bundle
from cifarops.errors import IntegrityError, UsageError
from cifarops.packaging.sbom import write_sbom
from cifarops.registry.audit import audit
from tests.support.bundles import colour_bundle


def with_sbom(root: Path, content: bytes) -> Bundle:
    bundle = colour_bundle(root)
    files = {name: (bundle.path / name).read_bytes() for name in bundle.manifest.files}
    return write_bundle(
        root,
        {**files, "sbom.cdx.json": content},
        lambda entries: bundle.manifest.model_copy(update={"files": entries}),
    )


def library(name: str, version: str, *licences: dict[str, Any]) -> dict[str, Any]:
    found = {"type": "library", "name": name, "version": version}
    return {**found, "licenses": list(licences)} if licences else found


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    components = [
        {"type": "machine-learning-model", "name": "model.onnx"},
        library("Some_Package", "1.5+cpu", {"expression": "MIT OR Apache-2.0"}),
        library("other", "2.0", {"license": {"name": "BSD License"}}, {"license": {"id": "MIT"}}),
        library("silent", "3"),
    ]
    return with_sbom(tmp_path / "bundles", json.dumps({"components": components}).encode())


def advisory(number: str, name: str, *events: dict[str, str], **more: Any) -> dict[str, Any]:
    package = {"ecosystem": more.pop("ecosystem", "PyPI"), "name": name}
    affected = {"package": package, "ranges": [{"type": "ECOSYSTEM", "events": list(events)}]}
    affected["versions"] = more.pop("versions", [])
    return {"id": number, "modified": f"2026-01-0{number}T00:00:00Z", "affected": [affected], **more}


def written(folder: Path, *advisories: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    for each in advisories:
        (folder / f"{each['id']}.json").write_text(json.dumps(each))
    return folder


def test_licences_are_what_the_packages_say_and_what_can_not_be_looked_up_is_unknown(bundle: Bundle) -> None:
    found = audit(bundle)
    assert [(each.name, each.licence) for each in found.packages] == [
        ("Some_Package", "MIT OR Apache-2.0"),
        ("other", "BSD License, MIT"),
        ("silent", "unknown"),
    ]
    assert [each.vulnerabilities for each in found.packages] == [None] * 3
    assert (found.advisories, found.vulnerable) == (None, ())


ZERO = {"introduced": "0"}
CASES: dict[str, tuple[bool, dict[str, Any]]] = {
    "fixed later": (True, advisory("1", "some-package", ZERO, {"fixed": "1.6"})),
    "fixed in it": (False, advisory("1", "some-package", ZERO, {"fixed": "1.5"})),
    "begun later": (False, advisory("1", "some-package", {"introduced": "1.5.1"})),
    "begun in it": (True, advisory("1", "some-package", {"introduced": "1.5"})),
    "last affected": (True, advisory("1", "some-package", ZERO, {"last_affected": "1.5"})),
    "last affected before": (False, advisory("1", "some-package", ZERO, {"last_affected": "1.4.9"})),
    "again": (
        True,
        advisory("1", "some-package", {"introduced": "1.5rc1"}, {"fixed": "1.0"}, ZERO, {"fixed": "1.10"}),
    ),
    "listed": (True, advisory("1", "SOME.package", versions=["1.4", "1.5"])),
    "listed, not this": (False, advisory("1", "some-package", versions=["1.4", "1.50"])),
    "withdrawn": (False, advisory("1", "some-package", ZERO, withdrawn="2026-01-02T00:00:00Z")),
    "of another world": (False, advisory("1", "some-package", ZERO, ecosystem="npm")),
    "of another package": (False, advisory("1", "some-package-2", ZERO)),
}


@pytest.mark.parametrize("case", CASES)
def test_an_advisory_counts_when_it_is_about_the_installed_version(
    bundle: Bundle, tmp_path: Path, case: str
) -> None:
    affected, about = CASES[case]
    filler = advisory("2", "nobody-has-this", ZERO)
    found = audit(bundle, written(tmp_path / "osv", about, filler))
    assert [each.name for each in found.vulnerable] == (["Some_Package"] if affected else [])
    assert {each.vulnerabilities for each in found.packages} <= {(), ("1",)}
    assert found.newest == "2026-01-02T00:00:00Z"


def test_a_zip_of_advisories_is_read_as_its_folder(bundle: Bundle, tmp_path: Path) -> None:
    folder = written(tmp_path / "osv", advisory("1", "other", ZERO), advisory("2", "silent", ZERO))
    with zipfile.ZipFile(tmp_path / "osv.zip", "w") as packed:
        for path in folder.iterdir():
            packed.write(path, path.name)
    assert audit(bundle, tmp_path / "osv.zip") == audit(bundle, folder)
    assert audit(bundle, folder).advisories == 2


def test_no_advisories_are_not_no_vulnerabilities(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no zip")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "a.json").write_text("{")
    elsewhere = written(tmp_path / "npm", advisory("1", "x", ZERO, ecosystem="npm"))
    for place in (tmp_path / "missing", tmp_path / "text", tmp_path / "damaged", elsewhere):
        with pytest.raises(UsageError):
            audit(bundle, place)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"components": [{"type": "library"}]}', b"[]"])
def test_a_bill_that_can_not_be_read_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(IntegrityError, match="bill of materials"):
        audit(with_sbom(tmp_path / "bundles", content))


def test_a_real_bill_is_read(tmp_path: Path) -> None:
    found = audit(with_sbom(tmp_path / "bundles", write_sbom({"model.onnx": b"x"})))
    assert len(found.packages) > 100
    assert sum(each.licence == "unknown" for each in found.packages) < 5
