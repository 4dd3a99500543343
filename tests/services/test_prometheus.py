"""Rules, alerts and the dashboard: that they work, and speak of what the servers really count."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml

from cifarops.deployment.process import ServerProcess
from cifarops.serving.metrics import Metrics
from tests.support.bundles import colour_image
from tests.support.serving import Connection, colour_workspace

pytestmark = pytest.mark.services

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus"
DASHBOARD = ROOT / "deploy" / "grafana" / "serving.json"
RUNBOOK = ROOT / "docs" / "how-to" / "alerts.md"
_METRIC = re.compile(r"\b(?:cifarops|process)_\w+")
_RECORDED = re.compile(r"\b\w+:cifarops_\w+:\w+")


def promtool(*arguments: object) -> None:
    done = subprocess.run(
        ["promtool", *map(str, arguments)], capture_output=True, text=True, check=False, cwd=RULES
    )
    assert done.returncode == 0, done.stdout + done.stderr


def rules() -> list[dict[str, Any]]:
    files = [yaml.safe_load((RULES / name).read_text()) for name in ("recording.yml", "alerts.yml")]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


def dashboard_queries() -> list[str]:
    """Every query of the dashboard, with Grafana's variables replaced as Grafana does."""
    document = json.loads(DASHBOARD.read_text())
    found = [target["expr"] for panel in document["panels"] for target in panel["targets"]]
    found += [annotation["expr"] for annotation in document["annotations"]["list"]]
    return [each.replace("$__rate_interval", "1m").replace("$environment", "production") for each in found]


def exposed() -> set[str]:
    """Names of all series that a server gives away, whether it has counted anything yet or not."""
    metrics = Metrics("production", "0")
    metrics.answered("/predict", 200, "1", 0.01)
    metrics.computed(1, 1, 0.01)
    metrics.attempted(1, 0.01, failed=True)
    metrics.refused("queue")
    metrics.shadowed.labels("dropped").inc()
    text = metrics.exposition().decode()
    return {re.split(r"[{ ]", line)[0] for line in text.splitlines() if not line.startswith("#")}


def test_the_configuration_and_the_rules_are_valid() -> None:
    promtool("check", "config", "prometheus.yml")
    promtool("check", "rules", "recording.yml", "alerts.yml")


def test_alerts_fire_when_they_should_and_else_do_not() -> None:
    promtool("test", "rules", "rules_test.yml")


def test_every_alert_is_tested_and_has_a_line_in_the_runbook() -> None:
    alerts = [rule for rule in rules() if "alert" in rule]
    tested = (RULES / "rules_test.yml").read_text()
    headings = {
        re.sub(r"[^\w-]", "", line.lstrip("# ").lower())
        for line in RUNBOOK.read_text().splitlines()
        if line.startswith("#")
    }
    for alert in alerts:
        assert alert["alert"] in tested
        page, _, anchor = alert["annotations"]["runbook"].partition("#")
        assert ROOT / page == RUNBOOK
        assert anchor in headings, anchor


def test_queries_are_valid_and_speak_of_what_is_counted(tmp_path: Path) -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    known = exposed()
    queries = [*dashboard_queries(), *(rule["expr"] for rule in rules())]
    for query in queries:
        plain = _RECORDED.sub("", query)
        assert set(_METRIC.findall(plain)) <= known, query
        assert set(_RECORDED.findall(query)) <= recorded, query
    group = [{"record": f"query:{k}", "expr": query} for k, query in enumerate(dashboard_queries())]
    file = tmp_path / "queries.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": group}]}))
    promtool("check", "rules", file)


def test_the_dashboard_shows_every_series_that_is_counted() -> None:
    text = " ".join([*dashboard_queries(), *(rule["expr"] for rule in rules())])
    bases = {re.sub(r"_(total|bucket|count|sum|created)$", "", name) for name in exposed()}
    unseen = {name for name in bases if name.startswith("cifarops_") and name not in text}
    assert not unseen


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[tuple[ServerProcess, str]]:
    """A server, and a Prometheus with the real rules that scrapes it every second."""
    workspace = tmp_path / "workspace"
    colour_workspace(workspace)
    with ServerProcess("production", workspace=workspace) as server:
        configuration = yaml.safe_load((RULES / "prometheus.yml").read_text())
        configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        configuration["rule_files"] = [str(RULES / name) for name in configuration["rule_files"]]
        configuration["scrape_configs"][0]["static_configs"] = [
            {"targets": [server.url.removeprefix("http://")], "labels": {"environment": "production"}}
        ]
        file = tmp_path / "prometheus.yml"
        file.write_text(json.dumps(configuration))
        log = tmp_path / "prometheus.log"
        options = [f"--config.file={file}", f"--storage.tsdb.path={tmp_path / 'data'}"]
        options.append("--web.listen-address=127.0.0.1:0")
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["prometheus", *options],
                stderr=output,
            )
        try:
            deadline, address = time.monotonic() + 30, None
            while address is None:
                assert time.monotonic() < deadline, log.read_text()
                address = re.search(r'msg="Listening on" address=(\S+)', log.read_text())
                time.sleep(0.05)
            yield server, f"http://{address.group(1)}"
        finally:
            process.terminate()
            process.wait(20)


def test_a_real_prometheus_has_an_answer_to_the_queries(prometheus: tuple[ServerProcess, str]) -> None:
    server, url = prometheus

    def found(query: str) -> list[Any]:
        answer = urllib3.request("GET", f"{url}/api/v1/query", fields={"query": query}).json()
        assert answer["status"] == "success", (query, answer)
        return list(answer["data"]["result"])

    connection, deadline = Connection(server.url), time.monotonic() + 30
    always = [
        query
        for query in dashboard_queries()
        # What did not happen here: a failure, a canary or shadow, a change of version, a refusal.
        if not re.search(r"failures|beside|shadowed|changes\(|refused", query)
    ]
    while missing := [query for query in always if not found(query)]:
        assert time.monotonic() < deadline, missing
        for _ in range(20):
            assert connection.predict(colour_image("red"))[0] == 200
        time.sleep(0.5)
    connection.close()
    assert found('sum(cifarops_requests_total{route="/predict",model_version="7"})')[0]["value"][1] != "0"
    assert not found('ALERTS{alertstate="firing"}')
