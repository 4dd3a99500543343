"""`serving.yaml`: how the servers of one workspace are reached, and how much they take."""

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, ValidationError

from cifarops.errors import UsageError
from cifarops.strict import Section, explain

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class Limits(Section):
    """How much a server takes.

    Attributes:
        connections: Connections open at once.
        connections_per_address: Of these, from one address.
        head_bytes: Bytes of a request's first line and headers.
        headers: Number of a request's headers.
        head_s: Seconds from the first byte of a request to the end of its headers.
        body_s: Seconds from there to the end of its body.
        idle_s: Seconds that a connection may stay open between two requests.
        bodies_bytes: Bytes of request bodies that are held in memory at once.
        deadline_s: Seconds that a request, once it was read, may take; a client can ask for less.
        rate: Requests a second that one client may send on average; null for any number.
        burst: How many of them may come at once.
    """

    connections: Count = 1024
    connections_per_address: Count = 512
    head_bytes: Count = 32 * 2**10
    headers: Count = 100
    head_s: Seconds = 10
    body_s: Seconds = 60
    idle_s: Seconds = 75
    bodies_bytes: Annotated[int, Field(ge=2**24)] = 2**26
    deadline_s: Seconds = 10
    rate: Annotated[float, Field(gt=0)] | None = None
    burst: Count = 100


class TLS(Section):
    """The files of a certificate.

    Attributes:
        certificate: PEM file: the certificate, and what it is signed by.
        key: PEM file with the private key.
    """

    certificate: Path
    key: Path


class Options(Section):
    """How servers are reached.

    Attributes:
        hosts: Names under which clients reach the servers, besides localhost, plain addresses and an announced URL.
        origins: Origins of web pages that may send requests, besides a server's own, like `https://tool.example.org`.
        proxies: Addresses of proxies whose word on the client's address is taken.
        tls: The certificate; null serves plain HTTP.
        log: Whether each request gets a line in the log, or only those that were refused or failed.
        drain_s: Seconds between not being ready any more and taking no more connections, when a server is stopped.
        limits: How much a server takes.
    """

    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    tls: TLS | None = None
    log: Literal["failures", "all"] = "failures"
    drain_s: Annotated[float, Field(ge=0, le=600)] = 0.2
    limits: Limits = Limits()


def read_options(path: Path) -> Options:
    """Read `serving.yaml`; where there is none, everything is as by default.

    Paths in it are relative to its own directory.

    Raises:
        UsageError: It can't be read, or a key or a value is wrong.
    """
    try:
        document = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        return Options()
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{path} can't be read: {error}", fix="Correct it, or remove it.") from error
    try:
        options = Options.model_validate(document or {})
    except ValidationError as error:
        raise explain(error, Options, where=path.name, reference="docs/reference/serving.md") from error
    if options.tls is None:
        return options
    tls = TLS(certificate=path.parent / options.tls.certificate, key=path.parent / options.tls.key)
    return options.model_copy(update={"tls": tls})
