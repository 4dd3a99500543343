"""What goes wrong between us and GitLab: which error it is, what it says to do, and what is tried again."""

import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from cifarops.errors import CifaropsError, ConflictError, UnavailableError
from cifarops.flow.gitlab.access import Access
from cifarops.flow.gitlab.client import Client, GitLabError
from tests.support.gitlab_server import DEVELOPER_TOKEN, MAINTAINER_TOKEN
from tests.support.gitlab_state import PROJECT, Fault, GitLab

pytestmark = [
    pytest.mark.flow,
    pytest.mark.parametrize("gitlab", ["premium"], indirect=True),
]
LABEL = {"name": "x", "color": "#112233"}


@pytest.fixture
def client(direct_url: str, gitlab: GitLab) -> Client:
    return connect(direct_url)


def connect(url: str, token: str = MAINTAINER_TOKEN, timeout: float = 10) -> Client:
    return Client(Access(url, PROJECT, token, is_job_token=False), tries=3, timeout=timeout)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_be_repeated_is(client: Client, gitlab: GitLab, status: int) -> None:
    gitlab.faults.extend([Fault("GET labels", status), Fault("GET labels", status)])
    assert client.list("labels") == []
    assert gitlab.calls == [f"GET labels -> {status}", f"GET labels -> {status}", "GET labels"]


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_what_may_have_been_done_is_not_repeated(client: Client, gitlab: GitLab, status: int) -> None:
    gitlab.faults.append(Fault("POST labels", status))
    with pytest.raises(UnavailableError, match=str(status)):
        client.post("labels", LABEL)
    assert gitlab.calls == [f"POST labels -> {status}"]


def test_what_was_turned_away_for_the_rate_is_sent_again(client: Client, gitlab: GitLab) -> None:
    gitlab.faults.append(Fault("POST labels", 429, {"Retry-After": "1"}))
    assert client.post("labels", LABEL)["name"] == "x"
    assert gitlab.calls == ["POST labels -> 429", "POST labels"]


def test_patience_ends(client: Client, gitlab: GitLab) -> None:
    gitlab.faults.extend(Fault("GET labels", 429, {"Retry-After": "0"}) for _ in range(5))
    with pytest.raises(UnavailableError, match="too many calls") as caught:
        client.list("labels")
    assert "Wait" in caught.value.fix
    assert len(gitlab.calls) == 3


@pytest.mark.parametrize(
    ("status", "kind", "remedy"),
    [
        (400, GitLabError, "Correct what GitLab names"),
        (401, GitLabError, "revoked or expired"),
        (403, GitLabError, "role or scope"),
        (404, GitLabError, "may see it"),
        (409, ConflictError, "goes on"),
        (422, GitLabError, "Correct what GitLab names"),
    ],
)
def test_a_refusal_says_what_was_refused_and_what_to_do(
    client: Client, gitlab: GitLab, status: int, kind: type[CifaropsError], remedy: str
) -> None:
    gitlab.faults.append(Fault("POST labels", status))
    with pytest.raises(kind, match=rf"POST labels of {PROJECT}.*{status}") as caught:
        client.post("labels", LABEL)
    assert remedy in caught.value.fix


def test_an_unknown_token_and_one_without_rights(direct_url: str, gitlab: GitLab) -> None:
    with pytest.raises(GitLabError, match="401") as unknown:
        connect(direct_url, "glpat-unknown").get()
    with pytest.raises(GitLabError, match="403") as weak:
        connect(direct_url, DEVELOPER_TOKEN).list("protected_branches")
    assert "glpat-" not in f"{unknown.value} {unknown.value.fix} {weak.value} {weak.value.fix}"


def test_nothing_there_is_no_error_where_that_is_a_fair_answer(client: Client, gitlab: GitLab) -> None:
    assert client.find("repository/tags/none") is None
    client.delete("protected_branches/none")


def test_an_answer_that_does_not_come(direct_url: str, gitlab: GitLab) -> None:
    gitlab.faults.append(Fault("POST labels", 201, seconds=1.0))
    with pytest.raises(UnavailableError, match="does not answer: no answer in time"):
        connect(direct_url, timeout=0.2).post("labels", LABEL)


def test_nobody_listens(gitlab: GitLab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(UnavailableError, match="does not answer: Connection refused") as caught:
        connect(f"http://127.0.0.1:{port}").get()
    assert "CIFAROPS_GITLAB_URL" in caught.value.fix


def test_a_name_that_no_server_has(gitlab: GitLab) -> None:
    with pytest.raises(UnavailableError, match=r"https://gitlab\.invalid does not answer"):
        connect("https://gitlab.invalid").get()


class _Stranger(BaseHTTPRequestHandler):
    """A web server that is no GitLab: redirects where asked to, and answers with a page."""

    seen: list[str]

    def do_GET(self) -> None:
        type(self).seen.append(self.path)
        moved = "moved" in self.path
        self.send_response(302 if moved else 200)
        if moved:
            self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(b"" if moved else b"<html>Welcome</html>")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        pass


@pytest.fixture
def stranger() -> Iterator[str]:
    _Stranger.seen = []
    server = HTTPServer(("127.0.0.1", 0), _Stranger)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_server_that_is_no_gitlab(stranger: str, gitlab: GitLab) -> None:
    with pytest.raises(GitLabError, match="not as GitLab does"):
        connect(stranger).get()


def test_a_token_is_not_carried_to_where_a_redirect_points(stranger: str, gitlab: GitLab) -> None:
    with pytest.raises(GitLabError, match="has moved"):
        connect(stranger).get("moved")
    assert len(_Stranger.seen) == 1
