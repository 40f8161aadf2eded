"""Permissions for the web server in front, given where a request's head is parsed.

The file was found a moment ago, so that nothing is looked for and nobody waits; of such an answer a
task of its own and the layers of the application would be the larger part.
"""

import re
import time
from http import HTTPStatus
from typing import TypeAlias

from kdrec.api.hot_files import DelegatedFile
from kdrec.api.hot_path import CONDITIONS_OF_DELEGATED, FILE_PATH, FILE_ROUTE
from kdrec.api.metrics import RequestMetrics
from kdrec.api.observation import RequestIds, added_fields
from kdrec.api.state import ServiceState
from kdrec.api.tokens import Grant
from kdrec.errors import KdrecError

Fields: TypeAlias = list[tuple[bytes, bytes]]
_FILE = re.compile(FILE_PATH.pattern.encode())
# With one of these the answer may be another, or the head not all of the request.
_WEIGHTY = CONDITIONS_OF_DELEGATED | {
    b"content-length",
    b"transfer-encoding",
    b"expect",
    b"upgrade",
}


class Permissions:
    """Answers that name a file for the web server in front: those that the application would give.

    Args:
        state: Of the service.
        metrics: Where requests are counted.
        ids: Of requests.
    """

    def __init__(self, state: ServiceState, *, metrics: RequestMetrics, ids: RequestIds) -> None:
        self._state = state
        self._metrics = metrics
        self._ids = ids

    def answer(self, method: bytes, target: bytes, fields: Fields) -> Fields | None:
        """The head of the answer, of status 200 and without a body.

        Args:
            method: Of the request.
            target: As it stands in the request.
            fields: Of the request's head, names in lower case.

        Returns:
            None where it is for the application to answer.
        """
        started = time.perf_counter()
        match = _FILE.fullmatch(target) if method == b"GET" else None
        told = dict(fields)
        if match is None or len(told) < len(fields) or not _WEIGHTY.isdisjoint(told):
            return None
        name, key = match[1].decode(), match[2].decode()
        found = self._state.hot_files.get(name, key)
        if not isinstance(found, DelegatedFile) or not found.file.is_near:
            return None
        grant = self._grant(told.get(b"authorization"))
        if grant is None or not grant.may_read(name.partition("@")[0]):
            return None
        if not found.file.is_there():
            return None
        stated = [(field.lower().encode(), text.encode()) for field, text in found.headers.items()]
        added = added_fields(self._ids.of(fields), delegated_by=grant.name)
        seconds = time.perf_counter() - started
        self._metrics.count(FILE_ROUTE, "GET", HTTPStatus.OK, sent=0, seconds=seconds, kind="")
        return [*stated, (b"content-length", b"0"), *added]

    def _grant(self, authorization: bytes | None) -> Grant | None:
        try:
            return self._state.grant(
                None if authorization is None else authorization.decode("latin-1")
            )
        except KdrecError:
            return None
