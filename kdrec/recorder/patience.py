"""A storage that is asked again when it fails: full disks are emptied, networks recover."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import tenacity

from kdrec.errors import StorageError
from kdrec.store import Claim, LockHolder, RecordingPlace

T = TypeVar("T")

RETRY_SECONDS = 300.0
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0


@dataclass(frozen=True, slots=True)
class Failure:
    """A storage did not do what it was asked, and will be asked again.

    Attributes:
        message: What it said.
        attempt: How often it was asked so far.
        wait: Seconds until it is asked again.
    """

    message: str
    attempt: int
    wait: float


class PatientStorage:
    """A storage whose failures are retried, at growing intervals, for some time.

    Args:
        place: What is wrapped.
        seconds: For how long one call is retried before its error comes through.
        on_failure: Hears of each failure that is retried, in any thread.
        stop: Set to give up at once.
    """

    def __init__(
        self,
        place: RecordingPlace,
        *,
        seconds: float,
        on_failure: Callable[[Failure], None],
        stop: threading.Event,
    ) -> None:
        self._place = place
        self._on_failure = on_failure
        self._retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(StorageError),
            wait=tenacity.wait_exponential(multiplier=_FIRST_WAIT, max=_LONGEST_WAIT),
            stop=tenacity.stop_after_delay(seconds) | tenacity.stop_when_event_set(stop),
            sleep=tenacity.sleep_using_event(stop),
            before_sleep=self._report,
            reraise=True,
        )

    def insist(self, call: Callable[[], T]) -> T:
        """Make a call that needs several of the storage's, and may be made again."""
        return self._ask(call)

    @property
    def stale_after(self) -> float:
        return self._place.stale_after

    def read(self, key: str) -> bytes:
        return self._ask(self._place.read, key)

    def keys(self, prefix: str = "") -> Iterator[str]:
        yield from self._ask(lambda: list(self._place.keys(prefix)))

    def write(self, key: str, data: bytes) -> None:
        self._ask(self._place.write, key, data)

    def size(self, key: str) -> int:
        return self._ask(self._place.size, key)

    def delete(self, key: str) -> None:
        self._ask(self._place.delete, key)

    @contextmanager
    def lock(self, *, while_waiting: Callable[[], None]) -> Iterator[LockHolder]:
        with ExitStack() as stack:
            yield self._ask(
                lambda: stack.enter_context(self._place.lock(while_waiting=while_waiting))
            )

    @contextmanager
    def joined(self, *, while_waiting: Callable[[], None]) -> Iterator[None]:
        with ExitStack() as stack:
            self._ask(lambda: stack.enter_context(self._place.joined(while_waiting=while_waiting)))
            yield

    def claim(self, name: str) -> Claim | None:
        return self._ask(self._place.claim, name)

    def remove_claims(self) -> None:
        self._ask(self._place.remove_claims)

    def remove_unfinished(self) -> list[str]:
        return self._ask(self._place.remove_unfinished)

    def _ask(self, call: Callable[..., T], *arguments: Any) -> T:
        # A copy: the statistics of one are not made for two threads.
        return self._retrying.copy()(call, *arguments)

    def _report(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        wait = state.next_action.sleep if state.next_action else 0.0
        self._on_failure(Failure(str(error), state.attempt_number, float(wait)))
