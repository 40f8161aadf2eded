"""What a recording is called in an address, and which folder that is.

A name is checked by encoding back: it must be what its folder is called, so that a recording has
one address only, and nothing in an address can lead elsewhere.
"""

import re
from dataclasses import dataclass

from kdrec.errors import NotFoundError

NAME_PATTERN = "[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}"
_NAME = re.compile(NAME_PATTERN)
_SUFFIX = ".zarr"


@dataclass(frozen=True, slots=True)
class RecordingAddress:
    """`NAME`, or `NAME@IDENTITY` for what must never change.

    Attributes:
        identity: None for whatever has the name now.
    """

    name: str
    identity: str | None = None

    @classmethod
    def parse(cls, text: str) -> "RecordingAddress":
        """From a segment of a path.

        Raises:
            NotFoundError: No recording can have this name.
        """
        name, at, identity = text.partition("@")
        if not _NAME.fullmatch(name):
            raise NotFoundError(
                f"no recording can be served as {name!r}; names are up to 200 letters, digits, "
                "'.', '_' and '-', and do not begin with '.': rename its folder"
            )
        return cls(name, identity if at else None)


def recording_name(folder_name: str) -> str:
    """What the recording in a folder is called."""
    return folder_name.removesuffix(_SUFFIX)


def folder_names(name: str) -> list[str]:
    """The folders that may hold a recording, the first of those that exist counts."""
    return [folder for folder in (name + _SUFFIX, name) if recording_name(folder) == name]
