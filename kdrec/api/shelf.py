"""The recordings below a folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kdrec.api.folder import ServedFolder
from kdrec.api.names import folder_names, recording_name
from kdrec.errors import StorageError
from kdrec.store import ROOT_KEY

_ROOT = "the folder of recordings"


class FolderShelf:
    """See `Shelf`.

    Args:
        root: Folder of recordings (`NAME.zarr`, or `NAME` if it holds one), or a recording.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def check_readable(self) -> None:
        with _reachable(_ROOT), os.scandir(self._root):
            pass

    def names(self) -> list[str]:
        with _reachable(_ROOT):
            if _holds_recording(self._root):
                return [_printable(recording_name(self._root.name))]
            folders = [path for path in self._root.iterdir() if not path.name.startswith(".")]
        return sorted({_printable(recording_name(f.name)) for f in folders if _is_listed(f)})

    def find(self, name: str) -> ServedFolder | None:
        with _reachable(f"recording {name}"):
            path = next(filter(_holds_recording, self._places(name)), None)
        return None if path is None else ServedFolder(path, name=name, within=self._root)

    def _places(self, name: str) -> list[Path]:
        if _holds_recording(self._root):
            return [self._root] if recording_name(self._root.name) == name else []
        return [self._root / folder_name for folder_name in folder_names(name)]


def _holds_recording(path: Path) -> bool:
    """Whether to take it for a recording: one that lost its root file is damaged, not absent."""
    if not (path / "ledger").is_dir():
        return False
    return path.name.endswith(".zarr") or (path / ROOT_KEY).is_file()


def _is_listed(path: Path) -> bool:
    try:
        return _holds_recording(path)
    except OSError:
        return True  # `find` says why; one of them must not hide the others


def _printable(name: str) -> str:
    """Names that are no text can be listed, though not served."""
    return name.encode("utf-8", "backslashreplace").decode()


@contextmanager
def _reachable(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{what} cannot be read: {error.strerror or type(error).__name__}; "
            "look at the server's disk"
        ) from error
