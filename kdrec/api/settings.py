"""What the service is told when it starts."""

from dataclasses import dataclass
from pathlib import Path

from kdrec.errors import InvalidInputError, NotFoundError

_GREATEST_PORT = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """See the module.

    Attributes:
        root: Folder of recordings, or one recording.
        host: Name or address of the interface to listen on.
        port: 0 for any free one.
        public: Whether others than this machine may ask: there are no tokens.
        shutdown_seconds: How long a stop waits for answers that are under way.

    Raises:
        NotFoundError: There is no such folder.
        InvalidInputError: The port is none.
    """

    root: Path
    host: str = "127.0.0.1"
    port: int = 8080
    public: bool = False
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
