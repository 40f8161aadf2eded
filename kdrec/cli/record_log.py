"""A log beside the recording: a JSON object a line, for machines that watch."""

import json
import os
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdrec.errors import InvalidInputError
from kdrec.store import is_object_address

if TYPE_CHECKING:
    from kdrec.recorder import Share


def find_log(out: str, share: "Share", asked: str | None) -> Path | None:
    """The file to log to: beside a local recording, one for each part; None for no log.

    Args:
        out: Of the recording.
        share: Of the process.
        asked: What the user said: a file, `none`, or nothing.
    """
    if asked is not None:
        return None if asked == "none" else Path(asked)
    if is_object_address(out):
        return None
    path = Path(out).expanduser()
    part = f".{share.index + 1}-of-{share.count}" if share.count > 1 else ""
    return path.with_name(f"{path.name.removesuffix('.zarr')}{part}.log.jsonl")


class RecordLog:
    """Lines appended to a file, whole ones also where several processes append.

    Args:
        path: Of the file, None to log nothing.
        share: Of the process, named in every line.
        now: The time of day, in UTC.

    Raises:
        InvalidInputError: The file cannot be written.
    """

    def __init__(self, path: Path | None, share: "Share", *, now: Callable[[], datetime]) -> None:
        self._share = share
        self._now = now
        self._lock = threading.Lock()
        self._descriptor = None if path is None else _open(path)

    def write(self, event: str, **fields: Any) -> None:
        """Append a line: time, part, event, and what belongs to the event."""
        said = {"time": self._now().isoformat(timespec="milliseconds"), "part": str(self._share)}
        line = json.dumps(said | {"event": event} | fields, ensure_ascii=False)
        with self._lock:
            if self._descriptor is not None:
                os.write(self._descriptor, f"{line}\n".encode())  # one call: lines never mix

    def close(self) -> None:
        """No more lines; from any thread, and more than once."""
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
            self._descriptor = None


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise InvalidInputError(
            f"log {path} cannot be written: {error.strerror}; give --log FILE, or --log none"
        ) from error
