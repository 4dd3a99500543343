"""The way to a host: through a proxy where the system names one, and in plain words what stands in it."""

from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3 import exceptions

_CONNECT_SECONDS, _READ_SECONDS = 10, 60
_TIMEOUT = urllib3.Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS)
_RETRIES = urllib3.Retry(redirect=5, connect=0, read=0)


def open_pool(url: str) -> urllib3.PoolManager:
    """Return what requests to `url` are made with.

    A proxy is taken from the system, as other programs do: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY.

    Raises:
        urllib3.exceptions.HTTPError: The proxy's address can't be used.
    """
    proxy = _proxy_for(urlsplit(url))
    if proxy is None:
        return urllib3.PoolManager(timeout=_TIMEOUT, retries=_RETRIES)
    login = urlsplit(proxy)
    credentials = f"{unquote(login.username)}:{unquote(login.password or '')}" if login.username else None
    return urllib3.ProxyManager(
        proxy,
        proxy_headers=urllib3.make_headers(proxy_basic_auth=credentials),
        timeout=_TIMEOUT,
        retries=_RETRIES,
    )


def explain(error: exceptions.HTTPError, url: str) -> str:
    """Say in plain words, without a full stop, why `url` can't be fetched."""
    who = urlsplit(url).hostname or url
    cause: Exception = error
    if isinstance(cause, exceptions.MaxRetryError) and cause.reason is not None:
        cause = cause.reason
    if isinstance(cause, exceptions.ProxyError):
        who = f"the proxy {urlsplit(_proxy_for(urlsplit(url)) or '').hostname}"
        cause = cause.original_error
    match cause:
        case exceptions.NameResolutionError():
            return f"the name of {who} can't be resolved (no network, or a wrong name)"
        case exceptions.NewConnectionError():
            return f"{who} can't be reached ({_system_says(cause)})"
        case exceptions.TimeoutError():
            return f"{who} did not answer in time"
        case exceptions.SSLError():
            return f"there is no secure connection to {who} ({_system_says(cause)})"
        case exceptions.ProtocolError() | exceptions.IncompleteRead():
            return f"the connection to {who} broke off"
        case OSError():
            return f"{who} refused ({cause})"
        case _:
            return str(cause).rstrip(".")


def _system_says(error: exceptions.HTTPError) -> str:
    """Return the operating system's own words, for example: Connection refused."""
    below = error.args[0] if error.args and isinstance(error.args[0], OSError) else error.__cause__
    said = getattr(below, "verify_message", None) or getattr(below, "strerror", None)
    return str(said or below or error)


def _proxy_for(parts: SplitResult) -> str | None:
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"
