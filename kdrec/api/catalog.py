"""Which recordings there are, as it is now."""

from pathlib import Path

from kdrec.api.bucket import BucketShelf
from kdrec.api.names import RecordingAddress
from kdrec.api.places import Shelf
from kdrec.api.recording import ServedRecording
from kdrec.api.shelf import FolderShelf
from kdrec.errors import NotFoundError


class Catalog:
    """Finds recordings and keeps them open.

    Args:
        root: Folder or address of an object store that has recordings (`NAME.zarr`, or `NAME` if it
            holds one) directly below, or is one.
    """

    def __init__(self, root: Path | str) -> None:
        self._shelf: Shelf = BucketShelf(root) if isinstance(root, str) else FolderShelf(root)
        self._opened: dict[str, ServedRecording] = {}

    def check_readable(self) -> None:
        """Whether the recordings can be listed.

        Raises:
            StorageError: They cannot.
        """
        self._shelf.check_readable()

    def names(self) -> list[str]:
        """Names of all recordings, those included that turn out to be damaged.

        Raises:
            StorageError: They cannot be listed.
        """
        return self._shelf.names()

    def find(self, address: RecordingAddress) -> ServedRecording:
        """The recording of an address, as it is now.

        Raises:
            NotFoundError: There is none, or it has another identity.
            IntegrityError: It is damaged.
            InvalidInputError: It is of a format that this version cannot read.
            StorageError: It cannot be read.
        """
        place = self._shelf.find(address.name)
        if place is None:
            self.check_readable()
            raise NotFoundError(
                f"no recording {address.name}; /v1/recordings lists those there are"
            )
        recording = self._opened.get(address.name)
        if recording is None or not recording.is_current(place):
            place.check_contained()
            recording = self._opened[address.name] = ServedRecording(place)
        if address.identity not in (None, recording.identity):
            raise NotFoundError(_other_identity(address, recording.identity))
        return recording

    def recall(self, address: RecordingAddress) -> ServedRecording:
        """A sealed recording as it was when it was found last, any other as `find` finds it.

        Nothing is looked up. What has the name by now shows when a file of it is opened.

        Raises:
            KdrecError: As `find` does.
        """
        known = self._opened.get(address.name)
        if known is None or known.identity is None:
            return self.find(address)
        return known if address.identity in (None, known.identity) else self.find(address)


def _other_identity(address: RecordingAddress, identity: str | None) -> str:
    asked = f"no recording {address.name} of identity {address.identity!r}"
    if identity is None:
        return f"{asked}: what has the name is still being recorded and has no identity yet"
    return f"{asked}: what has the name now is of identity {identity!r}"
