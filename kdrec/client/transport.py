"""Bytes over HTTP: one seam with one call, and httpx behind it.

A test can put any failure in its place; nothing of httpx leaks out.
"""

import os
import random
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import httpx

from kdrec.client.body import ResumableBody
from kdrec.errors import (
    ErrorKind,
    IncompleteError,
    IntegrityError,
    InvalidInputError,
    KdrecError,
    NotFoundError,
    ServiceError,
    StorageError,
)
from kdrec.version import __version__

_AWAY = frozenset({408, 429, 502, 503, 504})
_ATTEMPTS = 5
# Tries are counted anew after so many bytes more: over a bad line, no large file comes in five.
_PROGRESS_BYTES = 2**20
_RELAYED: Mapping[str, type[KdrecError]] = {
    kind.default_kind: kind for kind in (NotFoundError, IncompleteError, IntegrityError)
}
_OWN_KINDS = {kind.value: kind for kind in (ErrorKind.UNAUTHENTICATED, ErrorKind.FORBIDDEN)}
_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 30.0
_MOST_REDIRECTS = 5
TOKEN_VARIABLE = "KDREC_TOKEN"  # noqa: S105 - the name of a variable, not a token
TOKEN_FILE_VARIABLE = "KDREC_TOKEN_FILE"  # noqa: S105


@dataclass(frozen=True, slots=True)
class TaggedBytes:
    """The body of an answer.

    Attributes:
        tag: Its entity tag, empty where the server gives none.
    """

    data: bytes
    tag: str


class Transport(Protocol):
    """Gets bytes below one address."""

    def get(self, path: str) -> bytes:
        """The body of the answer.

        Raises:
            NotFoundError: The server has nothing there.
            ServiceError: The server refuses, or answers something else.
            StorageError: It cannot be reached, after several tries.
        """


def _draw() -> float:
    """Of no random state: students that were refused at once shall not return at once."""
    return random.SystemRandom().random()


class HttpTransport:
    """Gets over HTTP, with retries; one connection pool a process, so that forks are safe.

    What came of a file before its transfer broke off is not asked for again. The token goes to the
    scheme, host and port of `url` and nowhere else, whatever a redirect says.

    Args:
        url: Everything is below it.
        token: Bearer token; by default KDREC_TOKEN, or the contents of the file KDREC_TOKEN_FILE.
        timeout: Seconds without an answer after which a try has failed.
        sleep: Pauses between tries; a test may pass its own.
        draw: From 0 to 1, by how much of its doubling a pause is longer; a test may pass its own.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout: float = 30.0,
        sleep: Callable[[float], None] = time.sleep,
        draw: Callable[[], float] = _draw,
    ) -> None:
        self.url = url.rstrip("/")
        _check_address(self.url)
        self._token = _find_token(os.environ) if token is None else token
        if self._token is not None and not (self._token.isascii() and self._token.isprintable()):
            raise InvalidInputError(f"the token in {TOKEN_VARIABLE} holds characters no token has")
        self._timeout = timeout
        self._sleep = sleep
        self._draw = draw
        self._client: httpx.Client | None = None
        self._process = 0

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_client": None, "_process": 0}

    def get(self, path: str) -> bytes:
        url = f"{self.url}/{path}" if path else self.url
        return _body(self._answer(url, {}), url)

    def get_unless(self, path: str, *, tag: str) -> TaggedBytes | None:
        """The body and its tag, or None while it still has this tag; raises as `get` does."""
        url = f"{self.url}/{path}"
        response = self._answer(url, {"If-None-Match": tag} if tag else {})
        if response.status_code == httpx.codes.NOT_MODIFIED:
            return None
        return TaggedBytes(_body(response, url), response.headers.get("ETag", ""))

    def _answer(self, url: str, headers: Mapping[str, str]) -> httpx.Response:
        body = ResumableBody()
        failures, furthest = 0, 0
        while True:
            asked_pause = 0.0
            try:
                response = self._ask(url, headers, body)
            except httpx.InvalidURL as error:
                raise InvalidInputError(f"{url} is no address: {error}") from error
            except httpx.HTTPError as error:
                if body.size >= furthest + _PROGRESS_BYTES:
                    failures, furthest = 0, body.size
                failures += 1
                if failures == _ATTEMPTS:
                    raise StorageError(
                        f"{url} cannot be reached: {error or type(error).__name__}; "
                        "check the address and that the server runs"
                    ) from error
            else:
                failures += 1
                if not _is_transient(response) or failures == _ATTEMPTS:
                    return response
                asked_pause = _asked_pause(response)
            own_pause = _FIRST_PAUSE_SECONDS * 2 ** (failures - 1)
            self._sleep(max(asked_pause, own_pause) + own_pause * self._draw())

    def _ask(self, url: str, headers: Mapping[str, str], body: ResumableBody) -> httpx.Response:
        """One try; what comes of the body stays in `body` whatever happens."""
        request = self._connected().build_request("GET", url, headers={**headers, **body.headers()})
        response = self._follow(request)
        try:
            return body.collect(response)
        finally:
            response.close()

    def _follow(self, request: httpx.Request) -> httpx.Response:
        """Send, and follow redirects, to an answer whose body is not read yet.

        By hand, because httpx carries the token on from http to https, which may be another
        server.
        """
        origin, token = _origin(request.url), self._token
        for _ in range(_MOST_REDIRECTS):
            request.headers.pop("Authorization", None)
            if _origin(request.url) != origin:
                token = None  # not even if the way leads back
            if token:
                request.headers["Authorization"] = f"Bearer {token}"
            response = self._connected().send(request, stream=True)
            if response.next_request is None:
                return response
            response.close()
            request = response.next_request
        raise httpx.TooManyRedirects(f"more than {_MOST_REDIRECTS} redirects", request=request)

    def _connected(self) -> httpx.Client:
        if self._client is None or self._process != os.getpid():
            # Shards are compressed already; a server that compresses them again gains nothing.
            headers = {"User-Agent": f"kdrec/{__version__}", "Accept-Encoding": "identity"}
            self._client = httpx.Client(headers=headers, timeout=self._timeout)
            weakref.finalize(self, self._client.close)
            self._process = os.getpid()
        return self._client


def is_away(error: KdrecError) -> bool:
    """Whether an error says of a server that it cannot be reached now, itself or behind a proxy."""
    return isinstance(error, StorageError) or (
        isinstance(error, ServiceError) and error.status in _AWAY
    )


def _is_transient(response: httpx.Response) -> bool:
    """Whether to ask again; what kdrec says of a recording, it will say again."""
    unexplained = response.status_code == httpx.codes.INTERNAL_SERVER_ERROR
    return response.status_code in _AWAY or (unexplained and not _problem(response))


def _body(response: httpx.Response, url: str) -> bytes:
    if response.status_code == httpx.codes.OK:
        return response.content
    problem = _problem(response)
    detail = problem.get("detail") or response.reason_phrase
    if problem.get("kind") in _RELAYED:
        raise _RELAYED[problem["kind"]](f"{url}: the server says: {detail}")
    if response.status_code == httpx.codes.NOT_FOUND:
        raise NotFoundError(f"{url}: {detail}")
    raise ServiceError(
        f"{url} answered {response.status_code}: {detail}",
        status=response.status_code,
        request=f"GET {url}",
        kind=_OWN_KINDS.get(problem.get("kind", "")),
    )


def _check_address(url: str) -> None:
    """A password in an address ends up in messages and logs; a query is not where files are.

    Raises:
        InvalidInputError: There is one.
    """
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise InvalidInputError(
            "an address must not hold a user or password; give the token as token= or in "
            f"{TOKEN_VARIABLE}"
        )
    if "?" in url or "#" in url:
        raise InvalidInputError(
            f"{url.partition('?')[0].partition('#')[0]} must be all of the address, without what "
            f"follows '?' or '#'; give a token as token= or in {TOKEN_VARIABLE}"
        )


def _find_token(environment: Mapping[str, str]) -> str | None:
    path = environment.get(TOKEN_FILE_VARIABLE)
    if environment.get(TOKEN_VARIABLE) or not path:
        return environment.get(TOKEN_VARIABLE)
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(
            f"{TOKEN_FILE_VARIABLE} names {path}, which cannot be read: {error}; give a file that "
            "holds a token"
        ) from error


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _asked_pause(response: httpx.Response) -> float:
    """Seconds of `Retry-After`, as far as we wait."""
    seconds = response.headers.get("Retry-After", "")
    return min(float(seconds), _LONGEST_PAUSE_SECONDS) if seconds.isdecimal() else 0.0


def _problem(response: httpx.Response) -> Mapping[str, str]:
    if "json" not in response.headers.get("content-type", ""):
        return {}
    try:
        found = response.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
