"""The files of one recording, read only; errors carry its name and never a path of the server."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kdrec.api.signature import Signature
from kdrec.errors import IntegrityError, KdrecError, NotFoundError, StorageError
from kdrec.store import LocalStorage


class ServedFolder:
    """A readable storage, which also reads parts of files.

    Args:
        path: The folder.
        name: Of the recording, for errors.
        within: Nothing outside this folder is read, whatever links and keys say; resolved.
    """

    def __init__(self, path: Path, *, name: str, within: Path) -> None:
        self.name = name
        self._path = path
        self._within = within

    def read(self, key: str) -> bytes:
        path = self._contained(key)
        with self._named(key):
            return path.read_bytes()

    def read_part(self, key: str, part: range) -> bytes:
        """Some bytes of a file, fewer where it ends before them."""
        path = self._contained(key)
        with self._named(key), path.open("rb") as file:
            file.seek(part.start)
            return file.read(len(part))

    def served_path(self, key: str) -> str:
        """The path of a file below the served folder, links resolved, with `/`.

        Raises:
            IntegrityError: It is a link to elsewhere.
        """
        return self._contained(key).relative_to(self._within).as_posix()

    def check_contained(self) -> None:
        """Whether it lies where it may.

        Raises:
            NotFoundError: It is a link to elsewhere.
        """
        if not self._is_contained(Path(os.path.realpath(self._path))):
            raise NotFoundError(
                f"recording {self.name} leads out of the folder that is served; "
                "put a copy in the place of the link"
            )

    def keys(self, prefix: str = "") -> Iterator[str]:
        with self._named(prefix):
            yield from LocalStorage(self._path).keys(prefix)

    def signature(self, key: str) -> Signature | None:
        """None where there is no such file; a file that cannot be reached is an error."""
        try:
            with self._named(key):
                return Signature.of((self._path / key).stat())
        except NotFoundError:
            return None

    def signatures(self, folder: str) -> dict[str, Signature]:
        """Of the files directly in a folder, by key; none where there is no such folder."""
        try:
            with self._named(folder), os.scandir(self._path / folder) as entries:
                return dict(_visible_files(folder, entries))
        except NotFoundError:
            return {}

    def _contained(self, key: str) -> Path:
        real = Path(os.path.realpath(self._path / key))
        if not self._is_contained(real):  # not "not found": a seal would pass for one to come
            raise IntegrityError(
                f"{key} of {self.name} leads out of the folder that is served; "
                "put a copy in the place of the link"
            )
        return real

    def _is_contained(self, real: Path) -> bool:
        return real.is_relative_to(self._within)

    @contextmanager
    def _named(self, key: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFoundError(f"{self.name} has no file {key}") from error
        except (OSError, KdrecError) as error:
            reason = error if isinstance(error, OSError) else error.__cause__
            raise StorageError(
                f"{key} of {self.name} cannot be read: "
                f"{getattr(reason, 'strerror', None) or type(reason).__name__}; try again, then "
                "look at the server's disk"
            ) from error


def _visible_files(
    folder: str, entries: Iterator[os.DirEntry[str]]
) -> Iterator[tuple[str, Signature]]:
    """Without hidden ones, which are being written, and those that vanish while we look."""
    for entry in entries:
        if not entry.name.startswith("."):
            with suppress(FileNotFoundError):
                yield f"{folder}/{entry.name}", Signature.of(entry.stat())
