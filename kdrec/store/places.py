"""A path or an address to the storage behind it."""

import os
from pathlib import Path

from kdrec.errors import InvalidInputError
from kdrec.store.lease import LEASE_SECONDS, LeaseTimes
from kdrec.store.ledger import HEADER_KEY
from kdrec.store.object_storage import OBJECT_SCHEMES, ObjectStorage, is_object_address
from kdrec.store.storage import LocalStorage, RecordingPlace

LEASE_VARIABLE = "KDREC_LEASE_SECONDS"
_MOST_LEASE_SECONDS = 3600


def open_place(where: str | Path) -> RecordingPlace:
    """Where a recording can be written.

    Args:
        where: A folder, or an address of an object store such as `s3://BUCKET/NAME.zarr`.

    Raises:
        InvalidInputError: The address is none that can be written to, the folder lies within a
            recording, or the environment lacks what the store needs.
    """
    scheme, separator, _ = str(where).partition("://")
    if separator and scheme not in OBJECT_SCHEMES:  # as a path it would be a folder named http:
        raise InvalidInputError(
            f"{where}: nothing can be written there; give a folder, or "
            + ", ".join(f"{name}://BUCKET/NAME.zarr" for name in OBJECT_SCHEMES)
        )
    if is_object_address(str(where)):
        return ObjectStorage(str(where), times=_lease_times(os.environ.get(LEASE_VARIABLE)))
    folder = Path(where).expanduser()
    check_apart(folder)
    return LocalStorage(folder)


def check_apart(folder: Path) -> None:
    """Whether a folder lies outside of every recording, or holds one of its own already.

    Raises:
        InvalidInputError: A new one would lie within another.
    """
    if os.path.isfile(folder / HEADER_KEY):  # noqa: PTH113 - no error where one may not look
        return
    for parent in Path(os.path.realpath(folder)).parents:
        if os.path.isfile(parent / HEADER_KEY):  # noqa: PTH113
            raise InvalidInputError(
                f"{folder} lies within the recording {parent}, which holds nothing but its own "
                "files; give a folder outside of it"
            )


def _lease_times(text: str | None) -> LeaseTimes:
    try:
        seconds = LEASE_SECONDS if text is None else float(text)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= _MOST_LEASE_SECONDS:
        raise InvalidInputError(
            f"{LEASE_VARIABLE} must be seconds from 1 to {_MOST_LEASE_SECONDS}, got {text!r}"
        )
    return LeaseTimes(seconds=seconds)
