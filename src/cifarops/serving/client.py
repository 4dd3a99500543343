"""A client of a server, on urllib3."""

import json
import re
from dataclasses import dataclass, fields
from typing import Any, NoReturn, TypeVar

import urllib3

from cifarops.errors import CifaropsError, ConflictError, DataError, UnavailableError, UsageError

# A connection that the server closed between two requests is opened again; nothing else is repeated.
_RETRIES = urllib3.Retry(
    total=1, connect=0, redirect=0, status=0, allowed_methods=None, respect_retry_after_header=False
)
_POOL = 16
_REQUESTS = re.compile(r"^cifarops_requests_total\{(.*)\} (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_CARE_ROUTES = ("/metrics", "/ping", "/v2/health/live", "/v2/health/ready", "/version")
KEY_HEADER = "X-Canary-Key"
_T = TypeVar("_T")


@dataclass(frozen=True)
class Answer:
    """What the server said about one image.

    Attributes:
        prediction_id: To be sent back with the true label.
        label: Name of the most probable class.
        confidence: Its probability.
        probabilities: Of every class, by name.
        model_version: Registry version that answered.
        environment: Where it was answered.
    """

    prediction_id: str
    label: str
    confidence: float
    probabilities: dict[str, float]
    model_version: int
    environment: str


@dataclass(frozen=True)
class Running:
    """What a server runs; fields as in `GET /version`. An older server says less."""

    environment: str
    model_version: int | None
    digest: str | None
    generation: int
    wanted_generation: int
    error: str | None
    code_version: str
    pid: int
    code_release: str | None = None
    code_commit: str | None = None
    keep_images: bool = False
    canary_version: int | None = None
    canary_percent: float = 0.0
    shadow_version: int | None = None
    beside_error: str | None = None


@dataclass(frozen=True)
class Counts:
    """How many requests were answered, and how many of them with a status from 500 on."""

    requests: int
    errors: int


class Client:
    """Asks one server. Any number of threads may use it at once; connections are kept open.

    Args:
        url: Where the server answers, for example http://127.0.0.1:8080.
        timeout: Seconds to wait for a connection, and for an answer.
        token: What to show to a server that wants a token.
    """

    def __init__(self, url: str, *, timeout: float = 10, token: str | None = None) -> None:
        self.url = url.rstrip("/")
        self._pool = urllib3.PoolManager(maxsize=_POOL, retries=_RETRIES, timeout=timeout)
        self._authorization = f"Bearer {token}" if token else None

    def predict(self, content: bytes, *, key: str | None = None) -> Answer:
        """Classify one image file.

        Args:
            content: The file.
            key: Keeps whoever sends it on one version while a canary runs; by default the address does.

        Raises:
            DataError: The server refuses the image.
            UnavailableError: No answer, or no version is loaded.
        """
        return self._read(Answer, self._ask("POST", "/predict", content, "application/octet-stream", key))

    def feedback(self, prediction_id: str, label: str) -> str:
        """Say the true label of an earlier prediction; returns `recorded`, or `known` where it was said before.

        Raises:
            UsageError: No such prediction.
            DataError: No such class.
            ConflictError: Another label was given before.
            UnavailableError: No answer, or the ledger can't be written.
        """
        body = json.dumps({"prediction_id": prediction_id, "label": label}).encode()
        return str(self._ask("POST", "/feedback", body, "application/json")["status"])

    def version(self) -> Running:
        """Return what the server runs.

        Raises:
            UnavailableError: No answer.
        """
        return self._read(Running, self._ask("GET", "/version"))

    def counts(self) -> Counts:
        """Return how many requests the server has answered, without those that only look after it.

        Raises:
            UnavailableError: No answer.
        """
        requests = errors = 0
        for labels, value in _REQUESTS.findall(self._answer("GET", "/metrics").data.decode()):
            named = dict(_LABEL.findall(labels))
            if named.get("route") in _CARE_ROUTES:
                continue
            requests += int(float(value))
            errors += int(float(value)) if named.get("status", "").startswith("5") else 0
        return Counts(requests, errors)

    def live(self) -> bool:
        """Return whether the server answers at all."""
        return self._is("/v2/health/live")

    def ready(self) -> bool:
        """Return whether the server answers and has a version loaded."""
        return self._is("/v2/health/ready")

    def _is(self, path: str) -> bool:
        try:
            self._ask("GET", path)
        except CifaropsError:
            return False
        return True

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        kind: str | None = None,
        key: str | None = None,
    ) -> Any:
        answer = self._answer(method, path, body, kind, key)
        try:
            document = json.loads(answer.data)
        except ValueError as error:
            raise self._stranger() from error
        if answer.status >= 400:
            self._refuse(answer.status, document)
        return document

    def _answer(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        kind: str | None = None,
        key: str | None = None,
    ) -> urllib3.BaseHTTPResponse:
        given = {"Content-Type": kind, KEY_HEADER: key, "Authorization": self._authorization}
        headers = {name: value for name, value in given.items() if value}
        try:
            return self._pool.request(method, self.url + path, body=body, headers=headers)
        except urllib3.exceptions.LocationParseError as error:
            raise UsageError(f"{self.url!r} is no URL.", fix="Give one like http://127.0.0.1:8080") from error
        except urllib3.exceptions.HTTPError as error:
            raise UnavailableError(
                f"No answer from {self.url}: {getattr(error, 'reason', None) or error}.",
                fix="Start a server: cifarops serve. See what runs: cifarops deploy status",
            ) from error

    def _read(self, kind: type[_T], document: Any) -> _T:
        """Take the fields of `kind`; a newer server may answer with more."""
        try:
            known = {field.name for field in fields(kind)} & set(document)  # type: ignore[arg-type]
            return kind(**{name: document[name] for name in known})
        except (KeyError, TypeError) as error:
            raise self._stranger() from error

    def _stranger(self) -> UnavailableError:
        return UnavailableError(
            f"What answers at {self.url} is no cifarops server.", fix="See what runs: cifarops deploy status"
        )

    def _refuse(self, status: int, problem: Any) -> NoReturn:
        found = problem if isinstance(problem, dict) else {}
        message = str(found.get("detail", f"{self.url} answered {status}."))
        fix = f"The server says: {found.get('title', 'nothing more')} ({found.get('type', status)})."
        if status in (401, 403):
            raise UsageError(message, fix="Set CIFAROPS_TOKEN to a token that allows this.")
        if status == 404:
            raise UsageError(message, fix=fix)
        if status == 409:
            raise ConflictError(message, fix=fix)
        if status == 429 or status >= 500:
            raise UnavailableError(message, fix=fix)
        raise DataError(message, fix=fix)
