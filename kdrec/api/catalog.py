"""Which recordings there are below a folder, as it is now."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kdrec.api.folder import ServedFolder
from kdrec.api.names import RecordingAddress, folder_names, recording_name
from kdrec.api.recording import ServedRecording
from kdrec.errors import NotFoundError, StorageError
from kdrec.store import ROOT_KEY

_ROOT = "the folder of recordings"


class Catalog:
    """Finds recordings and keeps them open.

    Args:
        root: Folder of recordings (`NAME.zarr`, or `NAME` if it holds one), or a recording.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._opened: dict[str, ServedRecording] = {}

    def check_readable(self) -> None:
        """Whether the folder can be listed.

        Raises:
            StorageError: It cannot.
        """
        with _reachable(_ROOT), os.scandir(self._root):
            pass

    def names(self) -> list[str]:
        """Names of all recordings, those included that turn out to be damaged.

        Raises:
            StorageError: The folder cannot be read.
        """
        with _reachable(_ROOT):
            if _holds_recording(self._root):
                return [_printable(recording_name(self._root.name))]
            folders = [path for path in self._root.iterdir() if not path.name.startswith(".")]
        return sorted({_printable(recording_name(f.name)) for f in folders if _is_listed(f)})

    def find(self, address: RecordingAddress) -> ServedRecording:
        """The recording of an address, as it is now.

        Raises:
            NotFoundError: There is none, or it has another identity.
            IntegrityError: It is damaged.
            InvalidInputError: It is of a format that this version cannot read.
            StorageError: It cannot be read.
        """
        folder = self._folder(address.name)
        recording = self._opened.get(address.name)
        if recording is None or not recording.is_current(folder):
            folder.check_contained()
            recording = self._opened[address.name] = ServedRecording(folder)
        if address.identity not in (None, recording.identity):
            raise NotFoundError(_other_identity(address, recording.identity))
        return recording

    def _folder(self, name: str) -> ServedFolder:
        with _reachable(f"recording {name}"):
            path = next(filter(_holds_recording, self._places(name)), None)
        if path is None:
            self.check_readable()
            raise NotFoundError(f"no recording {name}; /v1/recordings lists those there are")
        return ServedFolder(path, name=name, within=self._root)

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


def _other_identity(address: RecordingAddress, identity: str | None) -> str:
    asked = f"no recording {address.name} of identity {address.identity!r}"
    if identity is None:
        return f"{asked}: what has the name is still being recorded and has no identity yet"
    return f"{asked}: what has the name now is of identity {identity!r}"


@contextmanager
def _reachable(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{what} cannot be read: {error.strerror or type(error).__name__}; "
            "look at the server's disk"
        ) from error
