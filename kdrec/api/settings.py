"""What the service is told when it starts."""

import re
from dataclasses import dataclass
from pathlib import Path

from kdrec.api.token_file import TokenFile
from kdrec.errors import InvalidInputError, NotFoundError

_GREATEST_PORT = 65535
_ACCEL_PREFIX = re.compile(r"/[A-Za-z0-9._/-]*/|/")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """See the module.

    Attributes:
        root: Folder of recordings, or one recording.
        host: Name or address of the interface to listen on.
        port: 0 for any free one.
        tokens: File of token hashes; None asks nobody for one.
        public: Whether others than this machine may ask without a token.
        accel_prefix: Prefix of `X-Accel-Redirect`, under which nginx has `root` as an internal
            location; None where nothing is in front that sends the files.
        max_bytes: Bytes of answers in memory at once, of each worker.
        shutdown_seconds: How long a stop waits for answers that are under way.

    Raises:
        NotFoundError: There is no such folder, or no such token file.
        InvalidInputError: The port is none, a line of the token file cannot be read, or both tokens
            and `public` are given.
    """

    root: Path
    host: str = "127.0.0.1"
    port: int = 8080
    tokens: Path | None = None
    public: bool = False
    accel_prefix: str | None = None
    max_bytes: int = 256 * 2**20
    shutdown_seconds: int = 10

    def __post_init__(self) -> None:
        if not self.root.is_dir():
            raise NotFoundError(
                f"no folder {self.root}; give a folder that holds recordings, or a recording"
            )
        if not 0 <= self.port <= _GREATEST_PORT:
            raise InvalidInputError(
                f"port must be from 0 to {_GREATEST_PORT}, got {self.port}; 0 takes a free one"
            )
        if self.accel_prefix is not None and not _ACCEL_PREFIX.fullmatch(self.accel_prefix):
            raise InvalidInputError(
                f"accel prefix {self.accel_prefix!r} cannot be a location of nginx; give a path "
                "that begins and ends with '/', such as /internal/"
            )
        if self.tokens is not None:
            _check_tokens(self.tokens, public=self.public)


def _check_tokens(tokens: Path, *, public: bool) -> None:
    if public:
        raise InvalidInputError(
            "--public lets everyone read without a token, --tokens only those who have one; say one"
        )
    TokenFile(tokens).check()
