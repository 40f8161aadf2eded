"""The error tree: one class per thing a caller would do about it, one kind per thing that happened.

A message says what was wrong with which value, what is allowed, and what to do.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from pydantic import ValidationError


class ErrorKind(StrEnum):
    """What happened. Append-only: a kind may be stored, sent over HTTP and compared."""

    INVALID_INPUT = "invalid_input"
    UNSUPPORTED_FORMAT = "unsupported_format"
    MISSING_DEPENDENCY = "missing_dependency"
    NOT_FOUND = "not_found"
    ALREADY_EXISTS = "already_exists"
    CONFLICT = "conflict"
    MISALIGNED = "misaligned"
    INCOMPLETE = "incomplete"
    INTEGRITY = "integrity"
    STORAGE = "storage"
    SERVICE = "service"
    UNSUITABLE_TEACHER = "unsuitable_teacher"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    OVERLOADED = "overloaded"
    OUT_OF_MEMORY = "out_of_memory"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a kind of error becomes at the two edges of the program."""

    http_status: int
    exit_code: int


EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_WRONG_USE = 2
EXIT_NOT_FOUND = 3
EXIT_INTEGRITY = 4
EXIT_CONFLICT = 5

OUTCOMES: dict[ErrorKind, Outcome] = {
    ErrorKind.INVALID_INPUT: Outcome(422, EXIT_WRONG_USE),
    ErrorKind.UNSUPPORTED_FORMAT: Outcome(501, EXIT_WRONG_USE),
    ErrorKind.MISSING_DEPENDENCY: Outcome(501, EXIT_WRONG_USE),
    ErrorKind.NOT_FOUND: Outcome(404, EXIT_NOT_FOUND),
    ErrorKind.ALREADY_EXISTS: Outcome(409, EXIT_CONFLICT),
    ErrorKind.CONFLICT: Outcome(409, EXIT_CONFLICT),
    ErrorKind.MISALIGNED: Outcome(409, EXIT_CONFLICT),
    ErrorKind.INCOMPLETE: Outcome(404, EXIT_NOT_FOUND),
    ErrorKind.INTEGRITY: Outcome(500, EXIT_INTEGRITY),
    ErrorKind.STORAGE: Outcome(503, EXIT_FAILED),
    ErrorKind.SERVICE: Outcome(502, EXIT_FAILED),
    ErrorKind.UNSUITABLE_TEACHER: Outcome(422, EXIT_WRONG_USE),
    ErrorKind.UNAUTHENTICATED: Outcome(401, EXIT_WRONG_USE),
    ErrorKind.FORBIDDEN: Outcome(403, EXIT_WRONG_USE),
    ErrorKind.OVERLOADED: Outcome(503, EXIT_FAILED),
    ErrorKind.OUT_OF_MEMORY: Outcome(503, EXIT_FAILED),
}


class KdrecError(Exception):
    """What every error that kdrec raises on purpose is."""

    default_kind: ClassVar[ErrorKind]
    kind: ErrorKind

    def __init__(self, message: str, *, kind: ErrorKind | None = None) -> None:
        super().__init__(message)
        self.kind = self.default_kind if kind is None else kind

    @property
    def outcome(self) -> Outcome:
        """HTTP status and exit code of this error."""
        return OUTCOMES[self.kind]


class InvalidInputError(KdrecError, ValueError):
    """The caller can fix it."""

    default_kind = ErrorKind.INVALID_INPUT


class NotFoundError(KdrecError, LookupError):
    """No such recording, view, sample, block or file."""

    default_kind = ErrorKind.NOT_FOUND


class AlreadyExistsError(KdrecError):
    """Would overwrite something."""

    default_kind = ErrorKind.ALREADY_EXISTS


class ConflictError(KdrecError):
    """Another writer, or another plan, teacher or data than the recording's."""

    default_kind = ErrorKind.CONFLICT


class IncompleteError(KdrecError):
    """Asked for what is not, or not yet, recorded here."""

    default_kind = ErrorKind.INCOMPLETE


class IntegrityError(KdrecError):
    """Bytes do not match what was recorded."""

    default_kind = ErrorKind.INTEGRITY


class StorageError(KdrecError):
    """Disk or network; may be transient."""

    default_kind = ErrorKind.STORAGE


class ServiceError(KdrecError):
    """The HTTP side.

    Attributes:
        status: HTTP status of the answer, 0 where there was none.
        request: Method and URL of the request, without credentials.
    """

    default_kind = ErrorKind.SERVICE

    def __init__(
        self, message: str, *, status: int = 0, request: str = "", kind: ErrorKind | None = None
    ) -> None:
        super().__init__(message, kind=kind)
        self.status = status
        self.request = request


def describe_invalid(error: "ValidationError") -> str:
    """The first thing that is wrong with some values, in a line."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    # Without a name it is about several values, which the message states itself.
    return (
        f"{name}: {message[:1].lower()}{message[1:]}, got {first['input']!r}" if name else message
    )
