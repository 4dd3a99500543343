"""A small GitLab on this machine over real HTTP, and a proxy before it that checks every call and every answer.

It behaves as GitLab is documented to. Tier `free` lacks what Premium has, and ignores levels in a PATCH as GitLab does
there. `faults` are answered instead of the next calls that match; `exposed` tells which protected branch was open to
direct pushes after which call.
"""

import asyncio
import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import uvicorn

from tests.support.gitlab_routes import ROUTES
from tests.support.gitlab_state import PROJECT, Answer, Fault, GitLab, Refused

MAINTAINER_TOKEN, DEVELOPER_TOKEN, JOB_TOKEN = "glpat-maintainer", "glpat-developer", "job-64-token"
DESCRIPTION = Path(__file__).parents[1] / "flow" / "openapi" / "gitlab.yaml"
_ROOT = f"/api/v4/projects/{PROJECT.replace('/', '%2F')}"
_TOOLS = Path(__file__).parents[2] / "ci" / "tools" / "node_modules"
_SETTINGS = (
    "protected_",
    "approval",
    "push_rule",
    "labels",
    "pipeline_schedules",
    "members",
    "repository/tags",
)
_FILTERS = {
    "source_branch": "source_branch",
    "target_branch": "target_branch",
    "state": "state",
    "package_name": "name",
    "package_version": "version",
}


class Server:
    """The server; `gitlab` may be replaced between tests."""

    def __init__(self) -> None:
        self.gitlab = GitLab()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        path = scope["raw_path"].decode().partition("?")[0]
        fault = self._fault(f"{scope['method']} {path.removeprefix(_ROOT).strip('/')}")
        if fault:
            await asyncio.sleep(fault.seconds)
            answer = Answer(fault.status, {"message": f"{fault.status} on purpose"}, fault.headers)
        else:
            answer = respond(
                self.gitlab, scope["method"], path, scope["query_string"].decode(), headers, body
            )
        content = b"" if answer.status == 204 else json.dumps(answer.body).encode()
        answer_headers = {"Content-Type": "application/json"} if content else {}
        await send(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": [
                    (name.encode(), value.encode())
                    for name, value in {**answer_headers, **answer.headers}.items()
                ],
            }
        )
        await send({"type": "http.response.body", "body": content})

    def _fault(self, call: str) -> Fault | None:
        for fault in self.gitlab.faults:
            if re.fullmatch(fault.call, call):
                self.gitlab.faults.remove(fault)
                self.gitlab.calls.append(f"{call} -> {fault.status}")
                return fault
        return None


@contextmanager
def running(server: Server) -> Iterator[str]:
    """Serve on a free port of this machine and return the address."""
    listener = socket.create_server(("127.0.0.1", 0))
    runner = uvicorn.Server(uvicorn.Config(server, log_level="error", lifespan="off"))
    thread = threading.Thread(target=runner.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        runner.should_exit = True
        thread.join(10)
        listener.close()


@contextmanager
def validating_proxy(upstream: str, log: Path) -> Iterator[str]:
    """Put a proxy before `upstream` that refuses every call and every answer that the description does not allow."""
    prism = (_TOOLS / ".bin" / "node", _TOOLS / "@stoplight" / "prism-cli" / "dist" / "index.js")
    assert all(part.exists() for part in prism), "Prism is not installed: make flow-tools"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [*map(str, prism), "proxy", "--errors", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, str(DESCRIPTION), upstream], stdout=output, stderr=subprocess.STDOUT
        )
    try:
        _wait_for(port, process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(600):
        assert process.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"Prism did not start: {log.read_text()}")


def respond(
    gitlab: GitLab, method: str, raw_path: str, query: str, headers: dict[str, str], body: bytes
) -> Answer:
    """Answer one call."""
    path = raw_path.removeprefix(_ROOT).strip("/")
    gitlab.calls.append(f"{method} {path}")
    try:
        if not raw_path.startswith(_ROOT):
            raise Refused(404, "404 Project Not Found")
        role = _authorise(headers, path)
        _check_tier(gitlab, path)
        arguments = json.loads(body) if body and headers.get("content-type") == "application/json" else body
        answer = _route(gitlab, method, path, role)(arguments)
    except Refused as refused:
        return refused.answer
    finally:
        gitlab.exposed += [
            f"{method} {path}: {branch} open to {gitlab.may(branch, 'push')}"
            for branch in ("main", "develop", "release")
            if gitlab.may(branch, "push")
        ]
    return _paged(answer, parse_qs(query)) if isinstance(answer.body, list) else answer


def _authorise(headers: dict[str, str], path: str) -> int:
    role = {MAINTAINER_TOKEN: 40, DEVELOPER_TOKEN: 30}.get(headers.get("private-token", ""))
    if role is None and headers.get("job-token") == JOB_TOKEN:
        if not path.startswith(("releases", "packages")):
            raise Refused(404, "404 Project Not Found")
        return 30
    if role is None:
        raise Refused(401, "401 Unauthorized")
    if role < 40 and path.startswith(_SETTINGS):
        raise Refused(403, "403 Forbidden")
    return role


def _check_tier(gitlab: GitLab, path: str) -> None:
    if gitlab.tier == "free":
        if path.startswith(("approvals", "approval_rules")):
            raise Refused(403, "403 Forbidden")
        if path.startswith(("push_rule", "protected_environments")):
            raise Refused(404, "404 Not Found")


def _paged(answer: Answer, query: dict[str, list[str]]) -> Answer:
    kept = {_FILTERS[key]: values[0] for key, values in query.items() if key in _FILTERS}
    entries = [entry for entry in answer.body if all(entry[key] == value for key, value in kept.items())]
    page, size = (int(query.get(key, [default])[0]) for key, default in (("page", "1"), ("per_page", "20")))
    following = str(page + 1) if entries[page * size :] else ""
    return Answer(200, entries[(page - 1) * size : page * size], {"X-Next-Page": following})


def _route(gitlab: GitLab, method: str, path: str, role: int) -> Callable[[Any], Answer]:
    for pattern, verbs in ROUTES:
        match = re.fullmatch(pattern, path)
        if match and method in verbs:
            parts = [unquote(part) for part in match.groups()]
            return lambda arguments: verbs[method](gitlab, *parts, arguments=arguments, role=role)
    raise Refused(404, "404 Not Found")
