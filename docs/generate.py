"""Write the pages that are made from code and results, so that they can't disagree with them.

python docs/generate.py            write docs/reference/params.md and docs/reference/benchmarks.md
python docs/generate.py --check    exit with 1 where a page on disk differs
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic.fields import FieldInfo

from cifarops.config import Params
from cifarops.strict import Section

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"
RESULTS = ROOT / "benchmarks" / "results"


def main() -> None:
    """Write the pages, or compare them with what lies there."""
    pages = {"params.md": params_page(), "benchmarks.md": benchmarks_page()}
    if "--check" not in sys.argv:
        for name, text in pages.items():
            (REFERENCE / name).write_text(text)
        return
    stale = [name for name, text in pages.items() if (REFERENCE / name).read_text() != text]
    if stale:
        sys.exit(f"docs/reference/{', '.join(stale)} is out of date; do: make docs")


# --- parameters


def params_page() -> str:
    """Return the reference of params.yaml: every key, its range, its value in `base`."""
    document = yaml.safe_load((ROOT / "params.yaml").read_text())
    lines = [
        "# Parameters",
        "",
        "`params.yaml` holds what an experiment decides. `base` gives every value once; a profile overrides what differs, and",
        "`--profile` picks one. An unknown key is refused by name. This page is made by `make docs`.",
        "",
        "Profiles: " + ", ".join(f"`{name}`" for name in document["profiles"]) + ".",
    ]
    for name, field in Params.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            lines += _section_lines(name, section, document["base"].get(name, {}))
    return "\n".join(lines) + "\n"


def _section_lines(path: str, section: type[Section], base: dict[str, Any]) -> Iterator[str]:
    summary, described = _docstring(section)
    yield from (
        "",
        f"## `{path}`",
        "",
        summary,
        "",
        "| key | value | in `base` | meaning |",
        "| --- | --- | --- | --- |",
    )
    nested: list[tuple[str, type[Section]]] = []
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Section):
            nested.append((name, inner))
            continue
        default = base.get(name, None if field.is_required() else field.default)
        yield f"| `{name}` | {_range(field)} | `{json.dumps(default)}` | {described.get(name, '')} |"
    for name, inner in nested:
        yield from _section_lines(f"{path}.{name}", inner, base.get(name, {}))


def _docstring(section: type[Section]) -> tuple[str, dict[str, str]]:
    text = section.__doc__ or ""
    summary, _, attributes = text.partition("Attributes:")
    found = re.findall(r"^ {8}(\w+): ((?:.|\n {12})+)", attributes, flags=re.MULTILINE)
    return " ".join(summary.split()), {name: " ".join(meaning.split()) for name, meaning in found}


def _range(field: FieldInfo) -> str:
    bounds = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    limits = [
        f"{sign} {getattr(rule, name)}"
        for rule in field.metadata
        for name, sign in bounds.items()
        if getattr(rule, name, None) is not None
    ]
    kind = getattr(field.annotation, "__name__", str(field.annotation))
    if "Literal" in str(field.annotation):
        kind = " or ".join(re.findall(r"'(\w+)'", str(field.annotation)))
    elif "tuple" in str(field.annotation):
        kind = "three int"
    return " ".join([kind, ", ".join(limits)]).strip()


# --- benchmarks


def benchmarks_page() -> str:
    """Return the table of kept results; every number is read from benchmarks/results/."""
    lines = [
        "# Benchmarks",
        "",
        "Every number here comes from a command that anyone can run and whose result is kept in `benchmarks/results/`, with the",
        "machine, the code and each sample. This page is made by `make docs`. These machines have two cores and neighbours:",
        "medians and ratios travel, single seconds do not.",
    ]
    for name, rows in (
        ("commands", _commands),
        ("ingest", _ingest),
        ("training", _training),
        ("contention", _contention),
        ("gate", _gate),
        ("serving", _serving),
        ("demo", _demo),
    ):
        path = RESULTS / f"{name}.json"
        if not path.exists():
            continue
        result = json.loads(path.read_text())
        machine = result["machine"]
        lines += [
            "",
            f"## {name}",
            "",
            (
                f"`{result['command']}`, {result['when'][:10]}, {machine['processor']}, {machine['cores']} cores,"
                f" {machine['memory_bytes'] / 2**30:.0f} GiB, load before {machine['load_before']:.1f}."
            ),
            "",
            "| what | measured | target |",
            "| --- | --- | --- |",
            *(f"| {what} | {measured} | {target} |" for what, measured, target in rows(result)),
        ]
    return "\n".join(lines) + "\n"


Rows = Iterator[tuple[str, str, str]]


def _commands(result: dict[str, Any]) -> Rows:
    names = {
        "help": "`cifarops --help`",
        "doctor": "`cifarops doctor`",
        "deploy_status": "`cifarops deploy status`",
        "make_test": "`make test`",
    }
    for key, words in names.items():
        each = result["results"][key]
        target = each.get("target_seconds")
        yield words, f"{each['median_seconds']:.2f} s", f"{target} s" if target else ""


def _ingest(result: dict[str, Any]) -> Rows:
    for name, each in result["results"].items():
        measured = f"{each['median_seconds']:.2f} s ({each['median_cpu_seconds']:.2f} s of processor)"
        target = result["targets_seconds"].get(name)
        yield name.replace("_", " "), measured, f"{target} s" if target else ""


def _training(result: dict[str, Any]) -> Rows:
    accuracy, targets = result["test_accuracy"], result["targets"]
    measured = f"{accuracy['value']:.1%} ({accuracy['low']:.1%} to {accuracy['high']:.1%})"
    where = (
        f"test accuracy, profile `{result['profile']}`, {result['data']}, {result['test_images']:,} images"
    )
    yield where, measured, f"{targets['test_accuracy']:.0%}"
    yield "training", f"{result['training_seconds']:.0f} s", f"{targets['training_seconds']} s"
    yield "training speed", f"{result['images_per_second']:,.0f} images/s", ""
    yield "peak memory", f"{result['training_command']['peak_bytes_so_far'] / 1e9:.2f} GB", ""
    latency = targets["milliseconds_an_image"]
    yield "one answer, one thread", f"{result['milliseconds_an_image']:.2f} ms", f"{latency:.0f} ms"


def _gate(result: dict[str, Any]) -> Rows:
    worst = max(row["gate"]["promote"] for row in result["results"] if row["difference"] == 0)
    worse = max(row["gate"]["promote"] for row in result["results"] if row["difference"] == -0.01)
    higher = max(row["promoted if higher"] for row in result["results"] if row["difference"] == 0)
    yield "promoted though no better, worst case", f"{worst:.1%}", "5 %"
    yield "the same when the higher accuracy wins", f"{higher:.1%}", ""
    yield "promoted though one point worse, worst case", f"{worse:.2%}", "1 %"
    for row in result["results"]:
        if row["difference"] == 0.01 and row["images"] == 10_000 and row["suites"] == 1:
            yield "promoted when one point better, 10,000 images", f"{row['gate']['promote']:.1%}", "80 %"


def _contention(result: dict[str, Any]) -> Rows:
    for profile, ways in result["results"].items():
        for where, seconds in ways.items():
            batch, operators = seconds["batch"][0], seconds["operators"][0]
            words = f"a step of `{profile}`, {where.replace('_', ' ')}"
            yield words, f"{batch:.3f} s; inside operators {operators:.3f} s ({operators / batch:.1f} ×)", ""


def _serving(result: dict[str, Any]) -> Rows:
    startup = result["startup"]
    yield "from start to ready", f"{startup['median_seconds']:.2f} s", f"{startup['target_seconds']} s"
    yield "resident memory, one model", f"{result['resident_bytes']['cifarops'] / 1e6:.0f} MB", ""
    for name, each in result["medians"].items():
        mine, plain = each["cifarops"], each["plain"]
        where = name.replace("_", " ")
        yield (
            f"requests/s, {where} (plain FastAPI + ONNX Runtime)",
            f"{mine['requests_per_second']:.0f} ({plain['requests_per_second']:.0f}), ratio {each['ratio']:.2f}",
            "",
        )
        yield f"p50 / p99, {where}", f"{mine['p50_ms']:.1f} / {mine['p99_ms']:.1f} ms", ""


def _demo(result: dict[str, Any]) -> Rows:
    failed = sum(sample["requests"]["failed"] for sample in result["samples"])
    sent = sum(sample["requests"]["sent"] for sample in result["samples"])
    yield "the whole story (synthetic images)", f"{result['median_seconds']:.0f} s", "120 s"
    yield "peak memory of all its processes", f"{result['median_peak_bytes'] / 1e9:.2f} GB", "3 GB"
    yield f"failed requests, of {sent:,} in {len(result['samples'])} runs", f"{failed}", "0"


if __name__ == "__main__":
    main()
