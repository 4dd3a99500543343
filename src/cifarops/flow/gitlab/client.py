"""Calls to one GitLab project: patient where that is safe, and every failure a message with a remedy."""

from typing import Any
from urllib.parse import quote

import gitlab
import requests
from gitlab.exceptions import GitlabError as LibraryError
from gitlab.exceptions import GitlabHttpError, RedirectError
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from cifarops.errors import CifaropsError, ConflictError, UnavailableError
from cifarops.flow.gitlab.access import HOW_TO_AUTHENTICATE, Access

# How long one call may take to answer, seconds; and how long GitLab may tell us to wait before the next try.
TIMEOUT = 20.0
LONGEST_WAIT = 30
# A call that may be sent twice is sent again after these; GitLab did nothing on 429, so that one always is.
_TRANSIENT = (429, 500, 502, 503, 504)
_SAFE_TO_REPEAT = ("GET", "PUT", "DELETE")
_NONE_OF_OURS = "Check CIFAROPS_GITLAB_URL and the network, then run it again; what was done stays done."

Document = dict[str, Any]


class GitLabError(CifaropsError):
    """GitLab refused a call.

    Attributes:
        status: HTTP status of the refusal; 0 when the answer was none of GitLab's.
    """

    def __init__(self, message: str, *, fix: str, status: int = 0) -> None:
        super().__init__(message, fix=fix)
        self.status = status


class Client:
    """One project of one server.

    Args:
        access: Where, and whose token.
        timeout: Longest wait for an answer, seconds.
        tries: How often a call is sent at most.
    """

    def __init__(self, access: Access, *, timeout: float = TIMEOUT, tries: int = 5) -> None:
        session = requests.Session()
        # A redirect would carry the token to whatever host it names.
        session.max_redirects = 0
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=_patience(tries)))
        self.access = access
        self._server = gitlab.Gitlab(
            access.url,
            private_token=None if access.is_job_token else access.token,
            job_token=access.token if access.is_job_token else None,
            session=session,
            timeout=timeout,
        )
        self._root = f"/projects/{segment(access.project)}"

    def get(self, path: str = "", **query: Any) -> Any:
        """Return what stands at `path`, relative to the project."""
        return self._json("get", path, query_data=query)

    def find(self, path: str) -> Any | None:
        """Return what stands at `path`, or None where there is nothing."""
        try:
            return self.get(path)
        except GitLabError as error:
            if error.status != 404:
                raise
            return None

    def list(self, path: str, **query: Any) -> list[Document]:
        """Return all entries of a listing, page after page."""
        entries: list[Document] = []
        page = 1
        while page:
            response = self._call("get", path, query_data={**query, "page": page, "per_page": 100})
            entries += _decoded(response, self.access)
            page = int(response.headers.get("X-Next-Page") or 0)
        return entries

    def post(self, path: str, body: Document) -> Any:
        """Create something below `path` and return it."""
        return self._json("post", path, post_data=body)

    def put(self, path: str, body: Document) -> Any:
        """Change what stands at `path` and return it."""
        return self._json("put", path, post_data=body)

    def patch(self, path: str, body: Document) -> Any:
        """Change parts of what stands at `path` and return it."""
        return self._json("patch", path, post_data=body)

    def delete(self, path: str) -> None:
        """Remove what stands at `path`; nothing there is as good."""
        try:
            self._call("delete", path)
        except GitLabError as error:
            if error.status != 404:
                raise

    def upload(self, path: str, content: bytes) -> None:
        """Store `content` as the file at `path`."""
        self._call("put", path, post_data=content, raw=True)

    def address(self, path: str) -> str:
        """Return the address of `path` for people and for links."""
        return f"{self.access.url}/api/v4{self._root}/{path}"

    def _json(self, verb: str, path: str, **arguments: Any) -> Any:
        return _decoded(self._call(verb, path, **arguments), self.access)

    def _call(self, verb: str, path: str, **arguments: Any) -> requests.Response:
        address = f"{self._root}/{path}" if path else self._root
        try:
            # Waiting is the session's business: it knows which calls may be repeated.
            return self._server.http_request(verb, address, obey_rate_limit=False, **arguments)
        except GitlabHttpError as error:
            raise _refusal(error, verb, path, self.access) from error
        except LibraryError as error:
            status = error.response_code or 0
            raise _refusal(error, verb, path, self.access) if status else _foreign(self.access) from error
        except (requests.TooManyRedirects, RedirectError) as error:
            raise GitLabError(
                f"{self.access.url} says that {self.access.project} has moved.",
                fix="Set the new address: git remote set-url origin <address>, or CIFAROPS_GITLAB_URL and CI_PROJECT_PATH.",
                status=301,
            ) from error
        except requests.RequestException as error:
            raise UnavailableError(
                f"GitLab at {self.access.url} does not answer: {_reason(error)}.", fix=_NONE_OF_OURS
            ) from error


def segment(name: str | int) -> str:
    """Return a name as one segment of a path: `freeze/develop` becomes `freeze%2Fdevelop`."""
    return quote(str(name), safe="")


class _Patience(Retry):
    """As `Retry`, but what GitLab turned away for its rate limit is always sent again."""

    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
        return status_code == 429 or super().is_retry(method, status_code, has_retry_after)


def _patience(tries: int) -> Retry:
    return _Patience(
        total=tries - 1,
        backoff_factor=0.2,
        status_forcelist=_TRANSIENT,
        allowed_methods=_SAFE_TO_REPEAT,
        raise_on_status=False,
        retry_after_max=LONGEST_WAIT,
    )


def _decoded(response: requests.Response, access: Access) -> Any:
    if response.status_code == 204 or not response.content:
        return None
    try:
        return response.json()
    except ValueError as error:
        raise _foreign(access) from error


def _foreign(access: Access) -> GitLabError:
    return GitLabError(
        f"{access.url} answers, but not as GitLab does.",
        fix="Set CIFAROPS_GITLAB_URL to the address under which GitLab's sign-in page is.",
    )


def _refusal(error: LibraryError, verb: str, path: str, access: Access) -> CifaropsError:
    status = error.response_code or 0
    what = f"{verb.upper()} {path or 'the project'} of {access.project}"
    told = f"{what}: {status} {_told(error)}"
    if status == 409:
        return ConflictError(
            f"GitLab has something else there by now ({told}).", fix="Run it again; it goes on where it is."
        )
    if status == 429:
        return UnavailableError(
            f"GitLab turns us away for too many calls ({told}).",
            fix=f"Wait some minutes, then run it again; it was tried with waits of up to {LONGEST_WAIT} s.",
        )
    if status >= 500:
        return UnavailableError(f"GitLab fails ({told}).", fix=_NONE_OF_OURS)
    return GitLabError(f"GitLab refuses {told}", fix=_remedy(status, access), status=status)


def _remedy(status: int, access: Access) -> str:
    if status in (401, 403, 404) and access.is_job_token:
        return f"A job's own token (CI_JOB_TOKEN) may not do this. {HOW_TO_AUTHENTICATE}"
    if status == 401:
        return f"The token is unknown, revoked or expired. {HOW_TO_AUTHENTICATE}"
    if status == 403:
        return f"The token's role or scope does not suffice. {HOW_TO_AUTHENTICATE}"
    if status == 404:
        return f"Check that {access.url}/{access.project} exists and that the token's owner may see it."
    return "Correct what GitLab names, then run it again."


def _told(error: LibraryError) -> str:
    return str(error.error_message or "no reason given")[:300]


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not accepted"
    # The innermost reason says what happened; the outer ones say which objects were involved.
    cause: BaseException = error
    while (inner := getattr(cause, "reason", None) or cause.__cause__ or cause.__context__) and isinstance(
        inner, BaseException
    ):
        cause = inner
    return str(getattr(cause, "strerror", None) or cause).rstrip(".") or type(cause).__name__
