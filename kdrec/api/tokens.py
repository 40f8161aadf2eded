"""Bearer tokens: who may read which recordings.

A token is 256 random bits, so that its plain SHA-256 is enough: there is nothing to guess that a
slower hash would protect. The service keeps hashes only; a token is shown once, when it is made.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from kdrec.errors import ErrorKind, InvalidInputError, ServiceError

TOKEN_BYTES = 32
_PREFIX = "kdrec_"  # by which scanners for leaked secrets can find one
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PATTERN = re.compile(r"[A-Za-z0-9._*?-]{1,200}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_BEARER = re.compile(r"bearer +([\x21-\x7e]+) *", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Grant:
    """What somebody may read.

    Attributes:
        name: Of the token, for the log.
        patterns: Of recordings' names; `*` stands for any characters, `?` for one.
    """

    name: str
    patterns: tuple[str, ...]

    def may_read(self, recording: str) -> bool:
        """Whether a recording of this name, without `@IDENTITY`, is among them."""
        return any(fnmatchcase(recording, pattern) for pattern in self.patterns)


ANYONE = Grant("anyone", ("*",))


@dataclass(frozen=True, slots=True)
class TokenEntry:
    """A line of the token file: `NAME SHA256 PATTERN...`.

    Raises:
        InvalidInputError: A part has another form.
    """

    name: str
    sha256: str
    patterns: tuple[str, ...]

    def __post_init__(self) -> None:
        _check("token name", self.name, _NAME, "up to 64 letters, digits, '.', '_' and '-'")
        _check("digest", self.sha256, _DIGEST, "64 hexadecimal digits; make it by `kdrec token`")
        if not self.patterns:
            raise InvalidInputError(f"token {self.name} may read nothing; give --read PATTERN")
        for pattern in self.patterns:
            _check("pattern", pattern, _PATTERN, "letters, digits, '.', '_', '-', '*' and '?'")

    @classmethod
    def parse(cls, line: str) -> "TokenEntry":
        """From a line of the file."""
        name, *rest = line.split()
        return cls(name, rest[0] if rest else "", tuple(rest[1:]))

    @classmethod
    def of(cls, token: str, *, name: str, patterns: Iterable[str]) -> "TokenEntry":
        """For a new token."""
        return cls(name, token_digest(token), tuple(patterns))

    @property
    def line(self) -> str:
        """As in the file."""
        return " ".join((self.name, self.sha256, *self.patterns))


def make_token(random_bytes: bytes) -> str:
    """The token of these random bytes, `TOKEN_BYTES` of them."""
    assert len(random_bytes) == TOKEN_BYTES
    return _PREFIX + base64.urlsafe_b64encode(random_bytes).decode().rstrip("=")


def token_digest(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def authorize(authorization: str | None, entries: Iterable[TokenEntry]) -> Grant:
    """What the bearer of an `Authorization` header may read.

    Raises:
        ServiceError: There is no token in it, or no entry has this one.
    """
    if authorization is None:
        raise _refusal("this service asks for a token")
    match = _BEARER.fullmatch(authorization)
    if match is None:
        raise _refusal("the Authorization header is not of the form `Bearer TOKEN`")
    digest = token_digest(match[1])
    # Over all entries, each compared to its end: the time tells neither which one nor how much of
    # it was right.
    found = [entry for entry in entries if hmac.compare_digest(entry.sha256, digest)]
    if not found:
        raise _refusal("the token is not, or no longer, one of this service's")
    return Grant(found[0].name, tuple(pattern for entry in found for pattern in entry.patterns))


def _refusal(what: str) -> ServiceError:
    return ServiceError(
        f"{what}; ask whoever runs it for one (`kdrec token new`) and set KDREC_TOKEN",
        kind=ErrorKind.UNAUTHENTICATED,
    )


def _check(noun: str, value: str, form: re.Pattern[str], allowed: str) -> None:
    if not form.fullmatch(value):
        raise InvalidInputError(f"{noun} {value!r} cannot be used; allowed are {allowed}")
