"""docs/reference/benchmarks.md: the kept results, each number read from benchmarks/results/."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def benchmarks_page(root: Path) -> str:
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
        ("monitoring", _monitoring),
        ("fuzz", _fuzz),
        ("scoring", _scoring),
        ("why", _why),
        ("swaps", _swaps),
        ("kills", _kills),
        ("canary", _canary),
        ("soak", _soak),
        ("demo", _demo),
        ("flow", _flow),
        ("flow_demo", _flow_demo),
    ):
        path = root / "benchmarks" / "results" / f"{name}.json"
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


def _why(result: dict[str, Any]) -> Rows:
    held = f"ledger of {result['predictions']:,} predictions"
    yield from _timed(
        result,
        {
            "why_prediction": f"`cifarops why PREDICTION_ID`, {held}",
            "why_version": f"`cifarops why VERSION`, {held}",
            "check_history": f"the hash chain of {result['decisions']:,} decisions",
        },
    )


def _timed(result: dict[str, Any], names: dict[str, str]) -> Rows:
    """Yield a row for each timed thing, by the words that name it."""
    for key, words in names.items():
        each = result["results"][key]
        target = each.get("target_seconds")
        yield words, f"{each['median_seconds']:.2f} s", f"{target} s" if target else ""


def _commands(result: dict[str, Any]) -> Rows:
    names = {
        "help": "`cifarops --help`",
        "doctor": "`cifarops doctor`",
        "deploy_status": "`cifarops deploy status`",
        "make_test": "`make test`",
    }
    return _timed(result, names)


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
    yield "one answer, one thread", f"{result['milliseconds_an_image']:.2f} ms", ""


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


def _scoring(result: dict[str, Any]) -> Rows:
    share, speedup = result["share_of_raw"], result["int8_speedup"]
    for kind in ("folder", "tar", "parquet"):
        rate = result["scoring"][kind]["images_per_second"]
        yield (
            f"a {kind} to CSV: {rate:,.0f} images/s, of what decoding and the model alone do",
            f"{share[kind]:.0%}",
            f"{share['target']:.0%} or more",
        )
    where = "" if speedup["instructions_for_int8"] else ", on a processor without instructions for it"
    yield f"int8 beside float32, one image{where}", f"{speedup['measured']:.1f} times", f"{speedup['target']:g} or more"


def _serving(result: dict[str, Any]) -> Rows:
    summary = result["summary"]
    targets = summary["targets"]
    words = {
        "cpu_of_raw": (
            "processor time of a request, of what decoding and the model alone take",
            "{:.2f} times",
            "at most {:g}",
        ),
        "times_plain": (
            "requests/s, of those of plain FastAPI + ONNX Runtime",
            "{:.2f} times",
            "{:g} or more",
        ),
        "times_best_peer": (
            "requests/s, of the best of BentoML, LitServe and MLServer",
            "{:.2f} times",
            "{:g} or more",
        ),
        "p99_ms_half_load": ("p99 at half of its most requests/s", "{:.1f} ms", "at most {:g} ms"),
        "ready_seconds": ("from start to the first answer", "{:.2f} s", "at most {:g} s"),
        "resident_megabytes": ("memory, one model", "{:.0f} MB", "at most {:g} MB"),
    }
    for key, (what, measured, target) in words.items():
        each = targets[key]
        yield what, measured.format(each["measured"]), target.format(each["target"])
    for name, rate in summary["requests_per_second"].items():
        latency = f"{summary['p50_ms_half_load'][name]:.1f} / {summary['p99_ms_half_load'][name]:.1f} ms"
        cpu = f"{summary['cpu_ms_per_request'][name]:.2f} ms"
        memory = f"{result['resident_bytes'][name] / 1e6:.0f} MB"
        ready = f"{result['ready'][name]['median_seconds']:.1f} s"
        yield (
            f"{name}: requests/s; p50 / p99 at half of them; processor time; memory; ready",
            f"{rate:.0f}; {latency}; {cpu}; {memory}; {ready}",
            "",
        )


def _fuzz(result: dict[str, Any]) -> Rows:
    for name, each in result["results"].items():
        what = f"{name}: inputs tried, and those taken wrongly"
        yield what, f"{each['inputs']:,}, {each['findings']}", f"{result['target_findings']} wrong"


def _monitoring(result: dict[str, Any]) -> Rows:
    targets, clean = result["targets"], result["clean"]
    alarms = clean["alarms"]
    yield (
        f"clean streams of {clean['images']:,} images with any alarm, of {clean['streams']:,} (upper 95 % bound)",
        f"{alarms['value']:.1%} ({alarms['high']:.1%})",
        f"{targets['clean_alarms']:.0%} ({targets['clean_alarms_upper']:.0%})",
    )
    for key, words, limit, target in (
        ("noises", "severity 3, noises and glass blur", 200, "noises_within_200"),
        (
            "others",
            "severity 3, other blurs, snow, frost, contrast, pixelate, JPEG",
            1000,
            "others_within_1000",
        ),
        ("gentle", "severity 3, brightness, fog, elastic", 5000, "gentle_within_5000"),
        ("tenth", "one image in ten at severity 3 to 5", 5000, "tenth_within_5000"),
        ("halved", "one class half as often", 2000, "halved_within_2000"),
    ):
        each = result[key]
        found = f"{each[f'within_{limit}']:.0%}, median {each['median_delay'] or float('nan'):,.0f} images"
        yield f"{words}: found within {limit:,} images", found, f"{targets[target]:.0%}"
    plain = result["windowed_ks"]
    for key, words in (("tenth", "one image in ten"), ("halved", "one class half as often")):
        limit = 5000 if key == "tenth" else 2000
        yield f"the same by plain windowed KS, {words}", f"{plain[key][f'within_{limit}']:.0%}", ""
    named = result["named"]
    yield "kind of drift named rightly, at the alarm", f"{named['kind_at_alarm']:.0%}", ""
    yield "kind of drift named rightly, 500 images later", f"{named['kind_later']:.0%}", f"{targets['rightly_named']:.0%}"
    for name, error in result["estimates"].items():
        target = f"{100 * targets['estimate_error']:.1f} points" if name == "cott" else ""
        yield (
            f"accuracy estimated without labels ({name.upper()}), mean error (worst)",
            f"{100 * error['mean']:.1f} points ({100 * error['worst']:.1f})",
            target,
        )
    drop = result["drop_of_3_points"]
    yield f"a drop of 3 points confirmed within {drop['labels']:,} labels", f"{drop['confirmed']:.0%}", ""
    million = result["million"]
    yield f"{million['predictions']:,} predictions checked", f"{million['seconds']:.1f} s", f"{targets['million_seconds']} s"


def _swaps(result: dict[str, Any]) -> Rows:
    yield "swaps of model and code, good and bad", f"{result['swaps']:,}", ""
    yield "answers checked meanwhile", f"{result['answered']:,}", ""
    yield "failed requests", str(result["failed"]), "0"
    yield "answers that were wrong, or of a version out of turn", str(result["wrong"]), "0"
    growth, target = result["memory"]["growth_bytes"] / 1e6, result["target_growth_bytes"] / 1e6
    yield "growth of memory in one process", f"{growth:.1f} MB", f"{target:.0f} MB"


def _kills(result: dict[str, Any]) -> Rows:
    yield "promotions and rollbacks killed", f"{result['kills']:,}", ""
    yield "afterwards the old version ran, the new one", f"{result['before']:,}, {result['after']:,}", ""
    yield "ledger, registry and server did not agree", str(len(result["problems"])), "0"


def _canary(result: dict[str, Any]) -> Rows:
    for name, world in result["worlds"].items():
        found = f"rolled back {world['rolled_back']:.1%}, promoted {world['promoted']:.1%}"
        if after := world["median_canary_requests_to_rollback"]:
            found += f", rolled back after {after:,.0f} of its requests"
        if after := world["median_canary_requests_to_promotion"]:
            found += f", promoted after {after:,.0f}"
        target = f"rolled back {result['target_false_rollbacks']:.0%} at most" if not world["harmful"] else ""
        yield f"a canary that is: {name}", found, target
        if name.startswith("equal"):
            peers = f"{world['fisher_at_every_look']:.1%}; once, at the end: {world['fisher_once']:.1%}"
            yield f"{name}: Fisher's test of errors, looked at as often", peers, ""


def _soak(result: dict[str, Any]) -> Rows:
    yield "swaps, servers killed, clients that left", (
        f"{result['swaps']:,}, {result['killed']:,}, {result['clients_that_left']:,} in {result['minutes']:g} minutes"
    ), ""
    yield "answers checked", f"{result['answered']:,}", ""
    yield "failed outside of kills", str(result["failed_outside_of_kills"]), "0"
    yield "answers that were wrong, or of a version out of turn", str(result["wrong"]), "0"
    yield "largest resident memory", f"{result['largest_resident_bytes'] / 1e6:.0f} MB", ""


def _demo(result: dict[str, Any]) -> Rows:
    failed = sum(sample["requests"]["failed"] for sample in result["samples"])
    sent = sum(sample["requests"]["sent"] for sample in result["samples"])
    yield "the whole story (synthetic images)", f"{result['median_seconds']:.0f} s", "120 s"
    yield "peak memory of all its processes", f"{result['median_peak_bytes'] / 1e9:.2f} GB", "3 GB"
    yield f"failed requests, of {sent:,} in {len(result['samples'])} runs", f"{failed}", "0"


def _flow_demo(result: dict[str, Any]) -> Rows:
    each, requests = result["results"]["rehearsal"], result["requests"]
    words = "`make flow-demo`, packages installed"
    yield words, f"{each['median_seconds']:.0f} s", f"{each['target_seconds']} s"
    yield f"failed requests, of {requests['sent']:,} while production was replaced", f"{requests['failed']}", "0"


def _flow(result: dict[str, Any]) -> Rows:
    names = {
        "commit": "a commit of one file, with every hook",
        "commit_without_hooks": "the same without hooks",
        "push": "a push of it, with every hook",
    }
    return _timed(result, names)
