"""By which a replaced file is noticed without reading it."""

import os
from typing import NamedTuple


class Signature(NamedTuple):
    """See the module.

    Attributes:
        mark: Another for every file that has had this place.
        size: Bytes.
    """

    mark: tuple[int, int, int] | str
    size: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Signature":
        """Of a file, from its status."""
        mark = (status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
        return cls(mark, status.st_size)
