"""What the service is told when it starts."""

import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from kdrec.api.token_file import TokenFile
from kdrec.errors import InvalidInputError, NotFoundError
from kdrec.store import is_object_address

_GREATEST_PORT = 65535
_MOST_WORKERS = 256
_LEAST_HEADER_BYTES = 1024
_ACCEL_PREFIX = re.compile(r"/[A-Za-z0-9._/-]*/|/")


class LogFormat(StrEnum):
    """Of the lines on stderr."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """See the module.

    Attributes:
        root: Folder of recordings, or one recording; a string is the address of an object store.
        host: Name or address of the interface to listen on.
        port: 0 for any free one.
        workers: Processes that answer.
        tokens: File of token hashes; None asks nobody for one.
        public: Whether others than this machine may ask without a token.
        accel_prefix: Prefix of `X-Accel-Redirect`, under which nginx has `root` as an internal
            location; None where nothing is in front that sends the files.
        trusted_proxies: Addresses and networks whose `X-Forwarded-For` is believed, for the log.
        max_requests: Under way at once, in each worker.
        max_bytes: Of answers in memory at once, in each worker.
        max_header_bytes: Of a request, its path included.
        probe_seconds: After which storage that does not answer counts as away.
        shutdown_seconds: How long a stop waits for answers that are under way.
        metrics_host: Where to offer metrics.
        metrics_port: 0 for any free one; None offers none.
        log_format: None leaves logging to the program around it.
        access_log: Whether every request has a line.

    Raises:
        NotFoundError: There is no such folder, or no such token file.
        InvalidInputError: A number is out of range, a line of the token file cannot be read, or
            both tokens and `public` are given.
    """

    root: Path | str
    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    tokens: Path | None = None
    public: bool = False
    accel_prefix: str | None = None
    trusted_proxies: tuple[str, ...] = ()
    max_requests: int = 1000
    max_bytes: int = 256 * 2**20
    max_header_bytes: int = 32 * 1024
    probe_seconds: float = 5.0
    shutdown_seconds: int = 10
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = None
    log_format: LogFormat | None = None
    access_log: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.root, str):
            _check_address(self.root, self.accel_prefix)
        elif not self.root.is_dir():
            raise NotFoundError(
                f"no folder {self.root}; give a folder that holds recordings, or a recording"
            )
        _check_port("port", self.port)
        _check_port("metrics port", self.metrics_port or 0)
        _check_number("workers", self.workers, least=1, most=_MOST_WORKERS)
        _check_number("max_requests", self.max_requests, least=1)
        _check_number("max_bytes", self.max_bytes, least=1)
        _check_number("max_header_bytes", self.max_header_bytes, least=_LEAST_HEADER_BYTES)
        _check_number("shutdown_seconds", self.shutdown_seconds, least=0)
        for proxy in self.trusted_proxies:
            _check_network(proxy)
        if self.accel_prefix is not None and not _ACCEL_PREFIX.fullmatch(self.accel_prefix):
            raise InvalidInputError(
                f"accel prefix {self.accel_prefix!r} cannot be a location of nginx; give a path "
                "that begins and ends with '/', such as /internal/"
            )
        if self.tokens is not None:
            _check_tokens(self.tokens, public=self.public)


def _check_address(root: str, accel_prefix: str | None) -> None:
    if not is_object_address(root):
        raise InvalidInputError(
            f"{root!r} is no address of an object store; give s3://BUCKET/FOLDER, gs:// or az:// "
            "alike, or a folder"
        )
    if accel_prefix is not None:
        raise InvalidInputError(
            f"nginx cannot send the files of {root}; leave --accel-prefix away, and let nginx keep "
            "what it has sent (docker/nginx/nginx-cache.conf)"
        )


def _check_port(noun: str, port: int) -> None:
    if not 0 <= port <= _GREATEST_PORT:
        raise InvalidInputError(
            f"{noun} must be from 0 to {_GREATEST_PORT}, got {port}; 0 takes a free one"
        )


def _check_number(noun: str, value: int, *, least: int, most: int | None = None) -> None:
    if value < least or (most is not None and value > most):
        allowed = f"at least {least}" if most is None else f"from {least} to {most}"
        raise InvalidInputError(f"{noun} must be {allowed}, got {value}")


def _check_network(text: str) -> None:
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        raise InvalidInputError(
            f"trusted proxy {text!r} is no address ({error}); give one such as 10.0.0.7, or a "
            "network such as 10.0.0.0/24"
        ) from error


def _check_tokens(tokens: Path, *, public: bool) -> None:
    if public:
        raise InvalidInputError(
            "--public lets everyone read without a token, --tokens only those who have one; say one"
        )
    TokenFile(tokens).check()
