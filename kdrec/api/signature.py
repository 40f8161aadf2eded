"""By which a replaced file is noticed without reading it."""

import os
from typing import NamedTuple


class Signature(NamedTuple):
    """See the module."""

    inode: int
    modified: int
    changed: int
    size: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Signature":
        """Of a file, from its status."""
        return cls(status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)
