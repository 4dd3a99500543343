"""What a server counts, in a Prometheus registry of its own."""

import time
from types import TracebackType

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cifarops.ledger.records import EnvironmentName

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
VERSION_KEY = "cifarops.model_version"
_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Metrics:
    """Counters of one server.

    Args:
        environment: Which environment it serves.
        code_version: Version of the program.
        code_release: SHA-256 of its code release, or empty.
    """

    def __init__(self, environment: EnvironmentName, code_version: str, code_release: str = "") -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "cifarops_requests",
            "Requests answered.",
            ("route", "status", "model_version"),
            registry=self._registry,
        )
        self.latency = Histogram(
            "cifarops_request_seconds",
            "Time from the head of a request to the end of its answer.",
            ("route",),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self.load_failures = Counter(
            "cifarops_load_failures", "Versions that could not be loaded.", registry=self._registry
        )
        self.lost_predictions = Counter(
            "cifarops_lost_predictions",
            "Predictions answered but not written to the ledger.",
            registry=self._registry,
        )
        self._swaps = Counter("cifarops_swaps", "Versions put to work.", registry=self._registry)
        self._version = Gauge(
            "cifarops_model_version", "Registry version that answers; 0: none.", registry=self._registry
        )
        self._beside = Gauge(
            "cifarops_beside_version",
            "Registry version that runs beside the stable one; 0: none.",
            ("role",),
            registry=self._registry,
        )
        self.beside(0, 0)
        self.model_seconds = Histogram(
            "cifarops_version_seconds",
            "Time a version took for a request, from the image file to the probabilities.",
            ("model_version",),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self.version_failures = Counter(
            "cifarops_version_failures",
            "Requests a version failed on; those of a canary were answered by the stable one.",
            ("model_version",),
            registry=self._registry,
        )
        self.shadowed = Counter(
            "cifarops_shadowed",
            "Requests given to a second version, by what came of it.",
            ("outcome",),
            registry=self._registry,
        )
        Gauge(
            "cifarops_build_info",
            "The program and what it serves.",
            ("environment", "code_version", "code_release"),
            registry=self._registry,
        ).labels(environment, code_version, code_release).set(1)

    def swapped(self, version: int) -> None:
        """Count that `version` answers from now on."""
        self._swaps.inc()
        self._version.set(version)

    def beside(self, canary: int, shadow: int) -> None:
        """Say which versions run beside the stable one; 0 for none."""
        self._beside.labels("canary").set(canary)
        self._beside.labels("shadow").set(shadow)

    def exposition(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)


class MeasuredApp:
    """Middleware that counts and times every request by its route template, so that no path can add a series.

    Args:
        app: The application inside.
        metrics: Where to count.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with _Measured(self._metrics, scope) as measured:

            async def noting_status(message: Message) -> None:
                if message["type"] == "http.response.start":
                    measured.status = message["status"]
                await send(message)

            await self._app(scope, receive, noting_status)


class _Measured:
    """One request's measurement; a request that ends in an exception counts as status 500."""

    def __init__(self, metrics: Metrics, scope: Scope) -> None:
        self._metrics = metrics
        self._scope = scope
        self.status = 500

    def __enter__(self) -> "_Measured":
        self._began = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        route = getattr(self._scope.get("route"), "path", "other")
        version = self._scope.get(VERSION_KEY, "")
        self._metrics.requests.labels(route, self.status, version).inc()
        self._metrics.latency.labels(route).observe(time.perf_counter() - self._began)
