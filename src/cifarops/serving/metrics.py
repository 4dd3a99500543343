"""What a server counts, in a Prometheus registry of its own.

Nothing that a client chooses becomes a label: routes are templates, reasons and statuses come from short lists, and only the
newest versions keep their series. So a flood of odd requests adds no series.
"""

import threading
from collections import OrderedDict
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from cifarops.ledger.records import EnvironmentName

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
VERSION_KEY = "cifarops.model_version"
Refusal = Literal[
    "body",  # larger than allowed, or more at once than the memory set aside for bodies
    "connections",  # too many are open, of this client or of all
    "deadline",
    "gone",  # the client left before its turn
    "head",  # too long or not HTTP
    "host",
    "origin",
    "queue",
    "rate",
    "role",
    "share",  # this client has more waiting than others
    "slow",
    "token",
]
_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_VERSIONS = 8


class Metrics:
    """Counters of one server.

    Args:
        environment: Which environment it serves.
        code_version: Version of the program.
        code_release: SHA-256 of its code release, or empty.
    """

    def __init__(self, environment: EnvironmentName, code_version: str, code_release: str = "") -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = self._counter("requests", "Requests answered.", "route", "status", "model_version")
        self._latency = self._histogram(
            "request_seconds",
            "Time from the head of a request to the end of its answer.",
            "route",
            "model_version",
        )
        self._model_seconds = self._histogram(
            "model_seconds", "Time that the model takes for one batch.", "model_version"
        )
        self._version_seconds = self._histogram(
            "version_seconds",
            "Time a version took for a request, from the image file to the probabilities.",
            "model_version",
        )
        self._version_failures = self._counter(
            "version_failures",
            "Requests a version failed on; those of a canary were answered by the stable one.",
            "model_version",
        )
        self._batch_size = self._histogram(
            "batch_size", "Images that the model is given at once.", buckets=_SIZES
        )
        self.queue_seconds = self._histogram("queue_seconds", "Time that a request waits for its turn.")
        self.queue_length = self._gauge("queue_length", "Requests that wait for their turn.")
        self.overloaded = self._gauge(
            "overloaded", "Whether only few may wait, because more ask than can be answered."
        )
        self.connections = self._gauge("connections", "Connections that are open.")
        self._refused = self._counter("refused", "Requests and connections refused, by reason.", "reason")
        self.load_failures = self._counter("load_failures", "Versions that could not be loaded.")
        self.lost_predictions = self._counter(
            "lost_predictions", "Predictions answered but not written to the ledger."
        )
        self.lost_log_lines = self._counter(
            "lost_log_lines", "Log lines left out because there were too many."
        )
        self._swaps = self._counter("swaps", "Versions put to work.")
        self._rollbacks = self._counter("rollbacks", "Versions put to work that are older than what ran.")
        self.shadowed = self._counter(
            "shadowed", "Requests given to a second version, by what came of it.", "outcome"
        )
        self._version = self._gauge("model_version", "Registry version that answers; 0: none.")
        self._beside = self._gauge(
            "beside_version", "Registry version that runs beside the stable one; 0: none.", "role"
        )
        self.beside(0, 0)
        self._gauge(
            "build_info", "The program and what it serves.", "environment", "code_version", "code_release"
        ).labels(environment, code_version, code_release).set(1)
        self._by_version = (
            self._requests,
            self._latency,
            self._model_seconds,
            self._version_seconds,
            self._version_failures,
        )
        self._current = 0
        self._series: dict[tuple[str, int, str], tuple[Counter, Histogram]] = {}
        self._versions: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def answered(self, route: str, status: int, version: str, seconds: float) -> None:
        """Count one request.

        Args:
            route: Template of its route, never its path.
            status: Of the answer.
            version: Registry version that answered, or empty.
            seconds: From its head to the end of the answer.
        """
        key = (route, status, version)
        series = self._series.get(key)
        if series is None:
            self._notice(version)
            series = self._requests.labels(*key), self._latency.labels(route, version)
            self._series[key] = series
        series[0].inc()
        series[1].observe(seconds)

    def computed(self, version: int, images: int, seconds: float) -> None:
        """Count one call of a version's model."""
        self._notice(str(version))
        self._model_seconds.labels(version).observe(seconds)
        self._batch_size.observe(images)

    def attempted(self, version: int, seconds: float, *, failed: bool) -> None:
        """Count a version's work on one request."""
        self._notice(str(version))
        self._version_seconds.labels(version).observe(seconds)
        if failed:
            self._version_failures.labels(version).inc()

    def refused(self, reason: Refusal) -> None:
        """Count a refusal."""
        self._refused.labels(reason).inc()

    def swapped(self, version: int) -> None:
        """Count that `version` answers from now on; one that is older than what ran is a rollback."""
        self._swaps.inc()
        if version < self._current:
            self._rollbacks.inc()
        self._current = version
        self._version.set(version)

    def beside(self, canary: int, shadow: int) -> None:
        """Say which versions run beside the stable one; 0 for none."""
        self._beside.labels("canary").set(canary)
        self._beside.labels("shadow").set(shadow)

    def exposition(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)

    def _notice(self, version: str) -> None:
        """Remember that a version has series; those of the one that was longest without new ones end."""
        if not version:
            return
        with self._lock:
            self._versions[version] = None
            self._versions.move_to_end(version)
            if len(self._versions) > _VERSIONS:
                oldest, _ = self._versions.popitem(last=False)
                self._series = {key: series for key, series in self._series.items() if key[2] != oldest}
                for metric in self._by_version:
                    metric.remove_by_labels({"model_version": oldest})

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"cifarops_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"cifarops_{name}", text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, *labels: str, buckets: tuple[float, ...] = _BUCKETS
    ) -> Histogram:
        return Histogram(f"cifarops_{name}", text, labels, buckets=buckets, registry=self.registry)
