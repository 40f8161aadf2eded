"""Memory that a command frees and soon takes again."""

import ctypes
import os

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # parameters of mallopt, from glibc's malloc.h
_MOST_BYTES = 2**31 - 1  # it takes a C int


def keep_freed_memory() -> None:
    """Let the C library keep what is freed, if it is glibc; anywhere else nothing changes.

    glibc gives large blocks back to the system at once, and a network on a CPU takes as many again
    with its next layer: to have them brought in page by page takes more than half of the time
    of a network with large features. What is computed is the same, bit for bit. The process comes
    to hold up to twice the memory; `KDREC_KEEP_MEMORY=0` in the environment leaves all as it was.
    """
    if os.environ.get("KDREC_KEEP_MEMORY") == "0":
        return
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, another system
        return
    set_option(_MMAP_MAX, 0)
    set_option(_TRIM_THRESHOLD, _MOST_BYTES)
