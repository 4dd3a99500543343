"""A GitLab behind a validating proxy, started once; every test gets it empty."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from cifarops.flow.gitlab.access import Access
from cifarops.flow.gitlab.client import Client
from tests.support.gitlab_server import MAINTAINER_TOKEN, Server, running, validating_proxy
from tests.support.gitlab_state import PROJECT, GitLab


@dataclass(frozen=True)
class Served:
    """The server, its own address and that of the proxy before it."""

    server: Server
    direct: str
    checked: str


@pytest.fixture(scope="session")
def _served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    server = Server()
    log = tmp_path_factory.mktemp("prism") / "prism.log"
    with running(server) as upstream, validating_proxy(upstream, log) as address:
        yield Served(server, upstream, address)


@pytest.fixture
def url(_served: Served) -> str:
    return _served.checked


@pytest.fixture
def direct_url(_served: Served) -> str:
    return _served.direct


@pytest.fixture(params=["free", "premium"])
def gitlab(request: pytest.FixtureRequest, _served: Served) -> GitLab:
    _served.server.gitlab = GitLab(tier=request.param)
    return _served.server.gitlab


@pytest.fixture
def client(url: str) -> Client:
    return Client(Access(url, PROJECT, MAINTAINER_TOKEN, is_job_token=False))
