"""Bytes over HTTP: one seam with one call, and httpx behind it.

A test can put any failure in its place; nothing of httpx leaks out.
"""

import os
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Protocol

import httpx

from kdrec.errors import (
    IncompleteError,
    IntegrityError,
    InvalidInputError,
    KdrecError,
    NotFoundError,
    ServiceError,
    StorageError,
)
from kdrec.version import __version__

_TRANSIENT = frozenset({429, 502, 503, 504})
_ATTEMPTS = 5
_RELAYED: Mapping[str, type[KdrecError]] = {
    kind.default_kind: kind for kind in (NotFoundError, IncompleteError, IntegrityError)
}
_FIRST_PAUSE_SECONDS = 0.25
TOKEN_VARIABLE = "KDREC_TOKEN"  # noqa: S105 - the name of a variable, not a token


class Transport(Protocol):
    """Gets bytes below one address."""

    def get(self, path: str) -> bytes:
        """The body of the answer.

        Raises:
            NotFoundError: The server has nothing there.
            ServiceError: The server refuses, or answers something else.
            StorageError: It cannot be reached, after several tries.
        """


class HttpTransport:
    """Gets over HTTP, with retries; one connection pool a process, so that forks are safe.

    Args:
        url: Everything is below it.
        token: Bearer token; by default the environment's KDREC_TOKEN.
        timeout: Seconds without an answer after which a try has failed.
        sleep: Pauses between tries; a test may pass its own.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout: float = 30.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url.rstrip("/")
        self._token = os.environ.get(TOKEN_VARIABLE) if token is None else token
        if self._token is not None and not (self._token.isascii() and self._token.isprintable()):
            raise InvalidInputError(f"the token in {TOKEN_VARIABLE} holds characters no token has")
        self._timeout = timeout
        self._sleep = sleep
        self._client: httpx.Client | None = None
        self._process = 0

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_client": None, "_process": 0}

    def get(self, path: str) -> bytes:
        url = f"{self.url}/{path}" if path else self.url
        for attempt in range(_ATTEMPTS):
            last = attempt == _ATTEMPTS - 1
            try:
                response = self._connected().get(url)
            except httpx.InvalidURL as error:
                raise InvalidInputError(f"{url} is no address: {error}") from error
            except httpx.HTTPError as error:
                if last:
                    raise StorageError(
                        f"{url} cannot be reached: {error or type(error).__name__}; "
                        "check the address and that the server runs"
                    ) from error
            else:
                if response.status_code not in _TRANSIENT or last:
                    return _body(response, url)
            self._sleep(_FIRST_PAUSE_SECONDS * 2**attempt)
        raise AssertionError("unreachable")

    def _connected(self) -> httpx.Client:
        if self._client is None or self._process != os.getpid():
            headers = {"User-Agent": f"kdrec/{__version__}"}
            if self._token:
                # httpx drops the header itself where a redirect leaves the host.
                headers["Authorization"] = f"Bearer {self._token}"
            self._client = httpx.Client(
                headers=headers, timeout=self._timeout, follow_redirects=True
            )
            weakref.finalize(self, self._client.close)
            self._process = os.getpid()
        return self._client


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
    )


def _problem(response: httpx.Response) -> Mapping[str, str]:
    if "json" not in response.headers.get("content-type", ""):
        return {}
    try:
        found = response.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
